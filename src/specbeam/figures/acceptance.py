"""Acceptance of every draft at every K as a table in Markdown, for documents: one table a plan and verification."""

import pandas as pd

from specbeam.figures import style

LIST_LENGTH = 10
"""Recall and NDCG are at this K, or at the largest measured below it."""


def list_length(beam_widths: pd.Series) -> int:
    """The K that recall and NDCG are told at."""
    short = [width for width in beam_widths.unique() if width <= LIST_LENGTH]
    return max(short) if short else beam_widths.min()


def markdown(table: pd.DataFrame, header: str) -> str:
    """The frame of specbeam.figures.summary.data at its largest draft width, under `header`.

    AS@K is the mean over the drafts' seeds, with their standard deviation where there are several; target calls a list
    are at the largest K.
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
    return "\n".join(lines)


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
