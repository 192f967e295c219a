"""Accepted levels a round (AS@K) by beam width, one panel a verification, a line a draft and plan.

A level counts when the target accepts what was drafted; the bonus level, which every round yields for nothing, does
not, nor does a round that drafts nothing since only the last level is left. AS@K is the sum over all lists of accepted
levels over the sum of rounds, in the mean over the drafts' seeds; the interval resamples users and seeds.
"""

import math
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records

KEY = ["objective", "plan", "verification", "K", "N"]
"""What names a row of `data`."""


def data(evaluation: pd.DataFrame) -> pd.DataFrame:
    """Acceptance from evaluation records: one row a (objective, plan, verification, K, N).

    `accepted` is AS@K with its 95 % interval `low` to `high` and its standard deviation `sd` over `seeds` (empty for
    one); `first_accepted`, `rounds`, `target_calls`, `draft_calls` and `nodes` are means a list.
    """
    style.one_dataset(evaluation)
    speculative = evaluation[evaluation["verification"] != "target"]
    rows = []
    for names, part in speculative.groupby(KEY, sort=False):
        levels, rounds = by_seed(part, "accepted"), by_seed(part, "rounds")
        accepted, low, high = ratio_of_sums(levels, rounds)
        sd = (levels.sum(1) / rounds.sum(1)).std(ddof=1) if len(levels) > 1 else math.nan
        row = dict(zip(KEY, names, strict=True)) | {"users": levels.shape[1], "seeds": len(levels)}
        row |= {"accepted": accepted, "sd": sd, "low": low, "high": high}
        means = ("first_accepted", "rounds", "target_calls", "draft_calls", "nodes")
        rows.append(row | {name: float(part[name].mean()) for name in means})
    if not rows:
        raise SpecbeamError("the evaluation records hold no speculative decoding, only the target's own lists")
    return pd.DataFrame(rows).sort_values(KEY, kind="stable", ignore_index=True)


@style.styled
def draw(acceptance: pd.DataFrame, *, levels: int) -> Figure:
    """Draw the frame of `data`, at the largest draft width in it; `levels` a round are the most."""
    widest = acceptance[acceptance["N"] == acceptance["N"].max()]
    verifications = [name for name in style.LINES if name in set(widest["verification"])]
    beam_widths = sorted(widest["K"].unique())
    width = style.DOUBLE if len(verifications) > 1 else style.SINGLE
    figure, all_axes = style.panels(columns=len(verifications), width=width, height=2.7, sharey=True)
    for axes, verification in zip(all_axes, verifications, strict=True):
        _lines(axes, widest[widest["verification"] == verification], beam_widths)
        axes.axhline(levels, color=style.INK, lw=0.8, ls=":")
        axes.set_title(f"{verification}, N = {widest['N'].max()}", loc="left")
        axes.set_ylim(0, levels * 1.06)
        style.width_axis(axes, beam_widths)
    all_axes[0].set_ylabel("accepted levels a round, AS@K\n(without the bonus level)")
    handles = style.objective_handles(widest["objective"]) + style.plan_handles(widest["plan"])
    handles.append(Line2D([], [], color=style.INK, lw=0.8, ls=":", label=f"all {levels} drafted levels"))
    columns = 7 if len(set(widest["plan"])) == 1 else 5
    style.legend(figure, handles, columns=columns if len(verifications) > 1 else 2)
    return figure


def _lines(axes: Axes, acceptance: pd.DataFrame, beam_widths: list[int]) -> None:
    objectives = style.in_order(acceptance["objective"])
    for index, objective in enumerate(objectives):
        of_objective = acceptance[acceptance["objective"] == objective].sort_values("K")
        for plan, part in of_objective.groupby("plan"):
            places = part["K"].map(beam_widths.index) + style.dodged(index, len(objectives))
            look = style.look(objective) | style.PLANS[plan]
            axes.errorbar(places, part["accepted"], style.bars(part, "accepted"), elinewidth=0.6, **look)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation records and write `output`.png, .svg, .csv and .txt."""
    inputs = [Path(path) for path in inputs]
    evaluation = records.read(inputs, "evaluation")
    acceptance = data(evaluation)
    caption = captions.of_records(
        "Levels of the drafted tree that verification accepts, a round (AS@K), by beam width K; the bonus level, which "
        "every round yields for nothing, is not counted. Sum of accepted levels over sum of rounds.",
        evaluation,
        inputs,
    )
    style.save(draw(acceptance, levels=draft_length(inputs)), acceptance, output, caption)


def draft_length(inputs: Iterable[Path]) -> int:
    """The draft length that all record files were measured with; raises SpecbeamError if there is not one."""
    lengths = {path: records.settings_of(path).get("decoding", {}).get("draft_length") for path in inputs}
    found = set(lengths.values())
    if len(found) != 1 or None in found:
        listed = ", ".join(f"{path}: {length}" for path, length in lengths.items())
        raise SpecbeamError(f"expected one decoding.draft_length in the settings of all records, got {listed}")
    return found.pop()
