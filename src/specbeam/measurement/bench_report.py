"""What `specbeam bench` prints: one table of results, and the text made of it."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from specbeam.measurement.bench_methods import KEY, Grid
from specbeam.measurement.bench_subject import Subject
from specbeam.measurement.roofline import Roofline
from specbeam.provenance import commit_of

_AT = ["batch", "K", *KEY]
_NAMES = {"generate": "transformers generate", "plain": "plain beam search"}
MIB = 1 << 20


def table(records: pd.DataFrame, memory: pd.DataFrame, ceilings: pd.DataFrame) -> pd.DataFrame:
    """One row a (batch size, K, method): seconds a list, how many times faster than each baseline, and counts.

    Seconds are medians over repeats, summed over all prompts; a ratio is one of such sums. vs_plain_low and
    vs_plain_high are the least and the largest ratio of a single repeat: what is noise here. `ceiling` is what passes
    alone would allow (roofline.ceiling).
    """
    each = records.groupby([*_AT, "user_batch"], sort=False)
    totals = each.agg(seconds=("seconds", "median"), prompts=("prompts", "first"))
    counts = records.groupby(_AT, sort=False)[["target_calls", "draft_calls", "nodes"]].mean()
    summed = totals.groupby(_AT, sort=False).sum()
    found = counts.assign(seconds=summed["seconds"] / summed["prompts"], prompts=summed["prompts"])
    by_repeat = records.groupby([*_AT, "repeat"], sort=False)["seconds"].sum().unstack("repeat")
    for name in ("generate", "plain"):
        found[f"vs_{name}"] = _baseline(found["seconds"], name) / found["seconds"]
    ratios = _baseline(by_repeat, "plain") / by_repeat
    found = found.assign(vs_plain_low=ratios.min(axis=1), vs_plain_high=ratios.max(axis=1)).reset_index()
    found = memory.merge(found, on=_AT, how="left").merge(ceilings, on=_AT, how="left")  # in the order of methods
    columns = ["prompts", "seconds", "vs_generate", "vs_plain", "vs_plain_low", "vs_plain_high", "ceiling"]
    return found.reindex(columns=[*_AT, *columns, "target_calls", "draft_calls", "nodes", "memory"])


def _baseline(values: pd.Series | pd.DataFrame, method: str) -> pd.Series | pd.DataFrame:
    """For each row of `values` that of `method` at the same batch size and K."""
    own = values.xs(method, level="method").droplevel(list(KEY[1:]))
    rows = pd.MultiIndex.from_arrays([values.index.get_level_values(name) for name in ("batch", "K")])
    return own.loc[rows].set_axis(values.index)


def header(subject: Subject, grid: Grid, roofline: Roofline, environment: dict[str, Any]) -> list[str]:
    """What the numbers were measured on."""
    versions = json.loads(environment["versions"])
    lengths = sorted(map(len, subject.prompts))
    device = "" if environment["device"] == "cpu" else f", {environment['device']}"
    lines = [
        f"{subject.name}: {len(subject.identifiers):,} identifiers, prompts of {lengths[0]} to {lengths[-1]} tokens",
        f"machine: {environment['cpu']}{device}, {environment['threads']} thread(s), {environment['dtype']}",
        f"torch {versions['torch']}, transformers {versions['transformers']}, commit {commit_of(environment)}",
        f"{grid.users} prompts (one batch where a batch is larger), seed {environment['seed']}; each method once to "
        f"warm up, then {grid.repeats} repeats in random order: the median counts",
        f"reads {roofline.bandwidth / 1e9:.1f} GB/s ({roofline.read / MIB:,.0f} MiB, the size of the weights in use), "
        f"multiplies {roofline.rate / 1e12:.3f} Tflop/s",
    ]
    if subject.random_weights:
        lines.append("RANDOM WEIGHTS: times of passes are real, but what drafts are accepted means nothing")
    return lines


def text(
    header: list[str], *, bench: pd.DataFrame, passes: pd.DataFrame, lookups: pd.DataFrame,
    filters: pd.DataFrame | None = None, on_gpu: bool,
) -> str:  # fmt: skip
    """The whole report; `filters` are measured on the large catalogue only."""
    held = "peak allocated, weights included" if on_gpu else "keys and values held, computed"
    bench = bench.assign(ms=1e3 * bench["seconds"], mib=bench["memory"] / MIB)
    blocks = [
        (("faster than generate", "vs_generate", ".2f"), ("faster than plain beam search", "vs_plain", ".2f")),
        (("milliseconds a list", "ms", ".2f"), ("target calls a batch", "target_calls", ".2f")),
        (("nodes a prompt", "nodes", ".0f"), (f"MiB a batch ({held})", "mib", ".1f")),
    ]
    lines = [*header]
    for size, part in bench.groupby("batch", sort=False):
        part = part.assign(name=[_name(row) for row in part.to_dict("records")])
        for pair in blocks:
            lines += ["", *_side_by_side(part, f"batch {size}", pair)]
        lines += ["", *_ceilings(part, f"batch {size}"), "", *_planned(part, f"batch {size}")]
    lines += ["", *_passes(passes), "", *_lookups(lookups)]
    return "\n".join([*lines, *([] if filters is None else ["", *_filters(filters)])]) + "\n"


def _side_by_side(part: pd.DataFrame, title: str, columns: Sequence[tuple[str, str, str]]) -> list[str]:
    """Lines of a table with a row a method and, for each of `columns` (heading, column, format), a column a K."""
    heads, cells = [], []
    for heading, column, form in columns:
        wide = part.pivot_table(column, "name", "K", aggfunc="first", sort=False)
        block = wide.map(lambda value, form=form: _cell(value, form)).reindex(part["name"].unique(), fill_value="-")
        lines = _aligned(block, names=[""] * len(block))
        width = max(len(heading), *map(len, lines))
        heads.append(heading.ljust(width))
        cells.append([line.ljust(width) for line in lines])
    names = ["", *part["name"].unique()]
    width = max(map(len, (title, *names)))
    rows = [[title, *heads], *([name, *parts] for name, *parts in zip(names, *cells, strict=True))]
    return ["   |  ".join([row[0].ljust(width), *row[1:]]).rstrip() for row in rows]


def _ceilings(part: pd.DataFrame, title: str) -> list[str]:
    """What passes alone allow, once a draft and plan."""
    drafted = part[part["method"] == "speculative"].drop_duplicates(["K", "drafter", "objective", "plan"])
    if drafted.empty:
        return []
    first = drafted.assign(name=drafted["name"].str.partition(", ")[2]).drop_duplicates(["K", "name"])
    return _side_by_side(
        first, title, [("faster than plain, if all drafts were accepted (passes alone)", "ceiling", ".2f")]
    )


def _planned(part: pd.DataFrame, title: str) -> list[str]:
    """Which trees the planner chose."""
    planned = part[part["plan"].str.startswith("planned")]
    lines = []
    for name, rows in planned.groupby("name", sort=False):
        plans = (f"K={k} {plan.removeprefix('planned ')}" for k, plan in zip(rows["K"], rows["plan"], strict=True))
        lines.append(f"{title}: {name}: {'; '.join(plans)}")
    return lines


def _name(row: dict[str, Any]) -> str:
    if row["method"] != "speculative":
        return _NAMES[row["method"]]
    plan = "planned" if row["plan"].startswith("planned") else row["plan"]  # what was planned differs by K
    return f"{row['verification']}, {row['objective'] or row['drafter']}, {plan}"


def _passes(passes: pd.DataFrame) -> list[str]:
    shown = pd.DataFrame(
        {
            "batch": passes["batch"].astype(str),
            "tokens": passes["tokens"].astype(str),
            "ms": passes["seconds"].map(lambda value: f"{1e3 * value:.2f}"),
            "bound, ms": passes["bound"].map(lambda value: f"{1e3 * value:.2f}"),
            "over bound": passes["over_bound"].map(lambda value: f"{value:.2f}"),
            "limit": passes["limit"],
        }
    )
    return ["passes of the target, and the least that bandwidth and arithmetic allow", *_aligned(shown, passes["pass"])]


def _lookups(lookups: pd.DataFrame) -> list[str]:
    lines = ["share of a list's time that look-ups in the trie take"]
    for row in lookups.to_dict("records"):
        built = f", built in {row['build_seconds']:.1f} s" if row["build_seconds"] else ""
        where = f"{row['items']:>9,} items, {row['method']:<6}, K = {row['K']}, batch {row['batch']:>2}"
        times = f"{1e6 * row['lookup_seconds']:.0f} us of {1e3 * row['seconds']:.2f} ms"
        lines.append(f"  {where}: {100 * row['share']:.2f} % ({times}){built}")
    return lines


def _filters(filters: pd.DataFrame) -> list[str]:
    lines = ["share of a list's time that filters take: to make one for each batch, and in its look-ups"]
    for row in filters.to_dict("records"):
        what = "half, made once in {subset_seconds:.1f} s" if row["filter"] == "half" else "less {filter} a prompt"
        where = f"{row['items']:>9,} items, {row['method']:<6}, K = {row['K']}, batch {row['batch']:>2}"
        times = f"{1e6 * row['filter_seconds']:.0f} us of {1e3 * row['unfiltered_seconds']:.2f} ms"
        lines.append(f"  {where}, {what.format(**row)}: {100 * row['share']:.2f} % ({times})")
    return lines


def _cell(value: float, form: str) -> str:
    return "-" if pd.isna(value) else f"{value:{form}}"


def _aligned(cells: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """Lines of a table of text: its columns' names, then a row each, numbers to the right."""
    head = [f"K={name}" if isinstance(name, int) else name for name in cells.columns]
    rows = [["", *head], *([name, *row] for name, row in zip(names, cells.to_numpy().tolist(), strict=True))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]
