"""The result table of a run: quality, acceptance and speed of every draft beside the target and the baselines.

`summary.csv` holds every K and draft width; `summary.txt` the largest, in a table for a terminal of 100 columns.
"""

from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

import pandas as pd

from specbeam.errors import SpecbeamError
from specbeam.figures import acceptance, accepted, recall, speedup, style
from specbeam.files import replacing
from specbeam.measurement import records

_KEY = ["method", *accepted.KEY]
_NAMES = {
    **{baseline: name for baseline, (name, _) in recall.BASELINES.items()},
    "target_all": "target",
    "generate": "transformers generate",
    "plain": "plain beam search",
}


def data(evaluation: pd.DataFrame, timing: pd.DataFrame, ranking: pd.DataFrame) -> pd.DataFrame:
    """All results, one row a (method, objective, plan, verification, K, N), means over users and the drafts' seeds.

    Methods: baselines and `target_all` (quality over all test users), `generate` and `plain` (the baselines' time;
    `plain` also has the target's quality on the evaluated users), `speculative`. What a method has no value for is
    empty. Raises SpecbeamError when the records are of several data sets.
    """
    if style.one_dataset(evaluation) != style.one_dataset(timing):
        raise SpecbeamError("evaluation and timing records are of different data sets")
    quality = recall.data(evaluation, ranking).rename(columns={"recommender": "method", "users": "quality_users"})
    quality["method"] = quality["method"].replace("target", "plain")
    names = {"sd": "accepted_sd", "low": "accepted_low", "high": "accepted_high"}
    levels = accepted.data(evaluation).assign(method="speculative").rename(columns=names).drop(columns="users")
    table = quality.merge(levels, on=_KEY, how="outer").merge(_times(timing), on=_KEY, how="outer")
    own = evaluation[evaluation["verification"] == "target"].drop_duplicates(["K", "user"])
    calls = table["K"].map(own.groupby("K")["target_calls"].mean())
    table["target_calls"] = table["target_calls"].where(table["method"] != "plain", calls)
    table = table.astype({"quality_users": "Int64", "timed_users": "Int64", "seeds": "Int64"})
    return _ordered(table)


def _times(timing: pd.DataFrame) -> pd.DataFrame:
    """Seconds a list and both speedups of every timed method; a baseline is 1 against itself."""
    timing = timing.assign(plan=timing["method"].map({"speculative": "flat"}).fillna(""))
    timed = timing[timing["timed"]]
    per_user = timed.groupby([*_KEY, "user"])["seconds"].median()
    times = per_user.groupby(_KEY).agg(seconds="mean", timed_users="size").reset_index()
    speedups = speedup.data(timing).rename(columns={"low": "speedup_low", "high": "speedup_high"})
    speedups["plan"] = speedups["method"].map({"speculative": "flat"}).fillna("")
    for baseline, part in speedups.groupby("baseline"):
        names = {name: f"{name}_{baseline}" for name in ("speedup", "speedup_low", "speedup_high", "median_ratio")}
        times = times.merge(part.rename(columns=names)[[*_KEY, *names.values()]], on=_KEY, how="left")
        times.loc[times["method"] == baseline, f"speedup_{baseline}"] = 1.0
    return times


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    ranks = {
        "method": {name: rank for rank, name in enumerate([*_NAMES, "speculative"])},
        "verification": {name: rank for rank, name in enumerate(["", *style.LINES])},
        "plan": {name: rank for rank, name in enumerate(["", *style.PLANS])},
        "objective": {name: rank for rank, name in enumerate(["", *style.OBJECTIVES])},
    }
    order = ["method", "verification", "plan", "objective", "K", "N"]
    return table.sort_values(order, key=lambda column: column.map(ranks.get(column.name, lambda value: value)))


def text(table: pd.DataFrame, *, header: str) -> str:
    """The frame of `data` as a plain table at its largest K and draft width, under `header`."""
    speculative = table[table["method"] == "speculative"]
    beam_width, draft_width = speculative["K"].max(), speculative["N"].max()
    list_length = acceptance.list_length(speculative["K"])
    table = _shown(table[(table["method"] != "speculative") | (table["N"] == draft_width)])
    names = ["method", "objective", "verification", "plan"]
    quality = table[table["K"] == list_length].set_index(names)
    speed = table[table["K"] == beam_width].set_index(names)
    title = [
        "",
        f"Recall@{list_length}",
        f"NDCG@{list_length}",
        f"AS@{beam_width}",
        "first",
        "calls",
        "vs plain",
        "vs generate",
    ]
    groups = [[title]]
    for _, keys in groupby(speed.index, key=lambda key: (key[0] == "speculative", *key[2:])):
        groups.append([_cells(key, quality, speed) for key in keys])
    notes = [
        f"Recall and NDCG: lists of K = {list_length}. All else: K = {beam_width}, N = {draft_width}.",
        "AS: accepted levels a round, without the bonus level; first: in the first round.",
        "calls: target calls a list.",
        "vs plain, vs generate: speedup over this engine's plain beam search and over transformers' generate.",
    ]
    if "completed" in set(speed.index.get_level_values("plan")):
        notes.insert(1, "completed: all children at the deepest drafted level, by the trie; else N at every level.")
    return "\n".join([header, "", *aligned(groups), *notes]) + "\n"


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """Leave out the target over all test users when the evaluated users are all of them, lest it stand there twice."""
    users = table.groupby("method")["quality_users"].max()
    return table[table["method"] != "target_all"] if users.get("target_all") == users.get("plain") else table


