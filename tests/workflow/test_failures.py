"""What the user can mend stops a run with one message that says how; nothing half-written stays."""

import shutil

import pytest

from mounts import mounted


def _stopped(checkout, *arguments, **variables):
    run = checkout.snakemake(*arguments, config="beauty-small", **variables)
    assert run.returncode == 1
    assert "Traceback" not in run.stdout, run.stdout
    messages = [line for line in run.stdout.splitlines() if line.startswith("specbeam: ")]
    assert len(messages) == 1, run.stdout
    return messages[0]


def test_a_missing_mirror_is_named(checkout):
    message = _stopped(checkout, "download", SPECBEAM_MIRROR=str(checkout.folder / "nowhere"))
    assert "nowhere" in message


def test_a_mirror_named_in_the_config_reaches_the_job(checkout):
    assert "elsewhere" in _stopped(checkout, "download", "--config", "source={mirror: elsewhere}")


def test_an_empty_variable_leaves_the_mirror_of_the_config(checkout):
    arguments = ("download", "--config", "source={mirror: elsewhere}")
    assert "elsewhere" in _stopped(checkout, *arguments, SPECBEAM_MIRROR="")


def test_results_that_cannot_be_written_are_named_with_what_to_do(checkout):
    with mounted(checkout.folder / "results", "ro"):
        run = checkout.snakemake("download")
    assert run.returncode == 1
    assert "results/smoke: expected to write here, got: Read-only file system; mount it writable, or" in run.stdout


@pytest.mark.mirror
def test_a_wrong_checksum_stops_before_use(checkout, mirror):
    damaged = checkout.folder / "damaged"
    shutil.copytree(mirror / "beauty", damaged / "beauty")
    with (damaged / "beauty/sequential_test.txt").open("a") as file:
        file.write("1 2\n")
    message = _stopped(checkout, "prepare", SPECBEAM_MIRROR=str(damaged))
    assert "sequential_test.txt" in message
    assert "sha256" in message
    assert not list((checkout.folder / "results").rglob("sequential_test.txt"))
