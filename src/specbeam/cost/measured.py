"""What finished runs took: seconds, CPU time, memory and bytes of each rule's jobs, as one small file."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import TypeAdapter

from specbeam import files, provenance, provenance_file
from specbeam.comparison.runs import Run
from specbeam.cost.facts import Facts
from specbeam.cost.work import Workload
from specbeam.errors import SpecbeamError
from specbeam.settings import Settings, parse
from specbeam.stages import FIGURES

RULES = {
    "generate_synthetic": (("generate",), ("raw/*",)),
    "prepare_dataset": (("prepare",), ("prepared/**/*",)),
    "rate_baselines": (("rate_baselines",), ("baselines/*.csv",)),
    "train_target": (("train_target",), ("target/model/*",)),
    "recommend_items": (("infer_target",), ("target/lists.parquet",)),
    "record_trajectories": (("record",), ("trajectories/train-*.safetensors",)),
    "record_validation": (("record_validation",), ("trajectories/valid.safetensors",)),
    "train_draft": (("train_draft",), ("drafts/base/*/model/*",)),
    "align_draft": (("align",), ("drafts/[!b]*/*/model/*",)),
    "evaluate_draft": (("evaluate",), ("measurement/evaluation/*/*.parquet", "measurement/trees/*/*.parquet")),
    "record_search": (("record_search",), ("measurement/example.json",)),
    "time_methods": (("time",), ("measurement/timing/*.parquet",)),
    "plot_figure": (FIGURES, ("figures/*",)),
    "summarise_run": (("summarise",), ("summary.*", "acceptance.md")),
}
"""Stages of a rule's jobs, and where their results lie, in the folder of a data set."""


@dataclass(frozen=True)
class Taken:
    """What a rule's jobs took, each on the mean."""

    jobs: int
    seconds: float
    """Wall time, which on a CPU depends on who else is at work there."""
    cpu_seconds: float
    memory_mb: float
    """The most of any of them."""
    bytes: float


_TAKEN = TypeAdapter(Taken)


@dataclass(frozen=True)
class Point:
    """A rule's jobs as measured."""

    work: float
    """Of a mean job (Workload.work)."""
    stored: float
    """Of a mean job, in units of Job.stored."""
    taken: Taken


@dataclass(frozen=True)
class Measured:
    """A finished run."""

    run: str
    cpu: str
    device: str
    settings: Settings
    facts: dict[str, Facts]
    """By data set."""
    taken: dict[str, dict[str, Taken]]
    """By data set and rule. A job that was killed on the way counts from where it went on."""

    @classmethod
    def of(cls, folder: Path) -> "Measured":
        """That of a run's folder, or of its name under results/; what is not there yet is left out.

        Raises SpecbeamError where its jobs have run on several kinds of machines, or were made by an older specbeam.
        """
        run = Run.of(folder)
        prepared = {name: run.folder / name for name in run.datasets if (run.folder / name / "prepared").is_dir()}
        taken, machines = {}, set()
        for name, place in prepared.items():
            taken[name], on = _taken(place)
            machines |= {(cpu, device) for cpu, device in on}
        devices = {device for _, device in machines if device != "cpu"} or {"cpu"}
        if len({cpu for cpu, _ in machines}) != 1 or len(devices) != 1:
            kinds = "; ".join(f"{cpu}, {device}" for cpu, device in sorted(machines)) or "none"
            raise SpecbeamError(f"{run.folder}: expected jobs of one kind of machine, got {kinds}")
        (cpu, _), *_ = machines
        settings = parse(run.config, source=str(run.folder / "config.yaml"))
        facts = {name: Facts.of(place / "prepared") for name, place in prepared.items()}
        return cls(run.config["run"], cpu, devices.pop(), settings, facts, taken)

    @classmethod
    def load(cls, values: dict[str, Any]) -> "Measured":
        """From what `dump` gives."""
        datasets = values["datasets"]
        rules = {name: own["rules"].items() for name, own in datasets.items()}
        return cls(
            **{name: values[name] for name in ("run", "cpu", "device")},
            settings=parse(values["settings"], source=values["run"]),
            facts={name: Facts.load(own["facts"]) for name, own in datasets.items()},
            taken={name: {rule: _TAKEN.validate_python(taken) for rule, taken in own} for name, own in rules.items()},
        )

    def dump(self) -> dict[str, Any]:
        """As YAML knows it."""
        datasets = {
            name: {"facts": facts.dump(), "rules": {rule: asdict(taken) for rule, taken in self.taken[name].items()}}
            for name, facts in self.facts.items()
        }
        return {
            "run": self.run,
            "cpu": self.cpu,
            "device": self.device,
            "datasets": datasets,
            "settings": self.settings.plain,
        }

    def points(self, rule: str) -> Iterator[Point]:
        """What is known of a rule, a data set at a time."""
        for dataset, facts in self.facts.items():
            if rule in self.taken[dataset]:
                workload, taken = Workload(self.settings, dataset, facts), self.taken[dataset][rule]
                jobs = [job for job in workload.jobs() if job.rule == rule]
                yield Point(_mean(map(workload.work, jobs)), _mean(job.stored for job in jobs), taken)


def read(paths: Sequence[Path]) -> list[Measured]:
    """Runs from their folders, or from files that `save` wrote. SpecbeamError naming what is neither."""
    found = []
    for path in paths:
        if path.suffix == ".yaml" and path.is_file():
            try:
                found += [Measured.load(values) for values in yaml.safe_load(path.read_text(encoding="utf-8"))]
            except (*files.YAML_ERRORS, SpecbeamError) as error:
                raise SpecbeamError(
                    f"{path}: expected measured runs as `specbeam cost --save` writes them ({error!r:.500})"
                ) from None
        else:
            found.append(Measured.of(path))
    return found


def save(runs: Sequence[Measured], path: Path) -> None:
    """Write runs to a YAML file, atomically."""
    with files.replacing(path) as temporary:
        text = yaml.safe_dump([run.dump() for run in runs], sort_keys=False, default_flow_style=None, width=120)
        temporary.write_text(text, encoding="utf-8")


def _taken(folder: Path) -> tuple[dict[str, Taken], set[tuple[str, str]]]:
    """What the jobs of one data set took, by rule, and the machines (CPU, device) on which."""
    found, machines, made = {}, set(), defaultdict(list)
    for path in sorted(folder.rglob(f"*{provenance.SUFFIX}")):
        if path.relative_to(folder).parts[0] != "ablations":
            job = provenance_file.load(path)
            if "cpu_seconds" not in job:
                raise SpecbeamError(f"{path}: expected the job's cpu_seconds, of an older specbeam; run it again")
            made[job["stage"]].append(job)
            machines.add((job["cpu"], job["device"]))
    for rule, (stages, patterns) in RULES.items():
        if jobs := [job for stage in stages for job in made[stage]]:
            results = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
            size = sum(path.stat().st_size for path in results if not path.name.endswith(provenance.SUFFIX))
            found[rule] = Taken(
                len(jobs),
                round(_mean(job["seconds"] for job in jobs), 2),
                round(_mean(job["cpu_seconds"] for job in jobs), 2),
                max(job["memory_mb"] for job in jobs),
                round(size / len(jobs)),
            )
    return found, machines


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed)
