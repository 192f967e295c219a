"""The loss curves' figure: how its files are named, and what is refused."""

import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import loss, style

HEAD = ",".join(loss.COLUMNS) + "\n"


def test_losses_are_named_by_their_folders_and_ordered(tmp_path):
    drafts = [f"{name}/seed-{seed}" for name in (*reversed(style.OBJECTIVES), "base") for seed in (12, 3)]
    paths = [tmp_path / name / "loss.csv" for name in (*drafts, "target")]
    for path in paths:
        generated.write_losses(path)
    losses = loss.data(loss.read(paths))
    assert list(losses["model"].unique()) == ["target", "base", *style.OBJECTIVES]
    assert losses.groupby(["model", "seed"])["kept"].sum().eq(1).all()
    seeds = losses.groupby("model")["seed"].unique()
    assert list(seeds.pop("target")) == [""]
    assert all(list(of_draft) == ["12", "3"] for of_draft in seeds)


def test_loss_files_that_make_no_sense_are_refused(tmp_path):
    target, other = (tmp_path / name / "loss.csv" for name in ("target", "sft"))
    generated.write_losses(target)
    with pytest.raises(SpecbeamError, match="two loss files for 'target'"):
        loss.read([target, target])
    other.parent.mkdir()
    for content, message in (
        ("", "expected a csv file"),
        ("epoch,step\n1,2\n", "missing column"),
        (HEAD, "no epochs"),
    ):
        other.write_text(content)
        with pytest.raises(SpecbeamError, match=message):
            loss.read([other])
