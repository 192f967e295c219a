"""Target calls a list: how many lists take one pass of the target, two, three, ..., by objective.

Without a draft every list takes as many passes as an identifier has tokens.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records


def data(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Shares of lists from evaluation records: one row a (objective, plan, verification, K, N, calls).

    `share` (0 to 1) with its 95 % interval `low` to `high`; `mean`, `mean_low` and `mean_high` are calls a list. The
    target's own lists have no objective and plan, and the verification `target`. All are means over users and seeds.
    """
    style.one_dataset(evaluation)
    own = evaluation["verification"] == "target"
    if own.all() or not own.any():
        raise SpecbeamError("expected evaluation records of the target's own lists and of speculative decoding")
    evaluation = evaluation.assign(objective=evaluation["objective"].mask(own, ""))
    evaluation = evaluation[~own | ~evaluation.duplicated([*accepted.KEY, "user"])]
    rows = []
    for names, part in evaluation.groupby(accepted.KEY, sort=False):
        called = by_seed(part, "target_calls")
        mean, low, high = ratio_of_sums(called)
        row = dict(zip(accepted.KEY, names, strict=True)) | {"users": called.shape[1], "seeds": len(called)}
        row |= {"mean": mean, "mean_low": low, "mean_high": high}
        for calls in range(1, int(evaluation["target_calls"].max()) + 1):
            share, low, high = ratio_of_sums(called == calls)
            rows.append(row | {"calls": calls, "share": share, "low": low, "high": high})
    return pd.DataFrame(rows).sort_values([*accepted.KEY, "calls"], kind="stable", ignore_index=True)


@style.styled
def draw(shares: pd.DataFrame) -> Figure:
    """Draw the frame of `data` for its strictest verification, the largest draft width, flat drafts if there are any.

    At the least, the middle and the largest K.
    """
    shown = next(name for name in style.LINES if name in set(shares["verification"]))
    plan = next(name for name in style.PLANS if name in set(shares["plan"]))
    drafted = shares[(shares["verification"] == shown) & (shares["plan"] == plan)]
    drafted = drafted[drafted["N"] == drafted["N"].max()]
    objectives, beam_widths = style.in_order(drafted["objective"]), sorted(drafted["K"].unique())
    beam_widths = sorted({beam_widths[0], beam_widths[len(beam_widths) // 2], beam_widths[-1]})
    rows = pd.concat([shares[shares["verification"] == "target"], drafted])
    width = style.DOUBLE if len(beam_widths) > 1 else style.SINGLE
    height = 0.95 + 0.2 * (len(objectives) + 1)
    figure, panels = style.panels(columns=len(beam_widths), width=width, height=height, sharey=True)
    most = rows["calls"].max()
    colours = dict(zip(range(1, most + 1), style.shades(most), strict=True))
    for axes, beam_width in zip(panels, beam_widths, strict=True):
        at = rows[rows["K"] == beam_width]
        for place, objective in enumerate(["", *objectives]):
            _bar(axes, place, at[at["objective"] == objective], colours)
        axes.set_title(f"K = {beam_width}", loc="left")
        axes.text(102, -0.7, "mean", ha="left", va="bottom", fontsize=6.5, color=style.INK)
        style.stacked(axes, "lists (%)")
    panels[0].set_yticks(range(len(objectives) + 1), ["no draft", *map(style.label, objectives)])
    panels[0].set_ylim(len(objectives) + 0.6, -0.6)
    handles = [Patch(color=colour, label=f"{calls} target calls") for calls, colour in colours.items()]
    handles[0].set_label("1 target call")
    style.legend(figure, handles, columns=len(handles) if width == style.DOUBLE else 2)
    return figure


def _bar(axes: Axes, place: int, shares: pd.DataFrame, colours: dict[int, tuple[float, ...]]) -> None:
    left = 0.0
    for calls, share in zip(shares["calls"], 100 * shares["share"], strict=True):
        axes.barh(place, share, left=left, height=0.78, color=colours[calls], lw=0)
        if share >= 12:
            ink = "white" if calls <= len(colours) / 2 else style.INK
            axes.text(left + share / 2, place, f"{share:.0f}", ha="center", va="center", fontsize=6.5, color=ink)
        left += share
    mean, low, high = shares[["mean", "mean_low", "mean_high"]].iloc[0]
    interval = f" ± {(high - low) / 2:.2f}" if high > low else ""
    axes.text(102, place, f"{mean:.2f}{interval}", ha="left", va="center", fontsize=6.5, color=style.INK)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation records and write `output`.png, .svg, .csv and .txt."""
    inputs = list(inputs)
    evaluation = records.read(inputs, "evaluation")
    shares = data(evaluation)
    caption = captions.of_records(
        "Passes of the target that a list takes, as shares of lists, with their mean and half its 95 % interval. The "
        "data hold every K, plan and verification, and the intervals of the shares.",
        evaluation,
        inputs,
    )
    style.save(draw(shares), shares, output, caption)
