"""Write a CSV file of many interactions, to measure what reading them takes (docs/own-data.md).

python tests/many_interactions.py many.csv 10000000
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

USERS_A_ROW, ITEMS_A_ROW = 0.1, 0.03
CHUNK = 1_000_000
SPAN = 5 * 365 * 86_400
"""Seconds from the first interaction to the last."""


def write(path: Path, rows: int, *, seed: int = 1) -> None:
    """Write `rows` interactions in no order of time, of users and items of which a few have many and most have few."""
    generator = np.random.default_rng(seed)
    for start in range(0, rows, CHUNK):
        count = min(CHUNK, rows - start)
        frame = pd.DataFrame(
            {
                "user_id": _keys("A", 13, _popular(count, int(rows * USERS_A_ROW), 2, generator)),
                "item_id": _keys("B", 9, _popular(count, int(rows * ITEMS_A_ROW), 4, generator)),
                "timestamp": 1_500_000_000 + generator.integers(SPAN, size=count),
                "rating": generator.choice([1, 2, 3, 4, 5], size=count, p=[0.08, 0.05, 0.09, 0.2, 0.58]),
            }
        )
        frame.to_csv(path, mode="a" if start else "w", header=not start, index=False)


def _popular(count: int, things: int, skew: float, generator: np.random.Generator) -> np.ndarray:
    return (things * generator.random(count) ** skew).astype(np.int64)


def _keys(letter: str, digits: int, numbers: np.ndarray) -> list[str]:
    return [f"{letter}{number:0{digits}d}" for number in numbers.tolist()]


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
