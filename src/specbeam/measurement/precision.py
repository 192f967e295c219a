"""What a precision does to lists: how often two ways to search in it differ, and by how much. Nothing here is timed.

Two passes of different shape (a tree instead of single beams, another batch) add in another order, so their scores
agree to a rounding step only. Candidates that are closer than that may change places, and no others.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.finished_run import FinishedRun
from specbeam.measurement.counting import BATCH
from specbeam.settings import Settings

REFERENCE = "float32"
Scores = dict[int, float]
"""A list, best first: the trie state of each item, and its score."""
_TITLES = {
    "lists": "lists",
    "against": "compared with",
    "same_list": "same list",
    "same_items": "same items",
    "overlap": "overlap",
    "first": "first differs at",
    "swapped": "gap of swapped",
    "error": "scores differ by",
}


def differences(
    run: FinishedRun, settings: Settings, draft: Path, *, dtypes: Sequence[str], users: int, beam_width: int,
    draft_beam_width: int, threads: int,
) -> pd.DataFrame:  # fmt: skip
    """One row a (lists, what they are compared with, test user): columns `lists`, `against` and those of `difference`.

    In each of `dtypes`, for target and draft alike, strict lists, and plain beam search of BATCH users at once, are
    compared with plain beam search of one user at a time; and that with the one in float32. Raises SpecbeamError where
    a precision leaves scores that are no numbers.
    """
    inputs = SearchInputs.of(run.prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    histories = [history for _, history, _ in inputs.sampled_users("test", users, settings.seed)]
    plan, rows, reference = Plan.flat(draft_beam_width, settings.decoding.draft_length, inputs.trie.depth), [], None
    for dtype in dict.fromkeys([REFERENCE, *dtypes]):
        target, drafting = (inputs.scorer(place, dtype, settings.decoding.normalise) for place in (run.target, draft))
        name, options = f"{dtype} plain", {"drafter": ModelDrafter.of(drafting), "plan": plan}
        own = _lists(inputs, histories, target, beam_width, 1, name=name)
        strict = _lists(inputs, histories, target, beam_width, 1, name=f"{dtype} strict", **options)
        batched = _lists(inputs, histories, target, beam_width, BATCH, name=f"{name}, {BATCH} at once")
        rows += _rows(f"{dtype} strict", name, own, strict)
        rows += _rows(f"{name}, {BATCH} at once", name, own, batched)
        if reference is None:
            reference = own
        else:
            rows += _rows(name, f"{REFERENCE} plain", reference, own)
    return pd.DataFrame(rows)


def _lists(
    inputs: SearchInputs, histories: Sequence[Sequence[int]], target: Scorer, beam_width: int, size: int, *, name: str,
    **options: Any,
) -> list[Scores]:  # fmt: skip
    """The list of each history, of `size` prompts at a time."""
    found: list[Scores] = [{} for _ in histories]
    for chosen, prompts, mask in inputs.batches(histories, size, name=name):
        made = search(target, prompts, mask=mask, beam_width=beam_width, **options)
        for user, states, scores in zip(chosen, made.states.tolist(), made.scores.tolist(), strict=True):
            pairs = zip(states, scores, strict=True)
            found[user] = {state: score for state, score in pairs if score != float("-inf")}
    return found


def _rows(lists: str, against: str, own: list[Scores], found: list[Scores]) -> Iterator[dict[str, Any]]:
    for one, other in zip(own, found, strict=True):
        yield {"lists": lists, "against": against, **difference(one, other)}


def difference(own: Scores, found: Scores) -> dict[str, Any]:
    """How the list `found` differs from `own`.

    Returns same_list (the same items in the same order), same_items, overlap (share of the items of `own`), first (the
    first rank, from 1, with another item; None if there is none), swapped (the largest gap, by the scores of `own`,
    between two items that both lists have, in opposite order; 0 if there are none) and error (the largest difference
    of one item's two scores).
    """
    both = [item for item in own if item in found]
    ranks = {item: rank for rank, item in enumerate(found)}
    pairs = list(zip(own, found, strict=False))
    first = next((rank for rank, (a, b) in enumerate(pairs, start=1) if a != b), None)
    if first is None and len(own) != len(found):
        first = len(pairs) + 1
    return {
        "same_list": first is None,
        "same_items": own.keys() == found.keys(),
        "overlap": len(both) / len(own),
        "first": first,
        "swapped": max((own[a] - own[b] for a, b in combinations(both, 2) if ranks[a] > ranks[b]), default=0.0),
        "error": max((abs(own[item] - found[item]) for item in both), default=0.0),
    }


def table(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a (lists, against) of what `differences` gives, in that order.

    Shares of users, the mean overlap, the median of the ranks where lists that differ do so first, the largest swapped
    gap and the largest error.
    """
    kinds = dict.fromkeys(("same_list", "same_items", "overlap"), "mean")
    kinds |= {"first": "median", "swapped": "max", "error": "max"}
    return rows.groupby(["lists", "against"], sort=False).agg(kinds).reset_index()


def text(found: pd.DataFrame) -> str:
    """The `table`, aligned."""
    shares = dict.fromkeys(("same_list", "same_items"), "{:.1%}".format)
    formats = shares | {"overlap": "{:.4f}".format, "first": "{:g}".format}
    formats |= dict.fromkeys(("swapped", "error"), "{:.1e}".format)
    shown = found.rename(columns=_TITLES)
    return shown.to_string(index=False, na_rep="-", formatters={_TITLES[name]: f for name, f in formats.items()})
