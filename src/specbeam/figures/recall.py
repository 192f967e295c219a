"""Recall@K and NDCG@K by beam width: the target's own lists, what verification makes of them, and the baselines.

Strict verification is lossless, so its levels must lie on the target's: drafts that do are drawn as one thin stroke
over the target's thick one, and a draft that does not gets a stroke of its own colour, to be seen at once.
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.figures.tables import read_csv
from specbeam.measurement import records

METRICS = {"recall": "Recall@K", "ndcg": "NDCG@K"}

RANKING = ("recommender", "K", "users", "recall", "ndcg", "recall_low", "recall_high", "ndcg_low", "ndcg_high")
"""Columns of a ranking.csv, the quality of target or baselines over all test users."""

BASELINES = {
    "popularity": ("popularity", (0, (1, 1))),
    "transitions": ("last-item transitions", (0, (1, 2.5))),
    "cooccurrence": ("co-occurrence", (0, (4, 1))),
    "sasrec": ("SASRec", (0, (4, 1, 1, 1))),
}
"""What a target has to beat: name in figures and tables, and dashes."""

_VALUES = list(RANKING[3:])
_FILLS = {"relaxed": {"markeredgewidth": 0}, "relaxed-ranked": {"markeredgewidth": 0.8, "markerfacecolor": "none"}}
_REACH = 0.36  # half a stroke's length, in steps of the K axis


def data(evaluation: pd.DataFrame, ranking: pd.DataFrame) -> pd.DataFrame:
    """Quality, one row a (recommender, objective, plan, verification, K, N), means over users and the drafts' seeds.

    With 95 % intervals. Recommenders: `speculative`; `target`, the target's own lists for the same users; `target_all`
    and the baselines, over all test users. The first two come from evaluation records, the others from ranking.csv.
    """
    style.one_dataset(evaluation)
    own = evaluation[evaluation["verification"] == "target"].drop_duplicates(["K", "user"])
    own = own.assign(objective="", verification="")
    speculative = evaluation[evaluation["verification"] != "target"]
    rows = []
    for recommender, frame in (("target", own), ("speculative", speculative)):
        for names, part in frame.groupby(accepted.KEY):
            row = {"recommender": recommender} | dict(zip(accepted.KEY, names, strict=True))
            for metric in METRICS:
                values = by_seed(part, metric)
                row["users"] = values.shape[1]
                row[metric], row[f"{metric}_low"], row[f"{metric}_high"] = ratio_of_sums(values)
            rows.append(row)
    overall = ranking.assign(recommender=ranking["recommender"].replace("target", "target_all"))
    overall = overall.assign(objective="", plan="", verification="", N=0)
    columns = ["recommender", *accepted.KEY, "users", *_VALUES]
    return pd.concat([pd.DataFrame(rows, columns=columns), overall[columns]], ignore_index=True)


def read_rankings(inputs: Iterable[Path]) -> pd.DataFrame:
    """The rows of every ranking.csv among input files: the target's, and the baselines'.

    Raises SpecbeamError when there is none, one is missing or lacks a column, or two rate one recommender.
    """
    found = [path for path in inputs if path.suffix == ".csv"]
    if not found:
        raise SpecbeamError("expected at least one ranking.csv among the inputs, got none")
    missing = "expected a ranking.csv of the target or the baselines here, found none"
    ranking = pd.concat([read_csv(path, RANKING, missing=missing) for path in found], ignore_index=True)
    if (twice := ranking.duplicated(["recommender", "K"])).any():
        names = ", ".join(ranking.loc[twice, "recommender"].unique())
        raise SpecbeamError(f"{', '.join(map(str, found))}: expected each recommender once, {names} is rated twice")
    return ranking


@style.styled
def draw(quality: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at the largest draft width in it; flat drafts, if there are any."""
    quality = quality[(quality["recommender"] != "speculative") | (quality["N"] == quality["N"].max())]
    if "flat" in set(quality["plan"]):
        quality = quality[quality["plan"] != "completed"]
    speculative = quality[quality["recommender"] == "speculative"]
    beam_widths = sorted(speculative["K"].unique())
    quality = quality[quality["K"].isin(beam_widths)]
    figure, both = style.panels(columns=2, width=style.DOUBLE, height=2.9)
    for axes, (metric, name) in zip(both, METRICS.items(), strict=True):
        handles = _references(axes, quality, metric, beam_widths)
        handles += _strict(axes, quality, metric, beam_widths)
        handles += _coupled(axes, quality, metric, beam_widths)
        _sampled(axes, quality, metric, beam_widths)
        axes.use_sticky_edges = False  # room above the tallest box
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        style.width_axis(axes, beam_widths)
    relaxed = speculative[speculative["verification"].isin(_FILLS)]
    for handle in style.objective_handles(relaxed["objective"]):
        handle.set(linestyle="")
        handles.append(handle)
    for verification in (name for name in _FILLS if name in set(relaxed["verification"])):
        marker = {"color": style.INK, "ls": "", "marker": "o", "markersize": 3.6, **_FILLS[verification]}
        handles.append(Line2D([], [], label=verification, **marker))
    style.legend(figure, handles, columns=3)
    return figure


