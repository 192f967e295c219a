"""How near each draft comes to the target while it is aligned, by epoch, on validation prompts.

Accepted levels of the first round and overlap of the lists come from specbeam.alignment.assess, for runs that assess
drafts (alignment.training.assessed_users); the total variation distance is measured with every validation loss.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, loss, style

METRICS = {
    "accepted": "accepted levels of the first round",
    "overlap": "overlap of the two lists",
    "tvd": "total variation distance",
}
"""Columns of an aligned draft's loss.csv, the last one always there, and what their panels are called."""

_VALUES = ("metric", "objective", "epoch", "seeds", "mean", "low", "high", "most")


def data(losses: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """One row a (metric, objective, epoch) from what loss.read gives: the mean over seeds, `low` and `high` their ends.

    `most` is what the metric can reach at best, where that is a number of levels. Metrics that a draft lacks are left
    out; raises SpecbeamError if there is none.
    """
    shared = [name for name in METRICS if all(name in frame for frame in losses.values())]
    if not shared:
        raise SpecbeamError(f"expected losses of aligned drafts, with some of the columns {', '.join(METRICS)}")
    every = pd.concat([frame.assign(objective=name) for (name, _), frame in losses.items()])
    levels = sum(name.startswith("accepted_") for name in every)
    rows = []
    for metric in shared:
        for objective in style.in_order(every["objective"]):
            for epoch, part in every[every["objective"] == objective].groupby("epoch"):
                values = part[metric]
                found = (
                    len(values),
                    values.mean(),
                    values.min(),
                    values.max(),
                    levels if metric == "accepted" else None,
                )
                rows.append((metric, objective, epoch, *found))
    return pd.DataFrame(rows, columns=_VALUES)


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the frame of `data`: a panel a metric, a line an objective, bars from the lowest to the highest seed."""
    metrics = [name for name in METRICS if name in set(table["metric"])]
    width = style.DOUBLE if len(metrics) > 1 else style.SINGLE
    figure, panels = style.panels(columns=len(metrics), width=width, height=2.5)
    for axes, metric in zip(panels, metrics, strict=True):
        _lines(axes, table[table["metric"] == metric])
        axes.set_title(METRICS[metric], loc="left")
    handles = style.objective_handles(table["objective"])
    if "accepted" in metrics:
        handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=":", label="all levels"))
    style.legend(figure, handles, columns=8 if width == style.DOUBLE else 2)
    return figure


def _lines(axes: Axes, table: pd.DataFrame) -> None:
    objectives = style.in_order(table["objective"])
    for index, objective in enumerate(objectives):
        part = table[table["objective"] == objective]
        places = part["epoch"] + 0.5 * style.dodged(index, len(objectives))
        axes.errorbar(places, part["mean"], style.bars(part, "mean"), elinewidth=0.6, **style.look(objective))
    most = table["most"].iloc[0]
    if pd.notna(most):
        axes.axhline(most, color=style.INK, lw=0.8, ls=":")
    axes.set_xlabel("epoch of alignment")
    axes.set_xlim(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, min_n_ticks=1))


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read the loss.csv files of aligned drafts and write `output`.png, .svg, .csv and .txt."""
    losses = loss.read(inputs)
    table = data(losses)
    caption = captions.join(
        "How near drafts come to the target while they are aligned, on validation prompts: levels of the first round "
        "that strict verification accepts, of a draft twice as wide as the recorded trajectories; the share of the "
        "target's list that is in the draft's own of as many items; and the total variation distance of both models "
        "along the target's trajectories.",
        f"Means over {captions.counted(int(table['seeds'].max()), 'seed')}, bars from the lowest to the highest.",
    )
    style.save(draw(table), table, output, caption)
