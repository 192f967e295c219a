"""Several nodes: a training that srun starts on two of them, and jobs of the workflow, which have one."""

import json
import subprocess
import sys

import pandas as pd
import pytest

from specbeam import job_provenance
from tiny_run import CONFIG

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

SRUN = ("srun", "--partition=pair", "--nodes=2", "--ntasks-per-node=1", "--mem=2000")


def train(cluster, dataset, folder, *, processes, by=()):
    """Train the tiny target, by srun or right here; the losses."""
    training = {"epochs": 2, "batch_size": 8, "precision": "float32", "processes": processes}
    settings = {name: CONFIG[name] for name in ("seed", "device", "prompt")}
    settings |= {"target": {"model": CONFIG["target"]["model"], "training": training}}
    files = {"prepared": dataset.prepared, "model": folder / "model", "losses": folder / "loss.csv"}
    options = [part for name, path in files.items() for part in (f"--{name}", str(path))]
    done = subprocess.run(
        [*by, sys.executable, "-m", "specbeam", "train-target", *options, "--settings", json.dumps(settings),
         "--threads", "1"],
        env=cluster.environment(GLOO_SOCKET_IFNAME="lo"), capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2 of 2") == 1
    return pd.read_csv(folder / "loss.csv")


def test_a_training_on_two_nodes_learns_what_one_process_learns(cluster, tiny_dataset, tmp_path):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    one = train(cluster, tiny_dataset, tmp_path / "one", processes=1)
    two = train(cluster, tiny_dataset, tmp_path / "two", processes=2, by=SRUN)
    pd.testing.assert_frame_equal(one, two, rtol=0, atol=1e-5)
    made = json.loads(job_provenance.beside(tmp_path / "two/model").read_text())
    assert f"JobId={made['slurm_job']} " in (job := cluster.ask("scontrol", "show", "job", made["slurm_job"], "-o"))
    assert "NumNodes=2 " in job


def test_more_gpus_than_a_node_has_are_refused_and_not_gathered_from_two(submitting):
    config = submitting.checkout.folder / "config/smoke.yaml"
    text = config.read_text().replace("device: cpu", "device: auto")
    text = text.replace("training: {epochs", "training: {processes: 3, epochs", 1)
    config.write_text(text + "resources: {slurm: {partition: pair}}\n")
    prepared = submitting.checkout.snakemake("prepare")
    assert prepared.returncode == 0, prepared.stdout
    begun = submitting.start("results/smoke/synthetic/target/model", "--retries", "0")
    said, _ = begun.communicate(timeout=400)
    assert begun.returncode == 1
    assert "Requested node configuration is not available" in said
