"""How far the first round gets: the share of lists whose drafted level 1, 2, ... is accepted, by beam width.

A level counts if it and all before it were accepted in the list's first round, which starts at the prompt and drafts
all levels; so the curves say which level a draft fails at. One panel a level, a line a draft and plan.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.measurement import records


def data(evaluation: pd.DataFrame, *, levels: int) -> pd.DataFrame:
    """Shares from evaluation records: one row a (objective, plan, verification, K, N, level), levels 1 to `levels`.

    But for the last level of an identifier, which is never drafted. `share` (0 to 1) is the mean over users and the
    drafts' seeds, with its 95 % interval `low` to `high`.
    """
    style.one_dataset(evaluation)
    speculative = evaluation[evaluation["verification"] != "target"]
    if speculative.empty:
        raise SpecbeamError("the evaluation records hold no speculative decoding, only the target's own lists")
    own = evaluation.loc[evaluation["verification"] == "target", "target_calls"]  # one a token
    levels, rows = min([levels, *(own - 1)]), []
    for names, part in speculative.groupby(accepted.KEY, sort=False):
        reached = by_seed(part, "first_accepted")
        row = dict(zip(accepted.KEY, names, strict=True)) | {"users": reached.shape[1], "seeds": len(reached)}
        for level in range(1, levels + 1):
            share, low, high = ratio_of_sums(reached >= level)
            rows.append(row | {"level": level, "share": share, "low": low, "high": high})
    return pd.DataFrame(rows).sort_values([*accepted.KEY, "level"], kind="stable", ignore_index=True)


@style.styled
def draw(shares: pd.DataFrame) -> Figure:
    """Draw the frame of `data` for its strictest verification, at the largest draft width in it."""
    shown = next(name for name in style.LINES if name in set(shares["verification"]))
    shares = shares[(shares["verification"] == shown) & (shares["N"] == shares["N"].max())]
    levels, beam_widths = sorted(shares["level"].unique()), sorted(shares["K"].unique())
    objectives = style.in_order(shares["objective"])
    width = style.DOUBLE if len(levels) > 1 else style.SINGLE
    figure, panels = style.panels(columns=len(levels), width=width, height=2.6, sharey=True)
    for axes, level in zip(panels, levels, strict=True):
        for (objective, plan), part in shares[shares["level"] == level].groupby(["objective", "plan"]):
            part = part.sort_values("K").assign(**{name: 100 * part[name] for name in ("share", "low", "high")})
            places = part["K"].map(beam_widths.index) + style.dodged(objectives.index(objective), len(objectives))
            look = style.look(objective) | style.PLANS[plan]
            axes.errorbar(places, part["share"], style.bars(part, "share"), elinewidth=0.6, **look)
        axes.set_title(f"level {level}", loc="left")
        axes.set_ylim(0, 104)
        style.width_axis(axes, beam_widths)
    panels[0].set_ylabel(f"lists accepted so far (%)\n{shown}, N = {shares['N'].max()}")
    handles = style.objective_handles(shares["objective"]) + style.plan_handles(shares["plan"])
    style.legend(figure, handles, columns=5 if len(set(shares["plan"])) > 1 else 7)
    return figure


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read evaluation records and write `output`.png, .svg, .csv and .txt."""
    inputs = list(inputs)
    evaluation = records.read(inputs, "evaluation")
    shares = data(evaluation, levels=accepted.draft_length(inputs))
    caption = captions.of_records(
        "Share of lists whose first round is accepted up to a level, that level included, by beam width K: a level is "
        "accepted if all of the target's K best continuations were drafted. The data hold every verification.",
        evaluation,
        inputs,
    )
    style.save(draw(shares), shares, output, caption)
