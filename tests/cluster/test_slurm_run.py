"""The smoke run on a real Slurm: every job runs there, with what the config asks for, by Slurm's own records."""

import pytest

from slurm_for_tests import wait

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

OBJECTIVES = "objectives: {sft: {}, seqkd: {}, wordkd: {}, tvdkd: {}, atspeed_s: {}, atspeed_r: {}}"
RESOURCES = """resources:
  memory_mb: 1000
  runtime_minutes: 50
  rules: {time_methods: {runtime_minutes: 90}, summarise_run: {memory_mb: 600}, plot_figure: {memory_mb: 100}}
  slurm: {partition: cpu, gpu_partition: gpu}
"""


@pytest.fixture(scope="module")
def run(submitting):
    """The smoke run with two objectives and one K; `device: auto` asks for a GPU, and computes without one."""
    config = submitting.checkout.folder / "config/smoke.yaml"
    text = config.read_text().replace(OBJECTIVES, "objectives: {sft: {}, atspeed_s: {}}")
    config.write_text(text.replace("device: cpu", "device: auto").replace("[1, 5]", "[5]") + RESOURCES)
    submitting.call()
    return submitting


def asked(job):
    """What Slurm says that a job asked for: memory, minutes, CPUs, GPUs and partition."""
    hours, minutes, _ = job["TimeLimit"].split(":")
    gpus = job.get("TresPerJob", "gres:gpu:0").rpartition(":")[2]
    return job["MinMemoryNode"], int(hours) * 60 + int(minutes), job["CPUs/Task"], gpus, job["Partition"]


MODELS = ("1000M", 50, "1", "1", "gpu")
ASKED = {
    "generate_synthetic": [("2000M", 15, "1", "0", "cpu")],
    "prepare_dataset": [("4000M", 60, "1", "0", "cpu")],
    "train_target": [MODELS],
    "recommend_items": [MODELS],
    "rate_baselines": [("1000M", 50, "1", "0", "cpu")],  # without SASRec
    "record_trajectories": [MODELS] * 2,
    "record_validation": [MODELS],
    "train_draft": [MODELS],
    "align_draft": [MODELS] * 2,
    "evaluation": [("1000M", 100, "1", "1", "gpu")],  # a group of two, one after the other
    "time_methods": [("1000M", 90, "1", "1", "gpu")],
    "record_search": [MODELS],
    "drawing": [("600M", 195, "1", "0", "cpu")],  # twelve figures and the table
    "write_page": [("2000M", 15, "1", "0", "cpu")],
}


def test_every_job_ran_on_slurm_with_the_resources_asked_for(run):
    assert {rule: [asked(job) for job in run.jobs(rule)] for rule in ASKED} == ASKED
    assert len(run.jobs()) == sum(map(len, ASKED.values()))
    assert {job["JobState"] for job in run.jobs()} == {"COMPLETED"}


def test_slurms_log_of_ended_jobs_says_so_too(run):
    ended = (run.cluster.folder / "jobcomp.log").read_text().splitlines()
    mine = [line for line in ended if f"WorkDir={run.checkout.folder} " in line]
    assert len(mine) == len(run.jobs())
    assert all("JobState=COMPLETED" in line and "NodeList=127.0.0.1" in line for line in mine)


def test_timing_jobs_have_the_node_for_themselves(run):
    for timing in run.jobs("time_methods"):
        assert timing["OverSubscribe"] == "NO"
        beside = [
            job for job in run.jobs() if job["StartTime"] < timing["EndTime"] and job["EndTime"] > timing["StartTime"]
        ]
        assert [job["JobId"] for job in beside] == [timing["JobId"]]


def test_figures_and_summary_are_there(run):
    results = run.checkout.folder / "results/smoke/synthetic"
    for path in ("summary.txt", "summary.csv", "acceptance.md", "figures/speedup.png", "figures/accepted.csv"):
        assert (results / path).stat().st_size > 0


def test_what_a_cancelled_group_has_finished_is_not_computed_again(run, tmp_path):
    place = run.copy(tmp_path / "checkout")
    evaluations = [
        f"results/smoke/synthetic/measurement/evaluation/{name}/seed-1.parquet" for name in ("sft", "atspeed_s")
    ]
    measurement = place.checkout.folder / "results/smoke/synthetic/measurement"
    logs = place.checkout.folder / "results/smoke/synthetic/logs/evaluate_draft"
    for path in (measurement / "evaluation").rglob("*.parquet"):
        path.unlink()
    for log in logs.rglob("*.log"):
        log.unlink()
    begun = place.start(*evaluations, "--retries", "0")
    wait(lambda: list(measurement.rglob("*.kept")), seconds=120)
    first = next(measurement.rglob("*.kept")).parent.name
    second = "sft" if first == "atspeed_s" else "atspeed_s"
    job = place.frozen("evaluation", f"synthetic/logs/evaluate_draft/{second}/seed-1.log")
    place.cluster.ask("scancel", job)
    begun.communicate(timeout=400)
    assert begun.returncode == 1
    assert not list((measurement / "evaluation").rglob("seed-1.parquet"))

    place.call(*evaluations)
    said = {name: (logs / name / "seed-1.log").read_text() for name in (first, second)}
    assert "finished by an earlier submission, and kept" in said[first]
    assert "strict lists are the target's own" in said[second]
    assert all((place.checkout.folder / path).is_file() for path in evaluations)
    assert not list(measurement.rglob("*.kept"))


def test_a_second_call_submits_nothing(run):
    before = len(run.jobs())
    assert "Nothing to be done" in run.call()
    assert len(run.jobs()) == before
