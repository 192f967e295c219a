"""The shape of the trie that identifiers form, level by level: how much each token is a choice, given those before it.

By the chain rule the bits of all levels add up to the entropy of the identifier, however it is cut into tokens: a
coding only decides where the choice lies. A level that the trie has nearly decided is drafted without error.
"""

import numpy as np
import pandas as pd


def by_level(identifiers: np.ndarray, popularity: np.ndarray) -> pd.DataFrame:
    """One row a level, from 1, of `identifiers` [items, levels] of any kind of token; `popularity` is a weight an item.

    `used`: distinct tokens there, and `perplexity`, 2 to the entropy of the token over items (as many, were all used
    alike). `prefixes`: distinct ones of this length. Of the prefixes one shorter: `children`, the mean; `decided`, the
    share with a single child, and `decided_by_use`, weighted by the popularity of the items below. `bits`: entropy of
    the token given the prefix, weighted by popularity. Without any interaction all items weigh the same.
    """
    weights = np.asarray(popularity, dtype=np.float64)
    weights = weights / weights.sum() if weights.sum() else np.full(len(identifiers), 1 / len(identifiers))
    parents, rows = np.zeros(len(identifiers), dtype=np.int64), []
    for level, tokens in enumerate(np.asarray(identifiers).T, start=1):
        codes = np.unique(tokens, return_inverse=True)[1]
        prefixes = np.unique(np.stack([parents, codes], 1), axis=0, return_inverse=True)[1]
        parent_of = np.zeros(prefixes.max() + 1, dtype=np.int64)
        parent_of[prefixes] = parents
        children, single = np.bincount(parent_of), np.bincount(parent_of) == 1
        row = {"level": level, "used": codes.max() + 1, "perplexity": 2 ** _entropy(np.bincount(codes))}
        row |= {"prefixes": len(parent_of), "children": children.mean(), "decided": single.mean()}
        row["decided_by_use"] = float(np.bincount(parents, weights)[single].sum())
        row["bits"] = _entropy(np.bincount(prefixes, weights)) - _entropy(np.bincount(parents, weights))
        rows.append(row)
        parents = prefixes
    return pd.DataFrame(rows)


def _entropy(weights: np.ndarray) -> float:
    shares = weights[weights > 0] / weights.sum()
    return float(-(shares * np.log2(shares)).sum())
