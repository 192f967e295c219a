"""Accepted levels a round by what an ablation varies: a small panel each, at the largest K.

Strict verification, but relaxed for the objective that aligns for it. A ring marks the variant that is the run itself,
and a dotted line shows where the run stands in every panel.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, captions, style
from specbeam.measurement import records

RUN = "run"
"""Name of the run's own records among the inputs."""
_ALIGNED_FOR = {"atspeed_r": "relaxed"}


def named(inputs: Iterable[Path]) -> dict[str, list[Path]]:
    """Parse NAME=FILE, NAME being `run` or ABLATION/LABEL; raises SpecbeamError for anything else."""
    files: dict[str, list[Path]] = {}
    for given in map(str, inputs):
        name, _, path = given.partition("=")
        if not path or (name != RUN and name.count("/") != 1):
            raise SpecbeamError(f"{given}: expected ABLATION/LABEL=FILE, or {RUN}=FILE for the run's own records")
        files.setdefault(name, []).append(Path(path))
    if RUN not in files or len(files) < 2:
        raise SpecbeamError(f"expected records as {RUN}=FILE and ABLATION/LABEL=FILE, got {sorted(files)}")
    return files


def data(files: Mapping[str, list[Path]]) -> pd.DataFrame:
    """One row an (ablation, label, objective) in the order of `files`, with the columns of figure `accepted`.

    `is_run` says that the variant is the run itself; the run's own rows have no ablation and no label.
    """
    parts = []
    for name, paths in files.items():
        ablation, _, label = name.partition("/") if name != RUN else ("", "", "")
        rows = _shown(accepted.data(records.read(paths, "evaluation")))
        of_run = {path.parent.name for path in paths if path in files[RUN]}
        parts.append(rows.assign(ablation=ablation, label=label, is_run=rows["objective"].isin(of_run)))
    table = pd.concat(parts, ignore_index=True)
    return table[["ablation", "label", "is_run", *table.columns.drop(["ablation", "label", "is_run"])]]


def _shown(acceptance: pd.DataFrame) -> pd.DataFrame:
    """Of each objective the row of its own verification, at the largest K and N, flat if there is such a plan."""
    rows = []
    for objective, part in acceptance.groupby("objective", sort=False):
        wanted = _ALIGNED_FOR.get(objective, "strict")
        order = [wanted, *style.LINES]
        part = part[part["verification"] == min(part["verification"], key=order.index)]
        part = part[part["plan"] == min(part["plan"], key=list(style.PLANS).index)]
        rows.append(part.sort_values(["K", "N"]).iloc[-1])
    return pd.DataFrame(rows)


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at most four panels a row."""
    varied = table[table["ablation"] != ""]
    ablations = list(varied["ablation"].unique())
    columns = min(4, len(ablations))
    rows = math.ceil(len(ablations) / columns)
    width = style.SINGLE if columns < 3 else style.DOUBLE
    figure, all_axes = style.panels(rows=rows, columns=columns, width=width, height=0.7 + 1.5 * rows, sharey=True)
    run = table[table["ablation"] == ""].set_index("objective")
    for axes, ablation in zip(all_axes, ablations, strict=False):
        _panel(axes, varied[varied["ablation"] == ablation], run)
        axes.set_title(ablation, loc="left")
    all_axes[0].set_ylim(bottom=0)  # of all panels: after the last, or it would cut off what is higher
    for axes in all_axes[len(ablations) :]:
        axes.remove()
    figure.supylabel(f"accepted levels a round, AS@{varied['K'].max()}", fontsize=8)
    handles = [
        *(_handle(varied[varied["objective"] == name]) for name in style.in_order(varied["objective"])),
        Line2D([], [], color=style.INK, marker="o", mfc="none", ms=6, mew=0.8, ls="", label="the run's own setting"),
        Line2D([], [], color=style.INK, lw=0.8, ls=":", label="the run"),
    ]
    style.legend(figure, handles, columns=4 if width == style.DOUBLE else 2)
    return figure


def _panel(axes: Axes, varied: pd.DataFrame, run: pd.DataFrame) -> None:
    labels, objectives = list(varied["label"].unique()), style.in_order(varied["objective"])
    for index, objective in enumerate(objectives):
        part, look = varied[varied["objective"] == objective], style.look(objective)
        places = part["label"].map(labels.index) + style.dodged(index, len(objectives))
        axes.errorbar(places, part["accepted"], style.bars(part, "accepted"), elinewidth=0.6, **look)
        axes.axhline(run.loc[objective, "accepted"], color=look["color"], lw=0.8, ls=":")
        own = part["is_run"]
        ring = {"color": style.INK, "marker": "o", "mfc": "none", "ms": 6, "mew": 0.8, "ls": ""}
        axes.plot(places[own], part.loc[own, "accepted"], **ring)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.5, len(labels) - 0.5)


def _handle(of_objective: pd.DataFrame) -> Line2D:
    objective, verification = of_objective[["objective", "verification"]].iloc[0]
    return Line2D([], [], label=f"{style.label(objective)}, {verification}", **style.look(objective))


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation records, each as ABLATION/LABEL=FILE or run=FILE; write `output`.png, .svg, .csv and .txt."""
    files = named(inputs)
    table, run = data(files), records.read(files[RUN], "evaluation")
    caption = captions.of_records(
        f"Accepted levels a round (AS@{table['K'].max()}, without the bonus level) by what each ablation varies. A "
        "ring marks the variant that is the run itself, a dotted line where the run stands.",
        run,
        files[RUN],
    )
    style.save(draw(table), table, output, caption)
