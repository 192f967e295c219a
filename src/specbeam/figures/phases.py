"""Where a list's time goes: shares of draft, target, verification and constraint, at the least and the largest K.

Phases come from a separate run under timers, which slow it a little; the milliseconds beside the bars are from the
timed run without them.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style
from specbeam.measurement import records

COLOURS = {
    "draft": "#77AADD",
    "target": "#EE8866",
    "verify": "#EEDD88",
    "constraint": "#BBCC33",
    "other": "#DDDDDD",
}
"""Paul Tol's light palette: dark text stays readable on it, and no colour is an objective's."""

_METHOD = ["K", "method", "objective", "verification", "N"]


def data(timing: pd.DataFrame) -> pd.DataFrame:
    """Phase shares from timing records: one row a (K, method, objective, verification, N, phase).

    `share` is the phase's time over all time of the rows under timers, `seconds` the mean of a list in the timed run.
    Raises SpecbeamError when no row has phases, or when they add up to more than the whole.
    """
    style.one_dataset(timing)
    measured = timing[~timing["timed"]]
    if measured.empty:
        raise SpecbeamError("the timing records hold no phases (no row with timed = false); time with phases again")
    totals = measured.groupby(_METHOD)[[*records.PHASES, "seconds"]].sum()
    phases = totals[list(records.PHASES)].div(totals["seconds"], axis=0)
    left = 1 - phases.sum(axis=1)
    if (left < -0.01).any():
        raise SpecbeamError(f"phases of {left.idxmin()} add up to {1 - left.min():.2f} of their total: timers overlap")
    phases["other"] = left.clip(lower=0)
    seconds = timing[timing["timed"]].groupby(_METHOD)["seconds"].mean()
    shares = phases.rename_axis(columns="phase").stack().rename("share").reset_index()
    return shares.merge(seconds.reset_index(), on=_METHOD, how="left")


@style.styled
def draw(shares: pd.DataFrame) -> Figure:
    """Draw the frame of `data`: the least and the largest K, the largest draft width, at most two verifications."""
    verifications = [name for name in style.LINES if name in set(shares["verification"])]
    kept = shares[(shares["N"] == shares["N"].max()) | (shares["method"] != "speculative")]
    kept = kept[~kept["verification"].isin(verifications[2:])]
    rows = _rows(kept)
    beam_widths = sorted({kept["K"].min(), kept["K"].max()})
    width = style.DOUBLE if len(beam_widths) > 1 else style.SINGLE
    height = 0.95 + 0.185 * len(rows)
    figure, all_axes = style.panels(columns=len(beam_widths), width=width, height=height, sharey=True)
    for axes, beam_width in zip(all_axes, beam_widths, strict=True):
        for place, (_, name) in rows.items():
            _bar(axes, place, kept[(kept["K"] == beam_width) & (_names(kept) == name)])
        axes.set_title(f"K = {beam_width}", loc="left")
        axes.text(101.5, min(rows) - 0.85, "a list", ha="left", va="bottom", fontsize=6.5, color=style.INK)
        style.stacked(axes, "share of a list's time (%)")
    all_axes[0].set_yticks(list(rows), [name for name, _ in rows.values()])
    all_axes[0].set_ylim(max(rows) + 0.6, min(rows) - 0.6)
    handles = [Patch(color=colour, label=name) for name, colour in COLOURS.items()]
    style.legend(figure, handles, columns=5 if len(beam_widths) > 1 else 3)
    return figure


def _names(shares: pd.DataFrame) -> pd.Series:
    return shares["method"] + " " + shares["objective"] + " " + shares["verification"]


def _rows(shares: pd.DataFrame) -> dict[float, tuple[str, str]]:
    """Height, label and name of every bar: baselines, then objectives under each verification, groups set apart."""
    present = set(_names(shares))
    groups = [[("generate", "generate  "), ("plain beam search", "plain  ")]]
    for verification in style.LINES:
        names = style.in_order(set(shares["objective"]) - {""})
        groups.append([(f"{style.label(n)}, {verification}", f"speculative {n} {verification}") for n in names])
    rows, place = {}, 0.0
    for group in groups:
        shown = [row for row in group if row[1] in present]
        for row in shown:
            rows[place] = row
            place += 1
        place += 0.5 if shown else 0
    return rows


def _bar(axes: Axes, place: float, shares: pd.DataFrame) -> None:
    left = 0.0
    for phase, colour in COLOURS.items():
        share = 100 * shares.loc[shares["phase"] == phase, "share"].sum()
        axes.barh(place, share, left=left, height=0.78, color=colour, lw=0)
        if share >= 7:
            middle = {"ha": "center", "va": "center", "fontsize": 6.5, "color": style.INK}
            axes.text(left + share / 2, place, f"{share:.0f}", **middle)
        left += share
    if len(shares) and pd.notna(shares["seconds"].iloc[0]):
        milliseconds = 1000 * shares["seconds"].iloc[0]
        time = f"{milliseconds:.0f} ms" if milliseconds >= 99.95 else f"{milliseconds:.1f} ms"
        axes.text(101.5, place, time, ha="left", va="center", fontsize=6.5, color=style.INK)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read timing records and write `output`.png, .svg, .csv and .txt."""
    inputs = list(inputs)
    timing = records.read(inputs, "timing")
    shares = data(timing)
    caption = captions.join(
        "Where the time of a list goes, at the least and the largest K: shares of a run under timers, each the sum "
        f"over {captions.counted(timing['user'].nunique(), 'test user')}; beside the bars, the mean time of a list "
        "without timers. Other: all that is in no phase. The data hold every K and verification.",
        captions.measured(timing, inputs),
    )
    style.save(draw(shares), shares, output, caption)
