"""Training and validation loss by epoch, a panel each for the target and every draft, with the kept epoch marked.

A draft's panel has a line each of its seeds.
Each panel has its own scale: target and first draft are in nats a token, an aligned draft in its objective's weighted
sum, so only the shapes of curves can be compared across panels.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style
from specbeam.figures.tables import read_csv

COLUMNS = ("epoch", "step", "train_loss", "valid_loss", "kept")
_FIRST = {"target": "target", "base": "draft before alignment"}


def data(losses: dict[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    """One frame of all losses: model, seed, epoch, step, train_loss, valid_loss, kept; in drawing order."""
    order = [*_FIRST, *style.OBJECTIVES]
    names = sorted(losses, key=lambda name: (order.index(name[0]) if name[0] in order else len(order), name))
    parts = [losses[name][list(COLUMNS)].assign(model=name[0], seed=name[1]).sort_values("epoch") for name in names]
    return pd.concat(parts, ignore_index=True)[["model", "seed", *COLUMNS]]


def read(paths: Iterable[Path]) -> dict[tuple[str, str], pd.DataFrame]:
    """Read loss.csv files by model and seed: target/loss.csv, or <base or objective>/seed-<seed>/loss.csv."""
    losses: dict[tuple[str, str], pd.DataFrame] = {}
    for path in map(Path, paths):
        name, seed = path.parent.name, ""
        if name.startswith("seed-"):
            name, seed = path.parents[1].name, name.removeprefix("seed-")
        if (name, seed) in losses:
            raise SpecbeamError(f"{path}: two loss files for {name!r}; give the files of one run only")
        losses[name, seed] = _read_one(path)
    if not losses:
        raise SpecbeamError("expected at least one loss.csv, got none")
    return losses


def _read_one(path: Path) -> pd.DataFrame:
    frame = read_csv(path, COLUMNS, missing="expected the losses of a training here, found no file; train first")
    if frame.empty:
        raise SpecbeamError(f"{path}: no epochs in it; train again")
    return frame.assign(kept=frame["kept"].astype(bool))


@style.styled
def draw(losses: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at most four panels a row."""
    models = list(losses["model"].unique())
    # Two rows of at most four; where four leave more gaps than three do, three.
    columns = min(4, math.ceil(len(models) / 2)) if len(models) > 2 else len(models)
    if columns == 4:
        columns = min((4, 3), key=lambda count: -len(models) % count)
    rows = math.ceil(len(models) / columns)
    width = style.SINGLE if columns < 3 else style.DOUBLE
    figure, all_axes = style.panels(rows=rows, columns=columns, width=width, height=0.5 + 1.45 * rows)
    for axes, model in zip(all_axes, models, strict=False):
        for _, curve in losses[losses["model"] == model].groupby("seed"):
            _curves(axes, curve)
        axes.set_title(_FIRST.get(model) or style.label(model), loc="left")
    for axes in all_axes[max(0, len(models) - columns) : len(models)]:
        axes.set_xlabel("epoch")
    for axes in all_axes[len(models) :]:
        axes.remove()
    figure.supylabel("loss (nats)", fontsize=8)
    handles = [
        Line2D([], [], color=style.GREY, ls="--", label="training (all tokens)"),
        Line2D([], [], color=style.OBJECTIVES["atspeed_s"][1], label="validation (new item)"),
        Line2D([], [], color=style.INK, marker="o", mfc="none", ms=5, ls="", label="kept epoch"),
    ]
    style.legend(figure, handles, columns=3 if width == style.DOUBLE else 1)
    return figure


def _curves(axes: Axes, losses: pd.DataFrame) -> None:
    dots = {"marker": ".", "ms": 3}
    axes.plot(losses["epoch"], losses["train_loss"], color=style.GREY, ls="--", **dots)
    axes.plot(losses["epoch"], losses["valid_loss"], color=style.OBJECTIVES["atspeed_s"][1], **dots)
    kept = losses[losses["kept"]]
    axes.plot(kept["epoch"], kept["valid_loss"], color=style.INK, marker="o", mfc="none", ms=5, mew=0.9, ls="")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5, min_n_ticks=1))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=4))


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read loss.csv files and write `output`.png, .svg, .csv and .txt."""
    losses = data(read(inputs))
    seeds = losses.loc[losses["seed"] != "", "seed"].nunique()
    caption = captions.join(
        "Training and validation loss by epoch, in nats: of the target and the first draft a token, of an aligned "
        "draft the weighted sum of its objective, so that only the shapes of curves compare across panels. Validation "
        "counts the tokens of the new item alone. A ring marks the epoch that was kept;",
        f"a draft has a line for each of {captions.counted(max(seeds, 1), 'seed')}.",
    )
    style.save(draw(losses), losses, output, caption)
