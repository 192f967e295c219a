"""Ablations: variants are whole configs that share what they do not change, and one figure shows them."""

import pandas as pd
import pytest

import generated_records as generated
from specbeam import settings
from specbeam.errors import SpecbeamError
from specbeam.figures import ablations
from specbeam.measurement import records
from specbeam.settings import variants
from specbeam.stages import VARIED, differs

RUN = {
    "alignment": {"objectives": {"atspeed_s": {"alpha": 0.6}, "atspeed_r": {}}},
    "draft": {"model": {"hidden_size": 32}},
}


def varied(*overrides):
    """A run with one ablation `a`, whose variants are labelled 0, 1, ..."""
    run = settings.parse({**RUN, "ablations": {"a": dict(enumerate(overrides))}}, source="my.yaml")
    return run, list(variants(run).values())


def test_a_variant_is_the_runs_config_with_its_overrides():
    run, (variant,) = varied({"alignment.objectives.atspeed_s.alpha": 0.3, "draft.model.layers": 1})
    assert variant.alignment.objectives["atspeed_s"].alpha == 0.3
    assert (variant.draft.model.layers, variant.draft.model.hidden_size) == (1, 32)
    changed = {"alignment", "draft", "ablations"}
    assert variant.model_dump(exclude=changed) == run.model_dump(exclude=changed)
    assert variant.ablations == {}


def test_a_variant_keeps_the_objectives_that_the_run_has_by_default():
    run = settings.parse({"ablations": {"alpha": {"0.3": {"alignment.objectives.seqkd.alpha": 0.3}}}})
    assert list(variants(run)["alpha", "0.3"].alignment.objectives) == list(run.alignment.objectives)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"alignment.objectives.atspeed_s.alpha": 3}, "objectives.atspeed_s.alpha: Input should be less than"),
        ({"measurement.widths": [3]}, "measurement.widths: unknown key; allowed here: beam_widths"),
        ({"measurement.draft_beam_widths": [5]}, "N below K can accept no level"),
        ({"trajectories.users": 9}, "trajectories.users cannot vary: a variant has the data, target, trajectories"),
        ({"prompt": {}}, "prompt cannot vary"),
        ({"draft.seeds": [2]}, "draft.seeds cannot vary"),
        ({"decoding.normalise": "vocabulary"}, "decoding.normalise cannot vary"),
        ({"alignment.objectives.sft": {}}, "alignment.objectives.sft cannot vary"),
        ({"draft.model.hidden_size.x": 2}, "draft.model.hidden_size.x: hidden_size is a single setting"),
        ({"ablations": {}}, "ablations cannot vary"),
    ],
)
def test_a_variant_that_makes_no_sense_is_refused_by_its_name(overrides, message):
    with pytest.raises(SpecbeamError) as caught:
        varied({"decoding.draft_length": 2}, overrides)
    assert str(caught.value).startswith("my.yaml: ablations.a.1: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "own"),
    [
        ({"decoding.draft_length": 2}, {"atspeed_s": ["evaluate"], "atspeed_r": ["evaluate"]}),
        ({"measurement.draft_beam_widths": [60]}, {"atspeed_s": ["evaluate"], "atspeed_r": ["evaluate"]}),
        ({"alignment.objectives.atspeed_s.alpha": 0.3}, {"atspeed_s": ["align", "evaluate"], "atspeed_r": []}),
        ({"alignment.training.epochs": 1}, dict.fromkeys(("atspeed_s", "atspeed_r"), ("align", "evaluate"))),
        ({"draft.model.layers": 1}, dict.fromkeys(("atspeed_s", "atspeed_r"), VARIED)),
        ({"alignment.objectives.atspeed_s.alpha": 0.6}, {"atspeed_s": [], "atspeed_r": []}),
    ],
)
def test_a_variant_repeats_only_the_stages_from_the_first_that_it_changes(overrides, own):
    run, (variant,) = varied(overrides)
    for objective, stages in own.items():
        assert [stage for stage in VARIED if differs(run, variant, stage, objective)] == list(stages)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Records of a run of two objectives and seeds, and of an ablation of which `b` is the run itself."""
    generated.fix_environment(monkeypatch)
    found = {"run": [], "size/a": [], "size/b": []}
    for objective in ("atspeed_s", "atspeed_r"):
        for seed in (1, 2):
            for variant in ("run", "size/a"):
                path = tmp_path / variant / objective / f"seed-{seed}.parquet"
                frame = generated.evaluation(objective, seed=seed + 10 * (variant != "run"), beam_widths=(5, 20))
                frame = frame.assign(draft_seed=seed)
                records.write(frame, path, kind="evaluation", settings={}, **generated.STAMP)
                found[variant].append(path)
    return {**found, "size/b": found["run"]}


def test_each_objective_is_shown_by_the_verification_that_it_aligns_for_at_the_largest_k(files):
    table = ablations.data(files)
    assert table["ablation"].tolist() == ["", "", "size", "size", "size", "size"]
    assert table["label"].tolist() == ["", "", "a", "a", "b", "b"]
    assert set(zip(table["objective"], table["verification"], strict=True)) == {
        ("atspeed_s", "strict"), ("atspeed_r", "relaxed")
    }  # fmt: skip
    assert set(table["K"]) == {20}
    assert set(table["seeds"]) == {2}
    assert table.loc[table["label"] == "b", "accepted"].tolist() == table.loc[table["label"] == "", "accepted"].tolist()
    assert table["is_run"].tolist() == [True, True, False, False, True, True]


def test_the_variant_that_is_the_run_has_a_ring_and_the_run_a_line(files):
    (axes,) = ablations.draw(ablations.data(files)).axes
    rings = [line for line in axes.lines if line.get_marker() == "o" and line.get_markerfacecolor() == "none"]
    assert [len(line.get_xdata()) for line in rings] == [1, 1]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["a", "b"]
    run = ablations.data(files).query("ablation == ''")["accepted"]
    level = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == ":"]
    assert sorted(level) == pytest.approx(sorted(run))


def test_the_figure_is_drawn_from_named_files(files, tmp_path):
    named = [f"{name}={path}" for name, paths in files.items() for path in paths]
    ablations.plot(inputs=named, output=tmp_path / "ablations")
    assert {path.suffix for path in tmp_path.glob("ablations.*")} == {".png", ".svg", ".csv", ".txt"}
    table = pd.read_csv(tmp_path / "ablations.csv", dtype={"label": str}, keep_default_na=False)
    assert table["label"].tolist() == ["", "", "a", "a", "b", "b"]


@pytest.mark.parametrize("given", [["a.parquet"], ["size=a.parquet"], ["size/a=a.parquet"], ["a/b/c=a.parquet"], []])
def test_files_without_a_name_or_without_the_run_are_refused(given):
    with pytest.raises(SpecbeamError, match="expected"):
        ablations.named(given)
