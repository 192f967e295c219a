"""What a job on Slurm has finished is kept for an equal job, until the run is done."""

import os

import pytest

from specbeam import kept
from specbeam.job_provenance import beside, recorded

SETTINGS = '{"synthetic": {}, "seed": 1}'


@pytest.fixture
def call(tmp_path, monkeypatch):
    """A verb that counts its calls in its result, as a job of Slurm; with what it reads."""
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    source, destination, made = tmp_path / "source", tmp_path / "run/result.txt", []
    source.mkdir()
    (source / "part").write_text("read")

    @recorded("generate", output="destination", keep=("destination",))
    def verb(*, settings, source, destination):
        made.append(settings)
        destination.parent.mkdir(exist_ok=True)
        destination.write_text(f"made {len(made)}")

    def calling(settings=SETTINGS):
        verb(settings=settings, source=source, destination=destination)
        return destination.read_text()

    calling.source, calling.destination, calling.run = source, destination, tmp_path / "run"
    return calling


def lose(call):
    """As Snakemake removes the results of a group that failed."""
    call.destination.unlink()


def test_an_equal_job_takes_what_was_kept_with_its_provenance(call):
    call()
    provenance = beside(call.destination).read_bytes()
    lose(call)
    assert call() == "made 1"
    assert beside(call.destination).read_bytes() == provenance


@pytest.mark.parametrize("change", ["settings", "input", "time of an input"])
def test_another_job_does_not(call, change):
    call()
    lose(call)
    if change == "input":
        (call.source / "more").touch()
    if change == "time of an input":
        os.utime(call.source / "part", ns=(1, 1))
    assert call(SETTINGS.replace("1", "2") if change == "settings" else SETTINGS) == "made 2"


def test_nothing_is_kept_off_slurm_nor_once_the_run_is_done(call, monkeypatch):
    call()
    assert kept.beside(beside(call.destination)).is_dir()
    kept.forget(call.run)
    assert call() == "made 2"
    monkeypatch.delenv("SLURM_JOB_ID")
    kept.forget(call.run)
    assert call() == "made 3"
    assert not list(call.run.rglob("*.kept"))
