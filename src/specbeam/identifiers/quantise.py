"""Residual quantisation: a vector as a sum of codewords, one of each level's codebook.

A level quantises what the levels before leave over, so codes go from coarse to fine, and items that share their first
codes are alike: what a draft needs, which guesses token by token. A codebook is the centres of k-means over the
residuals (Chen, Guan, Wang: Approximate nearest neighbor search by residual vector quantization, Sensors 2010), which
recommenders call RQ-KMeans.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from specbeam.errors import SpecbeamError

CHUNK = 2**24
"""Distances held at once."""
ITERATIONS = 100
"""Of k-means, at most."""


@dataclass(frozen=True)
class Quantiser:
    """Trained codebooks, and the vectors that they are of."""

    vectors: np.ndarray
    """float32 [items, width]: what is quantised: embeddings, or an encoder's latents."""
    codebooks: tuple[np.ndarray, ...]
    """float32 [codewords, width], one a level."""
    decode: Callable[[np.ndarray], np.ndarray] = lambda vectors: vectors
    """From such vectors back to embeddings."""

    @property
    def room(self) -> int:
        """How many items can have codes of their own."""
        return math.prod(len(codebook) for codebook in self.codebooks)

    def nearest(self) -> np.ndarray:
        """int64 [items, levels]: level by level the codeword nearest to what is left."""
        codes = np.empty((len(self.vectors), len(self.codebooks)), dtype=np.int64)
        residual = self.vectors.copy()
        for level, codebook in enumerate(self.codebooks):
            codes[:, level] = nearest(residual, codebook)
            residual -= codebook[codes[:, level]]
        return codes

    def sums(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """float32 [items, width] for each level: the codewords of `codes` up to it, added up."""
        total = np.zeros_like(self.vectors)
        for level, codebook in enumerate(self.codebooks):
            total = total + codebook[codes[:, level]]
            yield total


def rq_kmeans(vectors: np.ndarray, sizes: Sequence[int], *, seed: int) -> Quantiser:
    """Train a codebook of each of `sizes` on `vectors`, float32 [items, width].

    The same vectors, sizes and seed give the same codebooks: it keeps to one thread, since the order in which threads
    add up would show. Where there are fewer vectors than codewords, those left over are zero; where only fewer
    different ones, k-means gives the same centre several times.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    vectors = checked(vectors)
    codebooks, residual = [], vectors.copy()
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different residuals than codewords
        for level, size in enumerate(sizes):
            means = KMeans(min(size, len(vectors)), n_init=1, max_iter=ITERATIONS, random_state=seed + level)
            centres = means.fit(residual).cluster_centers_
            codebooks.append(np.concatenate([centres, np.zeros((size - len(centres), vectors.shape[1]))]).astype("f4"))
            residual -= codebooks[-1][nearest(residual, codebooks[-1])]
    return Quantiser(vectors, tuple(codebooks))


def nearest(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """int64 [items]: of each vector the nearest codeword; the first of those equally near."""
    step = max(1, CHUNK // len(codebook))
    parts = [distances(vectors[start : start + step], codebook).argmin(1) for start in range(0, len(vectors), step)]
    return np.concatenate(parts)


def distances(vectors: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """float32 [items, codewords]: squared distances, less each vector's own square.

    To compare codewords for one vector that is enough; to compare vectors for one codeword, add the squares.
    """
    return np.square(codebook).sum(1) - 2 * vectors @ codebook.T


def checked(vectors: np.ndarray) -> np.ndarray:
    """`vectors` as float32 [items, width]; SpecbeamError unless there is one, and all are finite."""
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    if vectors.ndim != 2 or not vectors.size:
        raise SpecbeamError(f"expected embeddings [items, width] of at least one item, got the shape {vectors.shape}")
    if len(bad := np.flatnonzero(~np.isfinite(vectors).all(1))):
        raise SpecbeamError(f"expected finite embeddings, that of item {bad[0]} is not; make the embeddings again")
    return vectors