def _references(axes: Axes, quality: pd.DataFrame, metric: str, beam_widths: list[int]) -> list:
    """The target's level and interval, beneath all others, and the baselines' levels."""
    target = _target(quality)
    places = target["K"].map(beam_widths.index)
    heights = target[f"{metric}_high"] - target[f"{metric}_low"]
    axes.bar(places, heights, 2 * _REACH, bottom=target[f"{metric}_low"], color="#F0F0F0", lw=0, zorder=0)
    name = f"target's own lists ({target['users'].max():,} users, box: 95 %)"
    handles = [_levels(axes, target, metric, beam_widths, color="#BBBBBB", lw=4.5, label=name, zorder=1)]
    for baseline, (name, dots) in BASELINES.items():
        part = _part(quality, baseline)
        if len(part):
            look = {"color": style.INK, "lw": 1.2, "ls": dots, "label": f"{name} ({part['users'].max():,} users)"}
            handles.append(_levels(axes, part, metric, beam_widths, **look))
    return handles


def _lossless(quality: pd.DataFrame) -> list[str]:
    """Objectives whose strict lists have the target's own recall and NDCG at every K."""
    target = _target(quality).set_index("K")[list(METRICS)]
    found = []
    for objective, part in quality[quality["verification"] == "strict"].groupby("objective"):
        if np.allclose(part[list(METRICS)], target.reindex(part["K"]), rtol=0, atol=1e-9):
            found.append(objective)
    return found


def _strict(axes: Axes, quality: pd.DataFrame, metric: str, beam_widths: list[int]) -> list:
    """One thin level for all lossless drafts; one in its own colour for each that misses the target's value."""
    strict = quality[quality["verification"] == "strict"]
    lossless, handles = _lossless(quality), []
    objectives = style.in_order(strict["objective"])
    for objective in objectives:
        if objective not in lossless:
            name, colour = f"strict, {style.label(objective)} (differs)", style.OBJECTIVES[objective][1]
            part = strict[strict["objective"] == objective]
            handles.append(_levels(axes, part, metric, beam_widths, color=colour, lw=0.9, label=name))
    if lossless:
        name = f"strict, equal to the target ({len(lossless)} of {len(objectives)} drafts)"
        part = strict[strict["objective"].isin(lossless)].drop_duplicates("K")
        handles.append(_levels(axes, part, metric, beam_widths, color=style.INK, lw=0.9, label=name))
    return handles


def _levels(axes: Axes, part: pd.DataFrame, metric: str, beam_widths: list[int], **options) -> Line2D:
    """A horizontal stroke at each K, so that points beside one another can be held against it; the legend entry."""
    options = {"solid_capstyle": "butt", "dash_capstyle": "butt", **options}
    for beam_width, value in zip(part["K"], part[metric], strict=True):
        place = beam_widths.index(beam_width)
        axes.plot([place - _REACH, place + _REACH], [value, value], **options)
    return Line2D([], [], **options)


def _coupled(axes: Axes, quality: pd.DataFrame, metric: str, beam_widths: list[int]) -> list:
    """The target's own sample, which every draft gives."""
    part = quality[quality["verification"] == "coupled"].drop_duplicates("K")
    if part.empty:
        return []
    name, dots = "coupled: the target's own sample", {"ls": (0, (2.5, 1))}
    return [_levels(axes, part, metric, beam_widths, color=style.GREY, lw=1.2, label=name, **dots)]


def _sampled(axes: Axes, quality: pd.DataFrame, metric: str, beam_widths: list[int]) -> None:
    """The relaxed lists of every draft: a marker an objective, filled or hollow by the verification."""
    sampled = quality[quality["verification"].isin(_FILLS)]
    objectives = style.in_order(sampled["objective"])
    for (verification, objective), part in sampled.groupby(["verification", "objective"]):
        part = part.sort_values("K")
        places = part["K"].map(beam_widths.index) + style.dodged(objectives.index(objective), len(objectives))
        options = {"ls": "", "zorder": 3, **_FILLS[verification]}
        axes.plot(places, part[metric], **{**style.look(objective), **options})


def _target(quality: pd.DataFrame) -> pd.DataFrame:
    """The target on the evaluated users, or on all test users where the former was not recorded."""
    own = _part(quality, "target")
    return own if len(own) else _part(quality, "target_all")


def _part(quality: pd.DataFrame, recommender: str) -> pd.DataFrame:
    return quality[quality["recommender"] == recommender].sort_values("K")


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation records and every ranking.csv, in any order; write `output`.png, .svg, .csv and .txt."""
    inputs = [Path(path) for path in inputs]
    ranking = read_rankings(inputs)
    inputs = [path for path in inputs if path.suffix != ".csv"]
    evaluation = records.read(inputs, "evaluation")
    quality = data(evaluation, ranking)
    caption = captions.of_records(
        "Recall@K and NDCG@K by beam width K, against all of a user's test items: of the target's own lists, of what "
        "each verification makes of them, and of recommenders that a target has to beat (over all test users).",
        evaluation,
        inputs,
    )
    style.save(draw(quality), quality, output, caption)
