"""One test user's list as a drawing: the drafted tree of every round, and what verification made of each node.

Columns are levels, best paths above; a round begins with the beams that the one before left. The last column is the
list. Strict verification accepts a level if all of the target's K best continuations were drafted, so one missed node
decides.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError, brief
from specbeam.figures import captions, style
from specbeam.files import read_json

FATES: dict[str, tuple[str, dict[str, object]]] = {
    "accepted": ("drafted, of the target's K best", {"color": "#009988", "marker": "o", "ms": 3.4}),
    "missed": ("of the K best, not drafted: the level fails", {"color": "#CC3311", "marker": "D", "ms": 3.6}),
    "bonus": ("bonus: the K best, of the same pass", {"color": "#0077BB", "marker": "s", "ms": 3.4}),
    "rejected": ("drafted, not of the K best", {"color": "#999999", "marker": "o", "ms": 2.6, "mfc": "white"}),
    "unverified": ("drafted below a failed level", {"color": "#BBBBBB", "marker": ".", "ms": 3}),
}
"""What becomes of a node (specbeam.measurement.explained): what that means, and its mark."""

_CHOSEN = ("accepted", "missed", "bonus")
_GAP = 0.9  # between rounds, in columns
_SIDE, _LIST = 0.3, 1.5  # room left of the first column and right of the last one, in inches
_LONGEST = 60  # characters of an identifier
Places = dict[tuple[str, ...], float]
"""Path -> height in its column, from 0 (below) to 1."""


def data(found: Mapping[str, Any]) -> pd.DataFrame:
    """One row a node, of what specbeam.measurement.explained writes; `bought`: its item is one of the user's targets.

    Paths are tokens with spaces between them; the root has no row.
    """
    bought = {tuple(row["identifier"]) for row in found["list"] if set(row["items"]) & set(found["targets"])}
    nodes = pd.DataFrame([dict(node) for node in found["nodes"]])
    nodes["bought"] = [tuple(path) in bought for path in nodes["path"]]
    return nodes.assign(path=nodes["path"].map(" ".join)).astype({"draft_rank": "Int64", "target_rank": "Int64"})


@style.styled
def draw(nodes: pd.DataFrame) -> Figure:
    """Draw the frame of `data`."""
    levels = nodes.groupby(["round", "level"], sort=True)
    height = 0.95 + min(4.2, max(1.6, 0.085 * levels.size().max()))
    figure, (axes,) = style.panels(width=style.DOUBLE, height=height)
    best = tuple(nodes[nodes["level"] == nodes["level"].max()].sort_values("target_rank")["path"].iloc[0].split())
    above: Places = {(): 0.5}
    x = 0.0
    for number, of_round in nodes.groupby("round"):
        _start(axes, x, above, number)
        for level, column in of_round.groupby("level"):
            here = _places(column, above)
            _column(axes, x + 1, column, above, here, best)
            _head(axes, x + 1, f"level {level}", *_verdict(column))
            if column["fate"].isin(_CHOSEN).any():
                stands = {tuple(path.split()) for path in column.loc[column["fate"].isin(_CHOSEN), "path"]}
                last = {path: place for path, place in here.items() if path in stands}
            above, x = here, x + 1
        above, x = last, x + _GAP
    _labels(axes, x - _GAP, nodes[nodes["level"] == nodes["level"].max()], last)
    column = (x - _GAP) / (style.DOUBLE - _SIDE - _LIST)  # columns an inch
    axes.set_xlim(-_SIDE * column, x - _GAP + _LIST * column)
    axes.set_ylim(-0.03, 1.03)
    axes.set_axis_off()
    present = [fate for fate in FATES if fate in set(nodes["fate"])]
    handles = [Line2D([], [], ls="", label=FATES[fate][0], **FATES[fate][1]) for fate in present]
    handles.append(Line2D([], [], color=style.INK, lw=1.1, label="the way to the first item"))
    style.legend(figure, handles, columns=3)
    return figure


def _places(column: pd.DataFrame, above: Places) -> Places:
    """Heights of a column's nodes, evenly spaced: in the order of their parents, so that no two edges cross."""
    rank = column["target_rank"].fillna(column["draft_rank"] + column["target_rank"].max()).fillna(column["draft_rank"])
    paths = [tuple(path.split()) for path in column["path"]]
    ordered = sorted(zip(paths, rank, strict=True), key=lambda node: (-above[node[0][:-1]], node[1]))
    step = 1 / max(1, len(ordered) - 1)
    return {path: 1 - place * step if len(ordered) > 1 else 0.5 for place, (path, _) in enumerate(ordered)}


