"""Recall against speedup: what each draft and verification gives up in quality for time, and who is beaten in both.

Strict lists are the target's own, so their points lie at its height; sampled verification moves away from it. The front
joins the points that no other one beats both in recall and in speed, baselines included.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, speedup, style
from specbeam.figures.acceptance import list_length
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records

_KEY = ["objective", "verification", "K", "N"]
_MARKERS = {"strict": "o", "relaxed": "s", "relaxed-ranked": "^", "coupled": "D"}
_PLAIN = {"color": style.INK, "marker": "x", "ms": 5, "ls": ""}
_BAND = {"color": "#F0F0F0", "lw": 0}


def data(evaluation: pd.DataFrame, timing: pd.DataFrame) -> pd.DataFrame:
    """One row a (method, objective, verification, K, N) that was timed, drafts flat.

    `recall` is a mean over evaluated users and the drafts' seeds, `speedup` that against plain beam search over timed
    users, each with the ends of its 95 % interval; `front`: no row of this K is better in one and as good in the other.
    """
    if style.one_dataset(evaluation) != style.one_dataset(timing):
        raise SpecbeamError("evaluation and timing records are of different data sets")
    own = evaluation["verification"] == "target"
    target = evaluation[own].drop_duplicates(["K", "user"]).assign(objective="", verification="")
    lists = pd.concat([target, evaluation[~own & (evaluation["plan"] == "flat")]])
    rows = []
    for names, part in lists.groupby(_KEY):
        values = by_seed(part, "recall")
        mean, low, high = ratio_of_sums(values)
        row = dict(zip(_KEY, names, strict=True)) | {"users": values.shape[1], "seeds": len(values)}
        rows.append(row | {"recall": mean, "recall_low": low, "recall_high": high})
    quality = pd.DataFrame(rows, columns=[*_KEY, "users", "seeds", "recall", "recall_low", "recall_high"])
    times = speedup.data(timing).query("baseline == 'plain'").rename(
        columns={"users": "timed_users", "low": "speedup_low", "high": "speedup_high"}
    )  # fmt: skip
    times = times[["method", *_KEY, "timed_users", "speedup", "speedup_low", "speedup_high"]]
    same = dict.fromkeys(("speedup", "speedup_low", "speedup_high"), 1.0)
    plain = times[times["method"] == "generate"].assign(method="plain", **same)
    table = pd.concat([plain, times]).merge(quality, on=_KEY, how="inner")
    beaten = [_beaten(row, table[table["K"] == row.K]) for row in table.itertuples()]
    return table.assign(front=[not lost for lost in beaten]).sort_values(["K", "speedup"], ignore_index=True)


def _beaten(row: tuple, others: pd.DataFrame) -> bool:
    as_good = (others["recall"] >= row.recall) & (others["speedup"] >= row.speedup)
    better = (others["recall"] > row.recall) | (others["speedup"] > row.speedup)
    return bool((as_good & better).any())


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at the largest draft width, for the K of recall in tables and the largest.

    Without `generate`, which would take half the room.
    """
    speculative = table[table["method"] == "speculative"]
    widest = table[(table["method"] == "plain") | (table["N"] == speculative["N"].max())]
    beam_widths = sorted({list_length(speculative["K"]), speculative["K"].max()})
    width = style.DOUBLE if len(beam_widths) > 1 else style.SINGLE
    figure, panels = style.panels(columns=len(beam_widths), width=width, height=3.1)
    for axes, beam_width in zip(panels, beam_widths, strict=True):
        _points(axes, widest[widest["K"] == beam_width])
        axes.set_title(f"K = {beam_width}, N = {speculative['N'].max()}", loc="left")
        axes.set_xlabel("times faster than plain beam search")
        axes.set_ylabel(f"Recall@{beam_width}")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter("{x:g}x")
    verifications = [name for name in _MARKERS if name in set(speculative["verification"])]
    handles = [Line2D([], [], label=style.label(n), ls="", marker="o", ms=5, mew=0, color=style.look(n)["color"])
               for n in style.in_order(speculative["objective"])]  # fmt: skip
    shape = {"color": style.INK, "ls": "", "mfc": "none", "ms": 4}
    handles += [Line2D([], [], label=name, marker=_MARKERS[name], **shape) for name in verifications]
    handles += [
        Line2D([], [], label="plain beam search", **_PLAIN),
        Patch(label="its recall, 95 %", **_BAND),
        Line2D([], [], label="beaten by none in both", color=style.GREY, lw=0.9),
    ]
    style.legend(figure, handles, columns=5 if width == style.DOUBLE else 2)
    return figure


def _points(axes: Axes, table: pd.DataFrame) -> None:
    plain = table[table["method"] == "plain"].iloc[0]
    axes.axhspan(plain["recall_low"], plain["recall_high"], zorder=0, **_BAND)
    front = table[table["front"]].sort_values("speedup")
    axes.plot(front["speedup"], front["recall"], color=style.GREY, lw=0.9, drawstyle="steps-post", zorder=1)
    axes.plot(plain["speedup"], plain["recall"], zorder=3, **_PLAIN)
    for row in table[table["method"] == "speculative"].itertuples():
        look = {"color": style.look(row.objective)["color"], "marker": _MARKERS[row.verification], "ms": 4, "mew": 0}
        across = [[max(0.0, row.speedup - row.speedup_low)], [max(0.0, row.speedup_high - row.speedup)]]
        axes.errorbar(row.speedup, row.recall, xerr=across, elinewidth=0.5, zorder=2, **look)
    axes.set_ylim(0, 1.05 * max(plain["recall_high"], table["recall"].max()) or 1)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation and timing records, in any order, and write `output`.png, .svg, .csv and .txt."""
    kinds = {Path(path): records.kind_of(path) for path in inputs}
    files = {kind: [path for path in kinds if kinds[path] == kind] for kind in ("evaluation", "timing")}
    evaluation, timing = (records.read(files[kind], kind) for kind in files)
    table = data(evaluation, timing)
    caption = captions.join(
        "Recall of the lists against the time that they take, relative to plain beam search: a point a draft and "
        f"verification, a line through those that none beats in both. Time: "
        f"{captions.counted(timing['user'].nunique(), 'test user')}. Recall:",
        captions.sample(evaluation),
        captions.measured(timing, files["timing"]),
    )
    style.save(draw(table), table, output, caption)
