"""The one look of all figures: sizes, fonts, and a fixed colour and marker for every objective.

Widths are those of a two-column paper, so that text keeps its size in print. Colours are Okabe and Ito's, told apart
by readers with any colour vision; markers say the same again in black and white. Equal data give equal bytes: no dates,
no random identifiers.
"""

import math
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError
from specbeam.files import replacing

SINGLE, DOUBLE = 3.35, 6.9
"""Width of one column and of both, in inches."""

OBJECTIVES: dict[str, tuple[str, str, str]] = {
    "sft": ("SFT", "#56B4E9", "o"),
    "seqkd": ("SeqKD", "#E69F00", "s"),
    "wordkd": ("WordKD", "#009E73", "^"),
    "tvdkd": ("TVDKD", "#CC79A7", "D"),
    "atspeed_s": ("AtSpeed-S", "#0072B2", "v"),
    "atspeed_r": ("AtSpeed-R", "#D55E00", "*"),
    "treekd": ("TreeKD", "#882255", "P"),  # Tol's wine: the yellow left of Okabe and Ito's is too pale for lines
}
"""Label, colour and marker of each objective, in the order of the legends."""

LINES: dict[str, str] = {"strict": "-", "relaxed": "--", "relaxed-ranked": "-.", "coupled": ":"}
"""Line style of each verification."""

PLANS: dict[str, dict[str, object]] = {
    "flat": {"ls": "-", "fillstyle": "full"},
    "completed": {"ls": "--", "fillstyle": "none", "markeredgewidth": 0.7},
}
"""Line and marker of each plan of the draft, where verifications are apart."""

INK, GREY = "#222222", "#8C8C8C"

_RC = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "legend.columnspacing": 1.4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": INK,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.1,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "svg.fonttype": "none",
    "svg.hashsalt": "specbeam",
    "axes.formatter.useoffset": False,
}


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorate a drawing function so that it draws in this style and leaves matplotlib's own settings alone."""

    @wraps(draw)
    def drawn(*arguments, **options) -> Figure:
        with mpl.rc_context(_RC):
            return draw(*arguments, **options)

    return drawn


def panels(*, rows: int = 1, columns: int = 1, width: float, height: float, **sharing) -> tuple[Figure, list[Axes]]:
    """A figure of `width` by `height` inches and its axes, row by row. Needs no display and no pyplot."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False, **sharing).flat)


def save(figure: Figure, data: pd.DataFrame, output: Path, caption: str) -> list[Path]:
    """Write `output`.png (300 dpi), .svg (text as text), .csv (`data`) and .txt (`caption`), each atomically."""
    paths = [output.with_name(f"{output.name}.{suffix}") for suffix in ("png", "svg", "csv", "txt")]
    with mpl.rc_context(_RC), replacing(paths[0]) as temporary:
        figure.savefig(temporary, format="png", dpi=300, metadata={"Software": None})
    save_svg(figure, paths[1])
    with replacing(paths[2]) as temporary:
        data.to_csv(temporary, index=False, lineterminator="\n")
    with replacing(paths[3]) as temporary:
        temporary.write_text(caption, encoding="utf-8")
    return paths


def save_svg(figure: Figure, path: Path) -> None:
    """Write the drawing alone, atomically; text stays text."""
    with mpl.rc_context(_RC), replacing(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": None})


def look(objective: str) -> dict[str, object]:
    """Colour and marker of an objective, as keywords for a line."""
    _, colour, marker = _known(objective)
    size = 5.6 if marker == "*" else 3.6  # a star fills less of its box
    return {"color": colour, "marker": marker, "markeredgewidth": 0, "markersize": size}


def label(objective: str) -> str:
    """Name of an objective as the figures write it."""
    return _known(objective)[0]


def in_order(objectives: Iterable[str]) -> list[str]:
    """Objectives without repetition in the order of the legends."""
    present = set(objectives)
    for objective in sorted(present):
        _known(objective)
    return [objective for objective in OBJECTIVES if objective in present]


def shades(count: int) -> list[tuple[float, ...]]:
    """Colours for 1, 2, ... `count`, from dark to light: a scale in grey, and for any colour vision, too."""
    scale = mpl.colormaps["YlGnBu_r"]
    return [scale(0.12 + 0.6 * step / max(1, count - 1)) for step in range(count)]


def dodged(index: int, count: int) -> float:
    """Sideways shift of the `index`-th of `count` lines, so that error bars at one K do not hide each other."""
    return 0.0 if count < 2 else (index / (count - 1) - 0.5) * min(0.5, 0.08 * count)


def width_axis(axes: Axes, beam_widths: list[int]) -> None:
    """Evenly spaced ticks for the beam widths, which grow too unevenly for a linear axis."""
    axes.set_xticks(range(len(beam_widths)), [str(width) for width in beam_widths])
    axes.set_xlim(-0.5, len(beam_widths) - 0.5)
    axes.set_xlabel("beam width K")


def stacked(axes: Axes, xlabel: str) -> None:
    """Make an axis of bars that lie and add up to 100 %."""
    axes.set_xlabel(xlabel)
    axes.set_xlim(0, 100)
    axes.grid(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def bars(data: pd.DataFrame, value: str, low: str = "low", high: str = "high") -> list[pd.Series]:
    """Lengths of error bars below and above `value`."""
    return [(data[value] - data[low]).clip(lower=0), (data[high] - data[value]).clip(lower=0)]


def objective_handles(objectives: Iterable[str]) -> list[Line2D]:
    """Legend entries that name objectives, whatever the verification."""
    return [Line2D([], [], label=label(name), **look(name)) for name in in_order(objectives)]


def verification_handles(verifications: Iterable[str], *, draft_beam_width: int) -> list[Line2D]:
    """Legend entries that name verifications and the draft width, whatever the objective."""
    present = [name for name in LINES if name in set(verifications)]
    return [Line2D([], [], color=INK, ls=LINES[name], label=f"{name}, N = {draft_beam_width}") for name in present]


def plan_handles(plans: Iterable[str]) -> list[Line2D]:
    """Legend entries that name plans, if there are several."""
    names = {"flat": "flat: N a level", "completed": "deepest level completed by the trie"}
    present = [name for name in PLANS if name in set(plans)]
    look = {"color": INK, "marker": "o", "markersize": 3.6}
    return [Line2D([], [], label=names[name], **look, **PLANS[name]) for name in present if len(present) > 1]


def legend(figure: Figure, handles: list, *, columns: int) -> None:
    """One legend for the whole figure, beneath its panels, in at most `columns` columns of about equal length."""
    rows = math.ceil(len(handles) / columns)
    figure.legend(handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / rows))


def one_dataset(frame: pd.DataFrame) -> str:
    """The data set that all records are of; raises SpecbeamError when they are of several."""
    names = sorted(frame["dataset"].unique())
    if len(names) > 1:
        raise SpecbeamError(f"expected records of one data set, got {', '.join(names)}; make a figure for each")
    return names[0]


def _known(objective: str) -> tuple[str, str, str]:
    if objective not in OBJECTIVES:
        raise SpecbeamError(f"no colour is set for objective {objective!r}; known are {', '.join(OBJECTIVES)}")
    return OBJECTIVES[objective]
