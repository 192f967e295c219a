"""Where a run's numbers come from, and what to run next."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from specbeam.comparison.runs import Run
from specbeam.page.tables import Column, Table
from specbeam.settings import BUILT_IN

_NAMING = ("dataset", "split", "shard", "figure", "objective", "draft_seed", "seed", "beam_width")
"""Options that tell jobs of one stage apart."""
_FOR_TARGET = ("generate", "prepare", "train_target", "infer_target", "rate_baselines", "record", "record_validation")
_MACHINE = ("host", "cpu", "device")


def origins(run: Run) -> list[tuple[str, str]]:
    """Commits, machines, seeds, threads and versions of all jobs, each with every value that occurs."""
    facts = {name: ", ".join(values) for name, values in run.facts().items()}
    seeds, threads = (
        {name.removeprefix(prefix): value for name, value in facts.items() if name.startswith(prefix)}
        for prefix in ("seed, ", "threads of ")
    )
    known = {"commit", *_MACHINE, *(f"seed, {name}" for name in seeds), *(f"threads of {name}" for name in threads)}
    versions = {name: value for name, value in facts.items() if name not in known}
    seconds = [job["seconds"] for job in run.provenances().values()]
    return [
        *((name, facts[name]) for name in ("commit", *_MACHINE) if name in facts),
        ("seeds", _pairs(seeds)),
        ("threads", _by_value(threads)),
        ("versions", _pairs(versions)),
        ("time", f"{sum(seconds) / 3600:.2f} hours in {len(seconds)} jobs"),
    ]


def _by_value(values: dict[str, str]) -> str:
    """Each value with the names that have it; alone, if all have the same."""
    names = {value: [name for name in values if values[name] == value] for value in values.values()}
    return "; ".join(value if len(names) == 1 else f"{value}: {', '.join(of)}" for value, of in names.items())


def _pairs(values: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def cautions(run: Run) -> Iterator[str]:
    """What a reader should know before trusting the numbers."""
    made = run.provenances().values()
    if any(job["dirty"] for job in made):
        yield "Some results were made with uncommitted changes: their commit does not tell all of their code."
    if len({job["commit"] for job in made}) > 1:
        yield "Results are of several commits, each up to date by the code that it depends on."
    yield from run.problems


def jobs(run: Run, dataset: str | None = None, *, objective: str | None = None) -> Table:
    """A row for each job of the run; with `dataset`, of those for its `objective`, or, without one, for its target."""
    made = sorted(run.provenances().items(), key=lambda item: item[1]["start"])
    made = [job for path, job in made if dataset is None or _is_for(path, job, dataset, objective)]
    rows = [
        [
            job["stage"],
            _pairs({name.replace("_", " "): job["options"][name] for name in _NAMING if name in job["options"]}),
            job["start"].replace("T", " ").removesuffix("+00:00"),
            job["seconds"],
            job["host"],
            job["commit"][:12],
        ]
        for job in made
    ]
    columns = [Column(name) for name in ("stage", "of", "began, UTC")]
    columns += [Column("seconds", ".1f"), Column("host"), Column("commit")]
    return Table("Jobs", "In the order of beginning; those of ablations too.", columns, rows)


def _is_for(path: str, job: dict[str, Any], dataset: str, objective: str | None) -> bool:
    chosen = job["options"].get("objective") == objective if objective else job["stage"] in _FOR_TARGET
    return chosen and path.startswith(f"{dataset}/")


@dataclass(frozen=True)
class Step:
    """A command, and what for."""

    why: str
    command: str


def next_steps(run: Run, dataset: str, user: int) -> Iterator[Step]:
    """What to run after `run`, which has a test user `user` of `dataset`."""
    config = run.folder / "config.yaml"
    yield Step("A list for a test user", f"specbeam recommend {run.folder / dataset} --user {user}")
    yield Step("How that list comes about, node by node", f"specbeam explain {run.folder / dataset} --user {user}")
    yield Step("How fast on this machine, by K and batch size", f"specbeam bench {run.folder / dataset}")
    if run.config["ablations"]:
        yield Step("The config's ablations", f"snakemake --cores all ablations --configfile {config}")
    there = (*BUILT_IN, *run.config.get("own_data", ()))
    if other := _first(name for name in there if name not in run.config["datasets"]):
        yield Step("The same settings on another data set", f"snakemake --cores all {other} --configfile {config}")
    yield Step("Another setting: copy the config, name its run 'mine', and edit it", f"cp {config} config/mine.yaml")
    yield Step(
        "Run what depends on that setting, and nothing else", "snakemake --cores all --configfile config/mine.yaml"
    )
    yield Step("What differs, and how the results moved", f"specbeam diff {run.config['run']} mine")
    yield Step("A report of every job, to pass on", f"snakemake --report report.zip --configfile {config}")


def _first(names: Iterable[str]) -> str | None:
    return next(iter(names), None)
