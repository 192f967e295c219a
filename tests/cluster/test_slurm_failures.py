"""What goes wrong on a cluster ends in a clear message, and one more call finishes the run from there."""

import pytest

from slurm_for_tests import wait

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

PREPARED = "results/smoke/synthetic/prepared"
LOG = "synthetic/logs/prepare_dataset.log"
ASKED = "resources: {{rules: {{prepare_dataset: {{memory_mb: {}, runtime_minutes: {}}}}}}}\n"


@pytest.fixture(scope="module")
def generated(submitting, tmp_path_factory):
    """A checkout in which the first job of a run has been done, on the cluster."""
    place = submitting.copy(tmp_path_factory.mktemp("generated") / "checkout")
    place.call("download")
    return place


@pytest.fixture(scope="module", autouse=True)
def over_time(generated, tmp_path_factory):
    """A call whose job hangs until its limit of one minute, begun first, since Slurm has no shorter one."""
    place = generated.copy(tmp_path_factory.mktemp("over_time") / "checkout")
    ask(place, memory_mb=900, minutes=1)
    begun = place.start(PREPARED)
    place.frozen("prepare_dataset", LOG)
    yield place, begun
    begun.kill()
    begun.communicate()


@pytest.fixture
def place(generated, tmp_path):
    return generated.copy(tmp_path / "checkout")


def ask(place, *, memory_mb, minutes):
    with (place.checkout.folder / "config/smoke.yaml").open("a") as config:
        config.write(ASKED.format(memory_mb, minutes))


def states(place):
    return [job["JobState"] for job in place.jobs()]


def test_a_job_cancelled_from_outside_is_named_and_one_more_call_finishes(place):
    begun = place.start(PREPARED, "--retries", "0")
    job = place.frozen("prepare_dataset", LOG)
    place.cluster.ask("scancel", job)
    said, _ = begun.communicate(timeout=400)

    assert begun.returncode == 1
    assert f"SLURM-job '{job}' failed, SLURM status is: 'CANCELLED'" in said
    place.call(PREPARED)
    assert states(place) == ["CANCELLED", "COMPLETED"]
    assert place.checkout.planned("prepare") == {}


def test_jobs_wait_for_a_drained_node_and_run_when_it_is_resumed(place):
    place.cluster.ask("scontrol", "update", "NodeName=127.0.0.1", "State=DRAIN", "Reason=test")
    try:
        begun = place.start(PREPARED)
        wait(lambda: states(place) == ["PENDING"], seconds=300)
        state = place.cluster.ask("sinfo", "--noheader", "--nodes=127.0.0.1", "--partition=cpu", "--format=%T")
        assert state in ("draining", "drained")
    finally:
        place.cluster.ask("scontrol", "update", "NodeName=127.0.0.1", "State=RESUME")
    place.finish(begun)
    assert states(place) == ["COMPLETED"]


def test_jobs_of_a_killed_snakemake_are_cancelled_by_the_next_call_which_finishes(place):
    begun = place.start(PREPARED)
    job = place.frozen("prepare_dataset", LOG)
    begun.kill()
    begun.communicate()
    half_written = place.checkout.folder / "results/smoke/synthetic/.prepared.1.part"
    half_written.mkdir()
    assert states(place) == ["RUNNING"]

    said = place.call(PREPARED)
    assert f"an earlier snakemake was killed; its jobs on Slurm are cancelled: {job}" in said
    assert states(place) == ["CANCELLED", "COMPLETED"]
    assert not half_written.exists()
    assert place.checkout.planned("prepare") == {}


def test_a_job_over_its_memory_is_ended_by_slurm_and_submitted_again_with_more(place):
    ask(place, memory_mb=220, minutes=5)
    said = place.call(PREPARED)
    first, second = place.jobs()
    assert f"StepId={first['JobId']}.0 exceeded memory limit" in said
    assert (first["JobState"], first["MinMemoryNode"]) == ("FAILED", "220M")
    assert (second["JobState"], second["MinMemoryNode"]) == ("COMPLETED", "440M")
    assert place.checkout.planned("prepare") == {}


def test_a_job_over_its_time_limit_is_submitted_again_with_more_time_and_memory(over_time):
    place, begun = over_time
    said = place.finish(begun)
    first, second = place.jobs()
    assert f"SLURM-job '{first['JobId']}' failed, SLURM status is: 'TIMEOUT'" in said
    assert (first["JobState"], first["TimeLimit"], first["MinMemoryNode"]) == ("TIMEOUT", "00:01:00", "900M")
    assert (second["JobState"], second["TimeLimit"], second["MinMemoryNode"]) == ("COMPLETED", "00:02:00", "1800M")