def _cells(key: tuple[str, str, str, str], quality: pd.DataFrame, speed: pd.DataFrame) -> list[str]:
    method, objective, verification, plan = key
    found = quality.loc[key] if key in quality.index else pd.Series(dtype=float)
    fast = speed.loc[key]
    name = f"{objective} {verification}" if method == "speculative" else _NAMES[method]
    name += " completed" if plan == "completed" else ""
    if method != "speculative" and pd.notna(found.get("quality_users")):
        name += f" ({found['quality_users']:,} users)"
    return [
        name,
        _number(found.get("recall"), ".4f"),
        _number(found.get("ndcg"), ".4f"),
        _number(fast["accepted"], ".2f"),
        _number(fast["first_accepted"], ".2f"),
        _number(fast["target_calls"], ".2f"),
        _number(fast["speedup_plain"], ".2f", "x"),
        _number(fast["speedup_generate"], ".2f", "x"),
    ]


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None or pd.isna(value) else f"{value:{form}}{unit}"


def aligned(groups: list[list[list[str]]]) -> list[str]:
    """Lines of a table: a rule beneath the first group, an empty line after each other one."""
    widths = [max(map(len, column)) for column in zip(*(row for group in groups for row in group), strict=True)]
    lines = []
    for group in groups:
        for name, *numbers in group:
            padded = [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), *padded]))
        lines.append("  ".join("-" * width for width in widths) if group is groups[0] else "")
    return lines


def header(evaluation: pd.DataFrame, timing: pd.DataFrame, *, run: str) -> str:
    """What the table's numbers were measured on: data set, run, users, machine and commit."""

    def of(column: str) -> str:
        return ", ".join(str(value) for value in timing[column].unique())

    def users(frame: pd.DataFrame) -> str:
        return f"{frame['user'].nunique():,} users"

    device = "" if of("device") == "cpu" else f", {of('device')}"
    dirty = ", with uncommitted changes" if timing["dirty"].any() else ""
    timed = timing[timing["timed"]]
    strict = evaluation.loc[evaluation["verification"] == "strict", "same_as_target"]
    same = f"{strict.sum():,} of {len(strict):,} strict lists are the target's own, item for item"
    repeats = timed.groupby(["K", *speedup.METHOD, "user"]).size().max()
    seeds = evaluation["draft_seed"].unique()
    several = [f"drafts: means over seeds {', '.join(map(str, seeds))}, time of seed {seeds[0]} alone"]
    return "\n".join(
        [
            f"data set {of('dataset')}, run {run}",
            f"quality and acceptance over {users(evaluation)}; time over {users(timed)}, median of {repeats} repeats",
            same if len(strict) else "no strict lists measured",
            f"machine: {of('cpu')}{device}, {of('threads')} thread(s), {of('dtype')}, seed {of('seed')}",
            *(several if len(seeds) > 1 else []),
            f"commit {', '.join(commit[:12] for commit in timing['commit'].unique())}{dirty}",
        ]
    )


def summarise(*, inputs: Iterable[Path], output: Path, run: str) -> str:
    """Read evaluation and timing records and every ranking.csv, in any order; write `output` (.csv) and its .txt.

    And acceptance.md beside them (specbeam.figures.acceptance).
    Returns the text. Raises SpecbeamError when a kind of input is missing.
    """
    inputs = [Path(path) for path in inputs]
    ranking = recall.read_rankings(inputs)
    kinds = {path: records.kind_of(path) for path in inputs if path.suffix != ".csv"}
    evaluation = records.read([path for path, kind in kinds.items() if kind == "evaluation"], "evaluation")
    timing = records.read([path for path, kind in kinds.items() if kind == "timing"], "timing")
    table = data(evaluation, timing, ranking)
    table.insert(0, "dataset", style.one_dataset(timing))
    table.insert(1, "run", run)
    head = header(evaluation, timing, run=run)
    written = text(table, header=head)
    with replacing(output) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    told = acceptance.markdown(table, evaluation, head)
    texts = {output.with_suffix(".txt"): written, output.with_name("acceptance.md"): told}
    for path, content in texts.items():
        with replacing(path) as temporary:
            temporary.write_text(content, encoding="utf-8")
    return written
