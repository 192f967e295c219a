"""What lies beside a run's results, damaged: provenance, kept copies, names of jobs, statistics, measured runs.

Each reader says just what was written, leaves the file out and tells so, or refuses it by name.
"""

import json
import shutil

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

import generated_records as generated
from bad_input import cases, damaged, read
from specbeam import files, kept, provenance_file, submitted
from specbeam.comparison import report
from specbeam.comparison.runs import Run
from specbeam.cost import measured, models
from specbeam.cost.facts import Facts
from specbeam.cost.measured import Measured, Taken
from specbeam.errors import SpecbeamError
from specbeam.figures import example
from specbeam.page import facts
from specbeam.settings import ModelSettings, parse

MADE = generated.PROVENANCE
COUNTED = Facts(100, 90, 20, 10, 50, 600, (5, 6, 7), (5, 20, 50))
STATISTICS = "statistic,value\n" + "".join(f"{name},{value}\n" for name, value in {
    "users": 100, "users_with_one_training_interaction": 10, "users_with_valid_target": 20,
    "users_with_test_target": 10, "distinct_identifiers": 50, "interactions_train": 600,
    "distinct_tokens_1": 5, "distinct_tokens_2": 6, "distinct_tokens_3": 7,
    "distinct_prefixes_1": 5, "distinct_prefixes_2": 20, "distinct_prefixes_3": 50,
}.items())  # fmt: skip
TAKEN = {"synthetic": {"align_draft": Taken(2, 3.5, 3.0, 200.0, 1e6)}}
EXAMPLE = {
    "user": 7, "K": 1, "N": 2, "objective": "sft", "target_calls": 1, "chosen": "the first", "targets": [4],
    "rounds": [{"accepted": 1, "drafted": 1}], "list": [{"identifier": ["<a>"], "items": [4]}],
    "nodes": [{"path": ["<a>"], "round": 1, "level": 1, "fate": "bonus", "draft_rank": 1, "target_rank": 1}],
}  # fmt: skip
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-1, 9), st.sampled_from([10**30, 1.5, "1", "", "align", "sft"])),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=3,
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's folder with nothing but its settings."""
    folder = tmp_path_factory.mktemp("results") / "mine"
    folder.mkdir()
    (folder / "config.yaml").write_text("datasets: [synthetic]\n")
    return folder


def check_provenance(run, content):
    path = run / "synthetic/drafts/atspeed_s/seed-1/model.provenance.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    made = read("provenance", lambda: provenance_file.load(path), names=path)
    found = Run.of(run)
    assert (str(path.relative_to(run)) in found.provenances()) == (made is not None)
    assert any(str(path) in line for line in found.problems) == (made is None)
    facts.origins(found)
    list(facts.cautions(found))
    facts.jobs(found, "synthetic", objective="sft")
    found.other_settings()
    if made is not None:
        assert made == json.loads(content)


@cases(200)
@given(content=damaged(json.dumps(MADE).encode()))
def test_damaged_provenance_is_left_out_of_comparisons_and_pages_and_told(run, content):
    check_provenance(run, content)


@cases(200)
@given(name=st.sampled_from([*MADE, "options", "settings", "new"]), value=values)
def test_provenance_with_any_value_in_any_place(run, name, value):
    check_provenance(run, json.dumps(MADE | {name: value}).encode())


@pytest.mark.parametrize("content", [b"[]", b"7", b"null", b"{}", b'{"format": 1}', b'{"format": [1]}'])
def test_provenance_that_is_something_else(run, content):
    check_provenance(run, content)


