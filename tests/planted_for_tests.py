"""Vectors that are sums of known codewords, so that a quantiser can be held against the truth."""

import numpy as np

from specbeam.identifiers.quantise import Quantiser


def planted(*, items: int, sizes: tuple[int, ...], width: int = 12, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Codes [items, levels] and vectors [items, width]; each level's codewords are a tenth as long as those before."""
    generator = np.random.default_rng(seed)
    codes = np.stack([generator.integers(size, size=items) for size in sizes], 1)
    books = [10.0**-level * generator.standard_normal((size, width)) for level, size in enumerate(sizes)]
    return codes, sum(book[codes[:, level]] for level, book in enumerate(books)).astype(np.float32)


def random_quantiser(*, items: int, sizes: tuple[int, ...], width: int = 3, seed: int = 1) -> Quantiser:
    """Codebooks that were never trained, over random vectors."""
    generator = np.random.default_rng(seed)
    books = tuple(generator.standard_normal((size, width)).astype("f4") for size in sizes)
    return Quantiser(generator.standard_normal((items, width)).astype("f4"), books)
