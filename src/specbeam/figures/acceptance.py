"""Acceptance of every draft at every K as tables in Markdown, for documents: two a plan and verification."""

from collections.abc import Iterator

import pandas as pd

from specbeam.figures import style
from specbeam.figures.bootstrap import by_seed, difference_of_ratios

LIST_LENGTH = 10
"""Recall and NDCG are at this K, or at the largest measured below it."""

ALIGNED = {"strict": "atspeed_s", "coupled": "atspeed_s", "relaxed": "atspeed_r", "relaxed-ranked": "atspeed_r"}
"""The paper's objective for each verification, which the others are held against."""


def list_length(beam_widths: pd.Series) -> int:
    """The K that recall and NDCG are told at."""
    short = [width for width in beam_widths.unique() if width <= LIST_LENGTH]
    return max(short) if short else beam_widths.min()


def markdown(table: pd.DataFrame, evaluation: pd.DataFrame, header: str) -> str:
    """The frame of specbeam.figures.summary.data at its largest draft width, under `header`.

    AS@K is the mean over the drafts' seeds, with their standard deviation where there are several; target calls a list
    are at the largest K. Beneath it, from the `evaluation` records, by how much the verification's own objective
    (ALIGNED) leads each other one, if it was measured.
    """
    speculative = table[(table["method"] == "speculative") & table["accepted"].notna()]
    speculative = speculative[speculative["N"] == speculative["N"].max()]
    shown, widest = list_length(speculative["K"]), speculative["K"].max()
    beam_widths, n = sorted(speculative["K"].unique()), speculative["N"].max()
    titles = [*(f"AS@{k}" for k in beam_widths), f"calls, K = {widest}", f"Recall@{shown}", f"NDCG@{shown}"]
    lines = [*(f"{line}  " for line in header.splitlines()), ""]
    for plan in style.PLANS:
        for verification in style.LINES:
            part = speculative[(speculative["plan"] == plan) & (speculative["verification"] == verification)]
            if len(part):
                rows = [[f"{verification}, {plan}, N = {n}", *titles], ["---"] * (len(titles) + 1)]
                rows += [_cells(name, of, beam_widths, shown) for name, of in part.groupby("objective", sort=False)]
                lines += [*map(_line, [*rows, _target(table, beam_widths, shown)]), ""]
                of = evaluation[(evaluation["plan"] == plan) & (evaluation["verification"] == verification)]
                lines += _leads(of[of["N"] == n], ALIGNED[verification])
    return "\n".join(lines)


def _leads(evaluation: pd.DataFrame, own: str) -> Iterator[str]:
    """Lines of a table: AS@K of the objective `own` less that of each other, with the paired 95 % interval."""
    ratios = {
        (objective, k): (by_seed(part, "accepted"), by_seed(part, "rounds"))
        for (objective, k), part in evaluation.groupby(["objective", "K"])
    }
    others = [objective for objective in style.in_order(evaluation["objective"]) if objective != own]
    if not others or own not in set(evaluation["objective"]):
        return
    beam_widths = sorted(evaluation["K"].unique())
    yield _line([f"lead of `{own}` over", *(f"AS@{k}" for k in beam_widths)])
    yield _line(["---"] * (len(beam_widths) + 1))
    for other in others:
        leads = (difference_of_ratios(ratios[other, k], ratios[own, k]) for k in beam_widths)
        yield _line([f"`{other}`", *("{:+.3f} ({:+.3f} to {:+.3f})".format(*lead) for lead in leads)])
    yield ""


def _cells(objective: str, of: pd.DataFrame, beam_widths: list[int], shown: int) -> list[str]:
    at = of.set_index("K")
    levels = [_with_deviation(at.loc[k, "accepted"], at.loc[k, "accepted_sd"]) for k in beam_widths]
    return [f"`{objective}`", *levels, *_rest(at, max(beam_widths), shown)]


def _target(table: pd.DataFrame, beam_widths: list[int], shown: int) -> list[str]:
    """The row of the target's own lists of the same users."""
    at = table[table["method"] == "plain"].set_index("K")
    return ["target alone", *("-" for _ in beam_widths), *_rest(at, max(beam_widths), shown)]


def _rest(at: pd.DataFrame, widest: int, shown: int) -> list[str]:
    metrics = ((metric, f"{metric}_low", f"{metric}_high") for metric in ("recall", "ndcg"))
    quality = ["{:.4f} ({:.4f} to {:.4f})".format(*at.loc[shown, list(columns)]) for columns in metrics]
    return [f"{at.loc[widest, 'target_calls']:.2f}", *quality]


def _with_deviation(mean: float, deviation: float) -> str:
    return f"{mean:.2f}" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f}"


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
