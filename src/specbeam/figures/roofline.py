"""Milliseconds of a pass of the target by its tokens, and the least that the device's rates allow (the roofline).

While a pass is bound by reading the weights, nodes of a tree cost nothing: the line is flat, and speculation pays.
Where it rises with the tokens, every node has its price.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from specbeam import parquet
from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style
from specbeam.figures.tables import read_csv
from specbeam.measurement import records

TREE, LEVEL = "prompt and a tree", "a level of K beams"
"""What a pass reads; the prompt alone has a tree of no nodes."""

WHERE = ("device", "threads", "cpu", "dtype", "seed", "commit")
NUMBERS = ("batch", "nodes", "tokens", "seconds", "bound")
AGAIN = "run specbeam bench again"

_BOUND = "the least (roofline)"
_COLUMNS = 3  # panels beside each other, at most


def data(passes: pd.DataFrame) -> pd.DataFrame:
    """One row a pass, of what `specbeam bench` writes as passes.csv: times in ms, and the kind, TREE or LEVEL."""
    kinds = passes["pass"].str.startswith("prompt").map({True: TREE, False: LEVEL})
    times = passes.assign(kind=kinds, ms=1e3 * passes["seconds"], bound_ms=1e3 * passes["bound"])
    return times.drop(columns=["seconds", "bound"]).sort_values(["batch", "kind", "tokens"], ignore_index=True)


@style.styled
def draw(passes: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, a panel for each batch size."""
    sizes = sorted(passes["batch"].unique())
    columns = min(_COLUMNS, len(sizes))
    rows = -(-len(sizes) // columns)
    width = style.SINGLE if columns == 1 else style.DOUBLE
    figure, panels = style.panels(rows=rows, columns=columns, width=width, height=0.6 + 2.1 * rows, sharey=True)
    for axes in panels[len(sizes) :]:
        axes.set_axis_off()
    for axes, size in zip(panels, sizes, strict=False):
        _panel(axes, passes[passes["batch"] == size])
        axes.set_title(f"batch {size}", loc="left")
    for axes in panels[::columns]:
        axes.set_ylabel("ms a pass of the target")
    handles = [*panels[0].get_legend_handles_labels()[0]]
    style.legend(figure, handles, columns=2 if columns == 1 else 4)
    return figure


def _panel(axes: Axes, passes: pd.DataFrame) -> None:
    shown = {TREE: {"marker": "o", "ms": 3.4, "ls": "-"}, LEVEL: {"marker": "^", "ms": 4, "ls": "--", "mfc": "white"}}
    for kind, look in shown.items():
        part = passes[passes["kind"] == kind]
        axes.plot(part["tokens"], part["ms"], label=kind, color=style.INK, mew=0.7, **look)
        # A bound each: of the tokens of a prompt only the last is scored, of a tree or a level all.
        axes.plot(part["tokens"], part["bound_ms"], color=style.GREY, ls=":", label=_BOUND if kind == LEVEL else None)
    prompt = passes[(passes["kind"] == TREE) & (passes["nodes"] == 0)]
    axes.plot(prompt["tokens"], prompt["ms"], label="the prompt alone", color=style.INK, marker="s", ms=4.4, ls="")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("tokens in the pass")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read bench.parquet and passes.csv of one `specbeam bench` and write `output`.png, .svg, .csv and .txt."""
    inputs = [Path(path) for path in inputs]
    if [path.suffix for path in inputs] != [".parquet", ".csv"]:
        got = ", ".join(map(str, inputs)) or "none"
        raise SpecbeamError(f"expected bench.parquet and passes.csv of one `specbeam bench`, got {got}")
    name, where = _bench(inputs[0])
    passes = data(_passes(inputs[1]))
    device = "" if where["device"] == "cpu" else f"{where['device']}, "
    caption = captions.join(
        "Time of one pass of the target (median) by the tokens that it reads, and the least that this device's rates "
        "of reading the weights and of arithmetic allow, both measured beside it: the prompt alone, the prompt and "
        f"trees of several sizes together, and a level of K = {_widths(passes)} beams after it.",
        f"{name}; {device}{where['threads']} thread(s) of {where['cpu']}, {where['dtype']}, seed {where['seed']}, "
        f"commit {where['commit'][:12]}.",
    )
    style.save(draw(passes), passes, output, caption)


def _bench(path: Path) -> tuple[str, pd.Series]:
    """What was timed, and where."""
    table, noted = records.opened(path)
    frame = parquet.frame(table, path=path, again=AGAIN)
    once = all(table.schema.names.count(name) == 1 for name in WHERE)
    if "name" not in noted["settings"] or frame.empty or not once:
        raise SpecbeamError(f"{path}: expected the records of a bench, with {', '.join(WHERE)}; {AGAIN}")
    return noted["settings"]["name"], frame.iloc[0].map(str)


def _passes(path: Path) -> pd.DataFrame:
    frame = read_csv(path, ("pass", *NUMBERS), missing=f"expected the passes of a bench, found none; {AGAIN}")
    for name in NUMBERS:
        if not pd.api.types.is_numeric_dtype(frame[name]) or not np.isfinite(frame[name].astype(float)).all():
            raise SpecbeamError(f"{path}: column {name}: expected numbers; {AGAIN}")
    return frame.astype({"pass": str})


def _widths(passes: pd.DataFrame) -> str:
    return ", ".join(map(str, sorted(passes.loc[passes["kind"] == LEVEL, "nodes"].unique())))
