"""The baseline that a recommender has to beat: the same most popular items for everyone."""

from collections import Counter

import pandas as pd

from specbeam.catalogue import Catalogue


def popularity_ranking(users: pd.DataFrame, catalogue: Catalogue, k: int) -> list[int]:
    """The `k` rows of `catalogue.distinct` with the most training interactions, the most popular first.

    An identifier counts the interactions of every item that bears it; equal counts go by row. The list is shorter than
    `k` only if the catalogue is. Rows without any training interaction come last.
    """
    counts = Counter(row for items in users["train"] for row in catalogue.rows(items))
    return sorted(range(len(catalogue.distinct)), key=lambda row: (-counts[row], row))[:k]
