"""Embeddings of items from who bought them together, for catalogues without texts.

A truncated singular value decomposition of the positive pointwise mutual information of pairs, as word vectors are made
(Levy, Goldberg, Dagan: Improving distributional similarity with lessons learned from word embeddings, TACL 2015).
"""

import logging
from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix

from specbeam.data.cooccurrence import co_occurrence
from specbeam.errors import SpecbeamError

log = logging.getLogger(__name__)

SMOOTHING = 0.75
"""Power of the frequency of the item beside, so that rare ones do not count for too much; the source's."""


def from_co_occurrence(sequences: Sequence[Sequence[int]], *, items: int, size: int) -> np.ndarray:
    """float32 [items, size] of length 1, from users' `sequences` of item numbers below `items`.

    A pair weighs 1 / (its distance in the sequence). An item that is in no pair has nothing to be told by: its vector
    is zero, so all such items are alike. Raises SpecbeamError if there are too few items, or no pairs.
    """
    from sklearn.decomposition import TruncatedSVD
    from threadpoolctl import threadpool_limits

    if size >= items:
        raise SpecbeamError(
            f"identifiers.embeddings.size: expected fewer numbers than there are items, {items}, got {size}; lower it"
        )
    pairs = co_occurrence(sequences, items=items)
    if not len(pairs.weights):
        raise SpecbeamError(
            "identifiers.embeddings: expected users with two training items or more, to see which go together, found "
            "none; take embeddings from text or from a table"
        )
    information = _positive_information(csr_matrix((pairs.weights, pairs.others, pairs.first), shape=(items, items)))
    decomposition = TruncatedSVD(size, algorithm="arpack", random_state=0)  # only a start, which the result forgets
    with threadpool_limits(1):  # the order in which threads add up would show
        vectors = decomposition.fit_transform(information)
    vectors /= np.sqrt(np.maximum(decomposition.singular_values_, np.finfo("f4").tiny))
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    known = lengths[:, 0] > np.finfo("f4").eps
    vectors[known] /= lengths[known]
    vectors[~known] = 0
    if not known.all():
        log.warning("%d of %d items are bought beside no other in training: their vectors are 0", (~known).sum(), items)
    return vectors.astype(np.float32)


def _positive_information(weights: csr_matrix) -> csr_matrix:
    """max(0, log(P(i, j) / (P(i) P(j)^SMOOTHING))), entry by entry."""
    found = weights.tocoo()
    each = np.asarray(weights.sum(1)).ravel()
    beside = each**SMOOTHING / (each**SMOOTHING).sum()
    information = np.log(found.data / (each[found.row] * beside[found.col]))
    positive = information > 0
    entries = (information[positive], (found.row[positive], found.col[positive]))
    return csr_matrix(entries, shape=weights.shape)
