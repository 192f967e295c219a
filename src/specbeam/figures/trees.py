"""Target calls a list by the size of the drafted tree: flat, as in the paper, against widths by level.

A list takes L calls without a draft and at best one. Both shapes are verified strictly, so the lists are the same.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.figures import style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records

_SHAPES = {
    "shaped": ("-", "full", "shaped: widths by level"),
    "flat": ("--", "none", "flat: N a level"),
}


def data(trees: pd.DataFrame) -> pd.DataFrame:
    """One row a (objective, shape, size), means over users and the drafts' seeds.

    Target calls with their 95 % interval `low` to `high`, AS@K (`accepted`, as in figure accepted), draft calls, and
    the widths, of each seed where they differ.
    """
    style.one_dataset(trees)
    rows = []
    for (objective, shape, size, width), part in trees.groupby(["objective", "shape", "size", "K"], sort=False):
        levels, rounds, called = (by_seed(part, name) for name in ("accepted", "rounds", "target_calls"))
        calls, low, high = ratio_of_sums(called)
        row = {"objective": objective, "shape": shape, "K": width, "size": size}
        row |= {"widths": " | ".join(part["widths"].unique()), "users": called.shape[1], "seeds": len(called)}
        row |= {"target_calls": calls, "low": low, "high": high, "accepted": ratio_of_sums(levels, rounds)[0]}
        rows.append(row | {name: part[name].mean() for name in ("first_accepted", "draft_calls", "same_as_target")})
    return pd.DataFrame(rows).sort_values(["objective", "shape", "size"], kind="stable", ignore_index=True)


@style.styled
def draw(calls: pd.DataFrame) -> Figure:
    """Draw the frame of `data`."""
    figure, (axes,) = style.panels(columns=1, width=style.SINGLE, height=2.9)
    for objective in style.in_order(calls["objective"]):
        for shape, (line, fill, _) in _SHAPES.items():
            part = calls[(calls["objective"] == objective) & (calls["shape"] == shape)]
            look = style.look(objective) | {"ls": line, "fillstyle": fill}
            axes.errorbar(part["size"], part["target_calls"], style.bars(part, "target_calls"), elinewidth=0.6, **look)
    axes.axhline(1, color=style.INK, lw=0.8, ls=":")
    axes.set_xlabel("nodes drafted in the first round")
    axes.set_ylabel(f"target calls a list, K = {calls['K'].max()}")
    axes.set_xlim(left=0)
    handles = style.objective_handles(calls["objective"])
    for line, fill, name in _SHAPES.values():
        handles.append(Line2D([], [], color=style.INK, ls=line, marker="o", fillstyle=fill, ms=4, label=name))
    style.legend(figure, handles, columns=2)
    return figure


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read records of trees and write `output`.png, .svg and .csv."""
    calls = data(records.read(inputs, "trees"))
    style.save(draw(calls), calls, output)