def _start(axes: Axes, x: float, beams: Places, number: int) -> None:
    """The beams that a round begins with."""
    axes.plot([x] * len(beams), list(beams.values()), color=style.INK, marker="o", ms=2.6, ls="", zorder=5)
    _head(axes, x, f"round {number}", "prompt" if number == 1 else "")


def _head(axes: Axes, x: float, name: str, verdict: str, colour: str = style.INK) -> None:
    for words, points, ink in ((name, 15, style.INK), (verdict, 5, colour)):
        text = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": ink}
        axes.annotate(words, (x, 1), xytext=(0, points), textcoords="offset points", **text)


def _column(
    axes: Axes, x: float, column: pd.DataFrame, above: Places, here: Places, best: tuple[str, ...]
) -> None:  # fmt: skip
    """The nodes of one level, and the edges to them."""
    for path, fate in zip(column["path"], column["fate"], strict=True):
        node = tuple(path.split())
        chosen = fate in _CHOSEN
        look = {"color": FATES[fate][1]["color"] if chosen else "#DDDDDD", "lw": 0.6 if chosen else 0.4}
        if chosen and node == best[: len(node)]:
            look = {"color": style.INK, "lw": 1.1}
        axes.plot([x - 1, x], [above[node[:-1]], here[node]], zorder=1 + chosen, **look)
        axes.plot(x, here[node], ls="", mew=0.6, zorder=3 + chosen, **FATES[fate][1])


def _verdict(column: pd.DataFrame) -> tuple[str, str]:
    """What became of a level, and the colour to say it in."""
    fates, missed = set(column["fate"]), (column["fate"] == "missed").sum()
    verdicts = {"unverified": "unverified", "bonus": "bonus", "missed": f"{missed} missed"}
    fate = next((fate for fate in verdicts if fate in fates), "accepted")
    return verdicts.get(fate, "accepted"), style.GREY if fate == "unverified" else FATES[fate][1]["color"]


def _labels(axes: Axes, x: float, items: pd.DataFrame, places: Places) -> None:
    """Rank and identifier of every item of the list; bold with a star where it was bought."""
    for node in items.itertuples():
        if node.fate in _CHOSEN:
            y = places[tuple(node.path.split())]
            look = {"va": "center", "fontsize": 6.5, "weight": "bold" if node.bought else "normal", "color": style.INK}
            at = {"xy": (x, y), "textcoords": "offset points", "parse_math": False, **look}
            axes.annotate(str(node.target_rank), xytext=(15, 0), ha="right", **at)
            axes.annotate(f"{_name(node.path)}{' *' if node.bought else ''}", xytext=(19, 0), ha="left", **at)


def _name(path: str) -> str:
    """An identifier as a drawing can have it: without brackets and control characters, and not for ever."""
    shown = path.replace("<", "").replace(">", "")
    return brief("".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in shown), _LONGEST)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read the explanation of one list and write `output`.png, .svg, .csv and .txt."""
    inputs = [Path(path) for path in inputs]
    if len(inputs) != 1:
        raise SpecbeamError(f"expected the explanation of one list, got {len(inputs)}")
    figure, nodes, caption = drawn(inputs[0])
    style.save(figure, nodes, output, caption)


def drawn(path: Path) -> tuple[Figure, pd.DataFrame, str]:
    """The drawing, the frame of `data` and the caption, from the file of one list.

    Raises SpecbeamError, naming the file, if it is damaged.
    """
    found = read_json(path)
    try:
        nodes = data(found)
        return draw(nodes), nodes, _caption(found)
    except (SpecbeamError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise SpecbeamError(
            f"{path}: expected the explanation of one list, got something else ({error!r:.200}); delete it and run "
            "snakemake again"
        ) from error


def _caption(found: Mapping[str, Any]) -> str:
    rounds = ", ".join(f"{done['accepted']} of {done['drafted']}" for done in found["rounds"])
    return captions.join(
        f"How the list of test user {found['user']} comes about, K = {found['K']}, N = {found['N']}, draft "
        f"{style.label(found['objective'])}, strict verification: the drafted tree of each round, level by level, and "
        f"the list with the ranks of its items (a star: bought later). Levels accepted by round: {rounds}; the list "
        f"takes {found['target_calls']} pass(es) of the target, {len(found['list'][0]['identifier'])} without a draft. "
        f"This user: {found['chosen']}.",
    )
