"""What a config costs, as tables in Markdown."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from specbeam.cost.facts import Facts
from specbeam.cost.measured import Measured
from specbeam.cost.predict import Accelerator, Predictor
from specbeam.cost.schedule import Task, longest_chain, wall
from specbeam.cost.work import Workload
from specbeam.errors import SpecbeamError
from specbeam.settings import Settings


@dataclass(frozen=True)
class Cost:
    """One job's cost."""

    rule: str
    task: Task
    bytes: float

    @property
    def seconds(self) -> float:
        """Of all workers together."""
        return self.task.seconds * max(self.task.workers, 1)


def costs(
    settings: Settings, runs: Sequence[Measured], accelerator: Accelerator | None = None, *, times: float = 1
) -> list[Cost]:
    """Each job of a config with `times` its users and items; SpecbeamError where `runs` do not tell.

    A worker is a GPU, which only jobs with models take, or, where runs were measured on a CPU, a core.
    """
    predictor, found = Predictor(runs, accelerator), []
    for dataset in settings.datasets:
        workload = Workload(settings, dataset, _facts(settings, dataset, runs).times(users=times, items=times))
        for job in workload.jobs():
            after = tuple(f"{dataset}/{name}" for name in job.after)
            expected = predictor.of(workload, job)
            task = Task(f"{dataset}/{job.name}", expected.seconds, after, expected.workers)
            found.append(Cost(job.rule, task, expected.bytes))
    return found


def by_rule(found: Sequence[Cost]) -> Iterator[str]:
    """Lines of a table: jobs, hours and bytes of each rule."""
    groups: dict[str, list[Cost]] = defaultdict(list)
    for cost in found:
        groups[cost.rule].append(cost)
    rows = [
        [rule, len(group), _time(max(cost.task.seconds for cost in group)), *_totals(group)]
        for rule, group in groups.items()
    ]
    yield from _table(["rule", "jobs", "the longest", "worker hours", "other hours", "stored"], rows)


def by_workers(found: dict[float, Sequence[Cost]], workers: Sequence[int]) -> Iterator[str]:
    """Lines of a table: for each factor of users and items hours, bytes, and the wall time by number of workers."""
    head = ["users and items", "worker hours", "other hours", "stored", *(f"on {count}" for count in workers)]
    rows = []
    for times, each in found.items():
        tasks, rule = [cost.task for cost in each], {cost.task.name: cost.rule for cost in each}
        chain = longest_chain(tasks)
        length, longest = sum(task.seconds for task in chain), max(chain, key=lambda task: task.seconds)
        bound = f"{_time(length)}, of it {longest.seconds / length:.0%} {rule[longest.name]}"
        rows.append([f"x {times:g}", *_totals(each), *(_time(wall(tasks, count)) for count in workers), bound])
    yield from _table([*head, "longest chain of jobs"], rows)


def _facts(settings: Settings, dataset: str, runs: Sequence[Measured]) -> Facts:
    """Those of the last run that has the data set; the generated one as large as `settings` say."""
    for run in reversed(runs):
        if dataset in run.facts:
            own, asked = run.settings.synthetic, settings.synthetic
            if dataset != "synthetic":
                return run.facts[dataset]
            return run.facts[dataset].times(users=asked.users / own.users, items=asked.items / own.items)
    raise SpecbeamError(
        f"{dataset}: expected a measured run that has prepared this data set, to know its users and items; "
        f"this does it: snakemake prepare --cores all --config datasets=[{dataset}]"
    )


def _totals(found: Sequence[Cost]) -> list[str]:
    by_workers = sum(cost.seconds for cost in found if cost.task.workers)
    others = sum(cost.seconds for cost in found if not cost.task.workers)
    return [f"{by_workers / 3600:,.2f}", f"{others / 3600:,.2f}", _size(sum(cost.bytes for cost in found))]


def _time(seconds: float) -> str:
    """Two units of it, rounded."""
    for unit, size, part, name in ((86400, 3600, "h", "d"), (3600, 60, "min", "h"), (60, 1, "s", "min")):
        if seconds >= unit:
            whole, rest = divmod(round(seconds / size), unit // size)
            return f"{whole} {name} {rest} {part}"
    return f"{seconds:.0f} s"


def _size(size: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size / 1e6:.2f} MB"


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(map(str, row))} |"
