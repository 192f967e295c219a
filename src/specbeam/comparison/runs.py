"""A run's folder as `specbeam diff` sees it: settings, what made the results, what is there and what is missing."""

import functools
import json
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam import files, provenance, provenance_file
from specbeam.errors import SpecbeamError
from specbeam.measurement import records
from specbeam.settings import parse
from specbeam.stages import stage_values

RESULTS = Path("results")
_KINDS = {"evaluation": "measurement/evaluation/*/seed-*.parquet", "timing": "measurement/timing/K*.parquet"}
_ENVIRONMENT = ["commit", "dirty", "versions", "cpu", "device"]


@dataclass(eq=False)
class Run:
    """One run. Make it with `of`."""

    folder: Path
    config: dict[str, Any]
    """Resolved settings, as the last call of Snakemake wrote them."""
    problems: list[str] = field(default_factory=list)
    """What is missing or cannot be read; filled while the run is read."""

    @classmethod
    def of(cls, name: Path) -> "Run":
        """The run in the folder `name`, or of that name under results/. SpecbeamError if there is none."""
        for folder in (name, RESULTS / name):
            if (folder / "config.yaml").is_file():
                return cls(folder, files.read_yaml(folder / "config.yaml"))
        there = ", ".join(sorted(path.parent.name for path in RESULTS.glob("*/config.yaml"))) or "none"
        raise SpecbeamError(
            f"{name}: expected the folder of a run, with its config.yaml, or the name of one under {RESULTS}/; "
            f"there are: {there}"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings by dotted path, without the run's name."""
        return {path: value for path, value in _flat(self.config) if path != "run"}

    @property
    def datasets(self) -> list[str]:
        """Data sets that the run asks for, and those that have results, from other calls."""
        found = [path.parent.name for path in sorted(self.folder.glob("*/prepared"))]
        found += [path.parents[len(Path(glob).parts) - 1].name for glob in _KINDS.values()
                  for path in sorted(self.folder.glob(f"*/{glob}"))]  # fmt: skip
        return list(dict.fromkeys([*self.config.get("datasets", []), *found]))

    def objectives(self) -> list[str]:
        """Objectives that the run aligns drafts by."""
        return list(self.config.get("alignment", {}).get("objectives", {}))

    def missing(self) -> list[str]:
        """What the config asks for and is not there, relative to the folder: what a finished run would have."""
        measured, seeds = self.config.get("measurement", {}), self.config.get("draft", {}).get("seeds", [])
        shards = self.config.get("trajectories", {}).get("shards", 0)
        parts = ["target/model", "target/ranking.csv", "baselines/ranking.csv", "summary.csv"]
        parts += [
            "trajectories/valid.safetensors",
            *(f"trajectories/train-{shard}.safetensors" for shard in range(shards)),
        ]
        parts += [f"measurement/evaluation/{name}/seed-{seed}.parquet" for name in self.objectives() for seed in seeds]
        parts += [f"measurement/timing/K{width}.parquet" for width in measured.get("beam_widths", [])]
        wanted = [f"{dataset}/{part}" for dataset in self.config.get("datasets", []) for part in parts]
        return [path for path in wanted if not (self.folder / path).exists()]

    @functools.cache  # noqa: B019 -- a comparison has two runs
    def records(self, dataset: str, kind: records.Kind) -> pd.DataFrame | None:
        """All records of a kind; None, with a line in `problems`, where they are of another version or damaged."""
        paths = sorted((self.folder / dataset).glob(_KINDS[kind]))
        try:
            return records.read(paths, kind) if paths else None
        except SpecbeamError as error:
            self._problem(f"{dataset}: {kind} records are not compared: {error}")
            return None

    @functools.cache  # noqa: B019
    def provenances(self) -> dict[str, dict[str, Any]]:
        """What lies beside results, by path relative to the folder.

        Left out, and told, is what was damaged or has another format.
        """
        found = {}
        for path in sorted(self.folder.rglob(f"*{provenance.SUFFIX}")):
            try:
                found[str(path.relative_to(self.folder))] = provenance_file.load(path)
            except SpecbeamError as error:
                self._problem(str(error))
        return found

    def other_settings(self) -> list[str]:
        """Stages with results of other settings than `config`, which a later call changed without making all anew."""
        try:
            settings = parse(self.config, source=str(self.folder / "config.yaml"))
        except SpecbeamError as error:
            self._problem(f"settings of results are not compared with config.yaml: {error}")
            return []
        found = {}
        for name, made in self.provenances().items():
            objective, dataset = (made["options"].get(option) for option in ("objective", "dataset"))
            of_another = objective is not None and objective not in settings.alignment.objectives
            of_another |= dataset is not None and dataset not in settings.all_datasets
            if "ablations" in Path(name).parts or of_another:
                continue
            asked = dict(_flat(stage_values(settings, made["stage"], objective=objective, dataset=dataset)))
            if any(asked.get(path, value) != value for path, value in _flat(made["settings"])):
                found[made["stage"]] = None
        return list(found)

    def facts(self) -> dict[str, list[str]]:
        """What made the results: commit, versions, machine and seeds, each with all values that occur."""
        found: dict[str, set[str]] = defaultdict(set)
        for value in self.provenances().values():
            _add(found, value)
            found["host"].add(value["host"])
            found[f"threads of {value['stage']}"].add(str(value["threads"]))
            for name, seed in value["seeds"].items():
                found[f"seed, {name}"].add(str(seed))
        for dataset in self.datasets:
            for kind in _KINDS:
                frame = self.records(dataset, kind)
                if frame is not None:
                    for values in frame[_ENVIRONMENT].drop_duplicates().to_dict("records"):
                        _add(found, values | {"versions": json.loads(values["versions"])})
        return {name: sorted(values) for name, values in found.items()}

    def _problem(self, line: str) -> None:
        if line not in self.problems:
            self.problems.append(line)


def _add(found: dict[str, set[str]], values: dict[str, Any]) -> None:
    found["commit"].add(values["commit"][:12] + (" and changes" if values["dirty"] else ""))
    for name in ("cpu", "device"):
        found[name].add(values[name])
    for package, version in values["versions"].items():
        found[package].add(version)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
