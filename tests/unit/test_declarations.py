"""What a stage declares to depend on, its function reads: nothing is declared that cannot change its result."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from specbeam.alignment.train import align
from specbeam.baselines.rate import rate_baselines
from specbeam.data.prepare import prepare
from specbeam.data.synthetic import generate
from specbeam.identifiers.embeddings import embed_items
from specbeam.identifiers.identify import identify_items
from specbeam.measurement.evaluate import evaluate
from specbeam.measurement.explained import record_search
from specbeam.measurement.timing import time_methods
from specbeam.settings import Section, parse
from specbeam.stages import StageSettings, stage_values
from specbeam.target.draft import train_draft
from specbeam.target.infer import recommend
from specbeam.target.train import train_target
from specbeam.trajectories.record import record

SIZES = {"hidden_size": 8, "layers": 1, "heads": 2, "intermediate_size": 16}
TRAINING = {"epochs": 1, "batch_size": 64, "precision": "float32"}
RUN = parse(
    {
        "device": "cpu",
        "synthetic": {"users": 40, "items": 40, "clusters": 4},
        "own_data": {"mine": {"sequences": "raw", "identifiers": {"embeddings": {"size": 4}, "codebook": 8}}},
        "target": {"model": SIZES, "training": TRAINING},
        "draft": {"model": SIZES, "training": TRAINING},
        "trajectories": {"beam_width": 2, "users": 10},
        "alignment": {"objectives": {"atspeed_s": {}}, "training": TRAINING},
        "baselines": {"sasrec": {"hidden_size": 8, "heads": 2, **TRAINING}},
        "measurement": {"beam_widths": [2], "draft_beam_widths": [2], "users": 1, "timing_users": 1, "repeats": 1},
    }
)
NOT_READ = {
    # Read for a pretrained model alone; patience, when an epoch is no better than the one before.
    "prepare": {"target.model.revision"},
    "embed_items": {"own_data.mine.identifiers.embeddings.from"},  # whose name in Python is source
    "identify_items": {"own_data.mine.identifiers.vae"},  # of rq-vae
    "train_target": {"target.model.revision", "target.model.dtype", "target.training.patience"},
    "rate_baselines": {"baselines.sasrec.patience"},
    "train_draft": {"draft.model.revision", "draft.training.patience", "target.model.dtype"},  # the last, to distil
    "align": {"alignment.training.patience"},
    # What is timed depends on it, through --threads.
    "time": {"threads.timing"},
}


def _leaves(values: Any, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all single settings in a nested dict."""
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def _places(section: Any, prefix: str = "") -> Iterator[tuple[int, str]]:
    """Identity of each section below `section`, with the path that leads to its settings."""
    yield id(section), prefix
    inner = vars(section) if isinstance(section, Section) else section
    for name, value in inner.items():
        if isinstance(value, Section | dict):
            yield from _places(value, f"{prefix}{name}.")


class Reads:
    """Runs stages and keeps which settings each has read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.of: dict[str, set[str]] = {}
        self._places: dict[int, str] = {}
        self._read: set[str] = set()
        monkeypatch.setattr(Section, "__getattribute__", lambda section, name: self._noting(section, name))
        # Records store all declared settings, which is not to use them.
        monkeypatch.setattr(StageSettings, "model_dump", lambda *_, **__: {}, raising=False)

    def __call__(self, stage: str, run: Callable[[StageSettings], object], **of: str) -> None:
        values = stage_values(RUN, stage, **of)
        settings = StageSettings(stage, values, **of)
        self._places, self._read = dict(_places(settings._view._section)), set()
        run(settings)
        self.of[stage] = {path for path in _leaves(values) if path in self._read}

    def _noting(self, section: Section, name: str) -> Any:
        prefix = self._places.get(id(section))
        if prefix is not None:
            self._read.add(prefix + name)
        return object.__getattribute__(section, name)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(monkeypatch)


def test_every_stage_reads_all_that_it_declares(reads, tmp_path):
    raw, prepared, target, base, draft = (tmp_path / name for name in ("raw", "prepared", "target", "base", "draft"))
    train, valid = tmp_path / "train.safetensors", tmp_path / "valid.safetensors"
    of = {"prepared": prepared, "threads": 1}
    reads("generate", lambda s: generate(settings=s.synthetic, seed=s.seed, destination=raw))
    vectors, files = tmp_path / "vectors.safetensors", {"raw": raw, "output": tmp_path / "identifiers.json"}

    def embed(s: StageSettings) -> None:
        own = s.own_data["mine"].identifiers.embeddings
        embed_items(raw=raw, output=vectors, settings=own, device=s.device, threads=1)

    def identify(s: StageSettings) -> None:
        identify_items(embeddings=vectors, settings=s.own_data["mine"].identifiers, **files)

    reads("embed_items", embed, dataset="mine")
    reads("identify_items", identify, dataset="mine")
    reads("prepare", lambda s: prepare(raw=raw, prepared=prepared, model=s.target.model))
    reads("train_target", lambda s: train_target(settings=s, model=target, losses=tmp_path / "a.csv", **of))
    reads("train_draft", lambda s: train_draft(settings=s, seed=1, model=base, losses=tmp_path / "b.csv", **of))
    files = {"lists": tmp_path / "lists.parquet", "ranking": tmp_path / "ranking.csv"}
    reads("infer_target", lambda s: recommend(settings=s, model=target, **files, **of))
    reads("rate_baselines", lambda s: rate_baselines(settings=s, ranking=tmp_path / "baselines.csv", **of))
    for stage, split, output in (("record", "train", train), ("record_validation", "valid", valid)):
        part = {"split": split, "output": output, "shard": 0, "shards": 1}
        reads(stage, lambda s, part=part: record(settings=s, model=target, **part, **of))
    files = {"base": base, "trajectories": [train], "valid": valid, "model": draft, "losses": tmp_path / "c.csv"}
    reads("align", lambda s: align(settings=s, seed=1, objective="atspeed_s", **files, **of), objective="atspeed_s")
    files = {"target": target, "dataset": "synthetic", "output": tmp_path / "out.parquet"}
    trees = {"draft": draft, "objective": "atspeed_s", "draft_seed": 1, "trees": tmp_path / "trees.parquet"}
    reads("evaluate", lambda s: evaluate(settings=s, **trees, **files, **of))
    record_one = {"draft": draft, "objective": "atspeed_s", "output": tmp_path / "example.json", "target": target}
    reads("record_search", lambda s: record_search(settings=s, **record_one, **of))
    reads("time", lambda s: time_methods(settings=s, drafts={"atspeed_s": draft}, beam_width=2, **files, **of))

    for stage, read in reads.of.items():
        objective = "atspeed_s" if stage == "align" else None
        declared = set(_leaves(stage_values(RUN, stage, objective=objective, dataset="mine")))
        assert declared - read == NOT_READ.get(stage, set()), stage
