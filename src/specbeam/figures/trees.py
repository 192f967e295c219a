"""Target calls a list by the size of the drafted tree: flat, as in the paper, against widths by level.

A list takes L calls without a draft and at best one. Both shapes are verified strictly, so the lists are the same.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.figures import captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records

_SHAPES = {"flat": "flat: as many nodes at every level", "shaped": "shaped: widths by level"}


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
    figure, both = style.panels(columns=2, width=style.DOUBLE, height=2.7, sharex=True, sharey=True)
    objectives = style.in_order(calls["objective"])
    spread = calls["size"].max() / 50
    for axes, (shape, title) in zip(both, _SHAPES.items(), strict=True):
        for index, objective in enumerate(objectives):
            part = calls[(calls["objective"] == objective) & (calls["shape"] == shape)]
            places = part["size"] + spread * style.dodged(index, len(objectives))
            errors = style.bars(part, "target_calls")
            axes.errorbar(places, part["target_calls"], errors, elinewidth=0.6, **style.look(objective))
        axes.axhline(1, color=style.INK, lw=0.8, ls=":")
        axes.set_title(title, loc="left")
        axes.set_xlabel("nodes drafted in the first round")
        axes.set_xlim(left=0)
    both[0].set_ylabel(f"target calls a list, K = {calls['K'].max()}")
    handles = style.objective_handles(calls["objective"])
    handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=":", label="one call: all levels accepted"))
    style.legend(figure, handles, columns=4)
    return figure


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read records of trees and write `output`.png, .svg, .csv and .txt."""
    inputs = list(inputs)
    trees = records.read(inputs, "trees")
    calls = data(trees)
    caption = captions.of_records(
        f"Target calls a list at K = {calls['K'].max()} by the size of the drafted tree, under strict verification: "
        "trees that are flat as in the paper, and trees of as many nodes whose widths by level were chosen on other "
        "users. A list takes as many calls as an identifier has tokens without a draft, and at best one.",
        trees,
        inputs,
    )
    style.save(draw(calls), calls, output, caption)