@cases(150)
@given(content=damaged(STATISTICS.encode()))
def test_damaged_statistics(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "statistics.csv"
    path.write_bytes(content)
    found = read("statistics", lambda: Facts.of(path.parent), names=path)
    assert found is None or all(isinstance(value, int | tuple) for value in vars(found).values())


def saved_runs(path):
    measured.save([Measured("a", "a CPU", "cpu", parse({}), {"synthetic": COUNTED}, TAKEN)], path)
    return path.read_bytes()


def check_measured(path, content):
    path.write_bytes(content)
    found = read("measured runs", lambda: measured.read([path]), names=path)
    for one in found or ():
        for taken in (taken for rules in one.taken.values() for taken in rules.values()):
            assert all(isinstance(value, int | float) for value in vars(taken).values())


@cases(20)
@given(data=st.data())
def test_damaged_measured_runs(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "measured.yaml"
    check_measured(path, data.draw(damaged(saved_runs(path))))


@cases(40)
@given(data=st.data(), value=values)
def test_measured_runs_with_any_value_in_any_place(tmp_path_factory, data, value):
    path = tmp_path_factory.getbasetemp() / "measured.yaml"
    saved = yaml.load(saved_runs(path), yaml.CSafeLoader)
    place = saved
    for _ in range(data.draw(st.integers(0, 5))):
        inner = place[data.draw(st.sampled_from(sorted(place)))] if isinstance(place, dict) and place else None
        if isinstance(place, list):
            inner = place[0] if place else None
        if not isinstance(inner, dict | list) or not inner:
            break
        place = inner
    place[data.draw(st.sampled_from(sorted(place))) if isinstance(place, dict) else 0] = value
    check_measured(path, yaml.safe_dump(saved).encode())


@cases(200)
@given(data=st.data())
def test_damaged_tensors_are_not_those_of_another_run(tmp_path_factory, data):
    good, bad = (tmp_path_factory.getbasetemp() / f"{name}.safetensors" for name in ("good", "bad"))
    good.write_bytes(save({"beams": generated.np.arange(6)}, {"format": "1"}))
    bad.write_bytes(data.draw(damaged(good.read_bytes())))
    equal = read("files of two runs", lambda: report.equal_files(good, bad))
    if equal and good.read_bytes() != bad.read_bytes():  # written otherwise, with the same meaning
        assert load(bad.read_bytes())["beams"].tolist() == [*range(6)]


@cases(100)
@given(data=st.data())
def test_what_is_kept_and_was_damaged_since_is_not_taken(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp() / "kept"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    results = [folder / name for name in ("model", "lists")]
    for path in results:
        path.write_text(f"the {path.name}")
    job = kept.identity({"stage": "align", "seed": 1}, results[:1])
    kept.keep(results, job)
    wrong = kept.beside(results[0]) / data.draw(st.sampled_from(["job", "0", "1"]))
    good, content = wrong.read_bytes(), data.draw(st.none() | damaged(wrong.read_bytes()))
    wrong.unlink() if content is None else wrong.write_bytes(content)
    for path in results:
        path.write_text("removed")
    taken = read("kept results", lambda: kept.take(results, job) or None)
    assert bool(taken) == (content == good)
    assert [path.read_text() for path in results] == (["the model", "the lists"] if taken else ["removed"] * 2)


@cases(150)
@given(content=damaged(b"mine_6fa459ea-ee8a-3ca4-894e-db77e160355e\n"))
def test_a_damaged_name_of_jobs_ends_none(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "slurm"
    folder.mkdir(exist_ok=True)
    (folder / submitted.RECORD).write_bytes(content)
    asked = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(submitted, "_slurm", lambda *command, record: asked.append(command) or "")
        read("names of jobs on Slurm", lambda: submitted.end(folder) or True, names=submitted.RECORD)
    named = [word.removeprefix("--name=") for command in asked for word in command if word.startswith("--name=")]
    assert all(len(name) >= 36 and "," not in name and name.encode() in content for name in named)


def test_the_name_of_jobs_is_never_half_written(tmp_path):
    (tmp_path / submitted.RECORD).write_text("")
    with pytest.raises(SpecbeamError, match="got ''"):
        submitted.end(tmp_path)
    submitted.note(tmp_path, "6fa459ea-ee8a-3ca4-894e-db77e160355e")
    assert [path.name for path in tmp_path.iterdir()] == [submitted.RECORD]


@cases(150)
@given(data=st.data())
def test_damaged_explanations_of_a_list(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "example.json"
    name, value = data.draw(st.sampled_from(sorted(EXAMPLE))), data.draw(values)
    content = data.draw(st.sampled_from([json.dumps(EXAMPLE | {name: value}).encode(), None]))
    path.write_bytes(content or data.draw(damaged(json.dumps(EXAMPLE).encode())))
    read("explanations", lambda: example.read(path), names=path)


@cases(200)
@given(content=damaged(b'{"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16, "vocab_size": 99}'))
def test_damaged_sizes_of_a_base(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "base"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_bytes(content)
    base = ModelSettings(base=str(folder))
    found = read("sizes of a base", lambda: models.network(base, tokens=5), names=folder)
    assert found is None or all(isinstance(size, int) for size in vars(found).values())


def test_good_files_are_read(tmp_path):
    files.write_json(tmp_path / "a.provenance.json", MADE)
    assert provenance_file.load(tmp_path / "a.provenance.json") == MADE
    (tmp_path / "statistics.csv").write_text(STATISTICS)
    assert Facts.of(tmp_path) == COUNTED
    saved_runs(tmp_path / "measured.yaml")
    (run,) = measured.read([tmp_path / "measured.yaml"])
    assert (run.facts, run.taken) == ({"synthetic": COUNTED}, TAKEN)
    files.write_json(tmp_path / "example.json", EXAMPLE)
    assert "test user 7" in example.read(tmp_path / "example.json")[1]
