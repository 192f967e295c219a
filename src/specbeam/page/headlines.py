"""The headline numbers of a data set, from its summary.csv and evaluation records."""

from dataclasses import dataclass

import pandas as pd

from specbeam.figures import acceptance, recall, style


@dataclass(frozen=True)
class Headline:
    """One number with what it is, and what it is to be compared with."""

    name: str
    value: str
    detail: str
    alarming: bool = False


@dataclass(frozen=True)
class Headlines:
    """What a data set's results come to."""

    of: str
    """The draft that they are of, and how it was measured."""
    numbers: list[Headline]


def headlines(summary: pd.DataFrame, evaluation: pd.DataFrame, *, draft_length: int) -> Headlines:
    """The numbers of one draft at the largest K and N: of all, the one with the most accepted levels.

    By strict verification and the flat plan, where they were measured.
    """
    drafts = _drafts(summary)
    best = drafts.loc[drafts["accepted"].idxmax()]
    plain = summary[(summary["method"] == "plain") & (summary["K"] == best["K"])].iloc[0]
    most = f", of {len(drafts)} drafts the one with the most accepted levels" if len(drafts) > 1 else ""
    how = f"{best['verification']}, {best['plan']}, K = {best['K']}, N = {best['N']}"
    return Headlines(
        of=f"Speculation by {best['objective']}{most}; {how}",
        numbers=[
            Headline(
                "Accepted levels a round",
                f"{best['accepted']:.2f} of {draft_length}",
                f"AS@{best['K']}, without the bonus level; {_interval(best, 'accepted', '.2f')}",
            ),
            Headline(
                "Target calls a list",
                f"{best['target_calls']:.2f}",
                f"plain beam search: {plain['target_calls']:.2f}",
            ),
            _speedup(best, "plain", "plain beam search"),
            _speedup(best, "generate", "transformers' generate"),
            _lossless(evaluation),
            _quality(summary),
        ],
    )


def _drafts(summary: pd.DataFrame) -> pd.DataFrame:
    """One row a draft, as it is told in the headlines."""
    drafts = summary[(summary["method"] == "speculative") & summary["accepted"].notna()]
    for name, order in (("verification", style.LINES), ("plan", style.PLANS)):
        measured = set(drafts[name])
        drafts = drafts[drafts[name] == next(value for value in order if value in measured)]
    for name in ("N", "K"):
        drafts = drafts[drafts[name] == drafts[name].max()]
    return drafts


def _interval(row: pd.Series, name: str, form: str, *, suffix: str = "") -> str:
    return f"95\N{NO-BREAK SPACE}% interval {row[f'{name}_low{suffix}']:{form}} to {row[f'{name}_high{suffix}']:{form}}"


def _speedup(row: pd.Series, baseline: str, name: str) -> Headline:
    title, value = f"Speedup over {name}", row[f"speedup_{baseline}"]
    if pd.isna(value):
        return Headline(title, "-", "not timed")
    interval = _interval(row, "speedup", ".2f", suffix=f"_{baseline}")
    return Headline(title, f"{value:.2f}x", f"{row['timed_users']:.0f} users; {interval}")


def _lossless(evaluation: pd.DataFrame) -> Headline:
    title, lists = "Lossless", evaluation[evaluation["verification"] == "strict"]
    if lists.empty:
        return Headline(title, "-", "strict verification was not measured")
    same, all_ = lists["same_as_target"].sum(), len(lists)
    detail = "strict lists of all drafts are the target's own, item for item and in order"
    return Headline(title, f"{same:,} of {all_:,}", detail, alarming=bool(same < all_))


def _quality(summary: pd.DataFrame) -> Headline:
    """Recall of the target and of the best baseline over all test users."""
    rated = summary[summary["method"].isin([*recall.BASELINES, "target_all"])]
    at = rated[rated["K"] == acceptance.list_length(rated["K"])].set_index("method")
    baselines = at.drop(index="target_all")
    title, own = f"Recall@{at['K'].iloc[0]} of the target", at.loc["target_all"]
    detail = f"{own['quality_users']:,.0f} test users; {_interval(own, 'recall', '.4f')}"
    if len(baselines):
        best = baselines["recall"].idxmax()
        detail += f". Best baseline: {recall.BASELINES[best][0]}, {baselines.loc[best, 'recall']:.4f}"
    return Headline(title, f"{own['recall']:.4f}", detail)
