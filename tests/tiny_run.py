"""A tiny run of the pipeline's stages, called as functions, for the tests of what they write."""

from dataclasses import dataclass
from pathlib import Path

from specbeam.alignment.train import align
from specbeam.measurement import records
from specbeam.measurement.evaluate import evaluate
from specbeam.stages import StageSettings
from specbeam.teacher import Shard
from specbeam.trajectories.record import record

TRAINING = {"epochs": 2, "batch_size": 32, "micro_batch_size": 32, "precision": "float32"}
CONFIG = {
    "seed": 3,
    "device": "cpu",
    "prompt": {"history": 6},
    "target": {
        "model": {"hidden_size": 16, "layers": 1, "heads": 2, "intermediate_size": 32},
        "training": {**TRAINING, "learning_rate": 1e-2},
    },
    "draft": {"model": {"hidden_size": 8, "layers": 1, "heads": 2, "intermediate_size": 16}, "training": TRAINING},
    "trajectories": {"beam_width": 4, "users": 30},
    "alignment": {"training": {**TRAINING, "epochs": 1}},
    "measurement": {
        "beam_widths": [1, 4], "draft_beam_widths": [3, 4], "plans": ["flat", "completed"], "users": 7,
        "timing_users": 2, "repeats": 2,
    },
}  # fmt: skip
OBJECTIVES = ["sft", "seqkd", "wordkd", "tvdkd", "atspeed_s", "atspeed_r", "treekd"]
LOSSES = ["epoch", "step", "train_loss", "valid_loss", "kept"]


def settings(stage, objective=None, **changes):
    return StageSettings(stage, {**CONFIG, **changes}, objective=objective)


@dataclass(frozen=True)
class Run:
    """Folders and files of a run, each made by its stage when the fixture is built."""

    prepared: Path
    folder: Path

    def model(self, name):
        return self.folder / name / "model"

    def losses(self, name):
        return self.folder / name / "loss.csv"

    def shard(self, name):
        return self.folder / f"{name}.safetensors"

    def record(self, name, split, shard=0, shards=1, **trajectories):
        changed = {**CONFIG["trajectories"], **trajectories}
        record(
            prepared=self.prepared, model=self.model("target"), output=self.shard(name), split=split, shard=shard,
            shards=shards, settings=settings("record", trajectories=changed), threads=1,
        )  # fmt: skip
        return Shard.load(self.shard(name))

    def align(self, objective, name=None, shards=("train-0", "train-1"), valid="valid", seed=3, own=None, **training):
        name = name or objective
        changed = {"training": {**CONFIG["alignment"]["training"], **training}, "objectives": {objective: own or {}}}
        align(
            prepared=self.prepared, base=self.model("base"), trajectories=[self.shard(shard) for shard in shards],
            valid=self.shard(valid), objective=objective, settings=settings("align", objective, alignment=changed),
            seed=seed, model=self.model(name), losses=self.losses(name), threads=1,
        )  # fmt: skip

    def evaluate(self, name, objective="sft", **changes):
        output = self.folder / f"{name}.parquet"
        trees = self.folder / f"{name}-trees.parquet"
        evaluate(
            prepared=self.prepared, target=self.model("target"), draft=self.model(objective), objective=objective,
            draft_seed=3, dataset="synthetic", output=output, trees=trees, settings=settings("evaluate", **changes),
            threads=1,
        )  # fmt: skip
        return records.read([output], "evaluation")
