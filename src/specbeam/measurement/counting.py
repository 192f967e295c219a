"""What records say of lists that were searched in batches: each user's own counts, and whose lists they are."""

import torch

from specbeam.decoding.counters import Counters
from specbeam.decoding.lists import Ranking

BATCH = 16
"""Users searched together."""


def counts(counters: Counters, *, drafted: bool = True) -> dict[str, int]:
    """The columns of counts for one user, from one of Counters.each; a search without a draft has no rounds."""
    accepted = counters.accepted[0] if drafted else []
    last_drafts_nothing = bool(accepted) and accepted[-1] == 0  # only the last level was left, which is never drafted
    return {
        "accepted": sum(accepted),
        "first_accepted": accepted[0] if accepted else 0,
        "rounds": len(accepted) - last_drafts_nothing,
        "target_calls": counters.target_calls,
        "draft_calls": counters.draft_calls,
        "nodes": counters.nodes,
    }


def same_lists(found: Ranking, own: Ranking) -> list[bool]:
    """For each user, whether both lists name the same items in the same order."""
    return [torch.equal(a, b) for a, b in zip(found.sequences, own.sequences, strict=True)]
