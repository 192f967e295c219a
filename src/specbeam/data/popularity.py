"""How often items were bought, and the baseline that a recommender has to beat: the most popular items for everyone."""

from collections import Counter

import pandas as pd

from specbeam.catalogue import Catalogue


def popularity(users: pd.DataFrame, catalogue: Catalogue) -> list[int]:
    """Training interactions of each row of `catalogue.distinct`: those of every item that bears the identifier."""
    counts = Counter(row for items in users["train"] for row in catalogue.rows(items))
    return [counts[row] for row in range(len(catalogue.distinct))]


def popularity_ranking(users: pd.DataFrame, catalogue: Catalogue, k: int) -> list[int]:
    """The `k` rows of `catalogue.distinct` with the most training interactions, the most popular first.

    Equal counts go by row. The list is shorter than `k` only if the catalogue is. Rows without any training interaction
    come last.
    """
    counts = popularity(users, catalogue)
    return sorted(range(len(counts)), key=lambda row: (-counts[row], row))[:k]
