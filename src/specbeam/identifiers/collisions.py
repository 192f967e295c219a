"""Items with equal codes: assigned anew so that none are left, told apart by one more token, or left alone.

LC-Rec (Zheng et al., ICDE 2024) assigns the last level so that items which share the codes before it get different
ones, by Sinkhorn iterations that may leave some equal. Here that assignment is exact: of all, the one with the least
total distance (scipy's linear_sum_assignment).
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

from specbeam.errors import SpecbeamError
from specbeam.identifiers.quantise import Quantiser, distances, nearest


def constrained(quantiser: Quantiser) -> np.ndarray:
    """int64 [items, levels]: codes that no two items share.

    Level by level an item gets its nearest codeword, unless more items want it after the same prefix than the levels
    below can tell apart. Then, at the last level, the prefix's items are assigned to different codewords at the least
    total distance; above it, the nearest items stay, and the others go to their next nearest codeword with room. So
    many equal items spill over to neighbouring prefixes rather than failing.
    Raises SpecbeamError if there are more items than combinations of codewords.
    """
    vectors, codebooks = quantiser.vectors, quantiser.codebooks
    if len(vectors) > quantiser.room:
        sizes = " x ".join(str(len(codebook)) for codebook in codebooks)
        raise SpecbeamError(
            f"identifiers.codebook: expected codes for {len(vectors):,} items, {sizes} gives {quantiser.room:,}; make "
            "codebooks larger or identifiers longer, or choose collisions: extra-token"
        )
    codes, room = np.empty((len(vectors), len(codebooks)), dtype=np.int64), quantiser.room
    prefixes, residual = np.zeros(len(vectors), dtype=np.int64), vectors.copy()
    for level, codebook in enumerate(codebooks):
        room //= len(codebook)
        wanted = nearest(residual, codebook)
        for items in _overfull(prefixes, wanted, room=room):
            squares = np.square(residual[items]).sum(1)[:, None]
            wanted[items] = _assigned(squares + distances(residual[items], codebook), room=room)
        codes[:, level] = wanted
        prefixes = np.unique(np.stack([prefixes, wanted], 1), axis=0, return_inverse=True)[1]
        residual -= codebook[wanted]
    return codes


def extra_token(codes: np.ndarray, popularity: np.ndarray) -> np.ndarray:
    """int64 [items, levels + 1]: `codes`, and an item's place among those of equal codes, the most popular first."""
    groups = np.unique(codes, axis=0, return_inverse=True)[1]
    order = np.lexsort((-popularity, groups))
    return np.column_stack([codes, _places(groups, order)])


def _overfull(prefixes: np.ndarray, wanted: np.ndarray, *, room: int) -> list[np.ndarray]:
    """The items of each prefix after which more than `room` want one codeword."""
    pairs, counts = np.unique(np.stack([prefixes, wanted], 1), axis=0, return_counts=True)
    over = np.unique(pairs[counts > room, 0])
    order = np.argsort(prefixes, kind="stable")
    first, last = (np.searchsorted(prefixes[order], over, side=side) for side in ("left", "right"))
    return [order[start:end] for start, end in zip(first, last, strict=True)]


def _assigned(costs: np.ndarray, *, room: int) -> np.ndarray:
    """A codeword for each item, none for more than `room`; `costs` are [items, codewords]."""
    if room == 1:
        return linear_sum_assignment(costs)[1]
    order, refused = np.argsort(costs, axis=1, kind="stable"), np.zeros(len(costs), dtype=np.int64)
    everyone = np.arange(len(costs))
    while True:  # deferred acceptance: a codeword keeps the nearest, and who is refused asks the next
        wanted = order[everyone, refused]
        place = _places(wanted, np.lexsort((costs[everyone, wanted], wanted)))
        if place.max() < room:
            return wanted
        refused[place >= room] += 1


def _places(groups: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Of each member its place in its group, from 0; `order` sorts by group, then by place."""
    sorted_groups = groups[order]
    places = np.empty(len(groups), dtype=np.int64)
    places[order] = np.arange(len(groups)) - np.searchsorted(sorted_groups, sorted_groups, side="left")
    return places
