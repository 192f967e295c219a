"""What became of the items: what codewords keep of the embeddings, which are used, how many items collide, the trie."""

import numpy as np
import pandas as pd

from specbeam.identifiers.quantise import Quantiser
from specbeam.identifiers.shape import by_level


def levels(quantiser: Quantiser, embeddings: np.ndarray, codes: np.ndarray, popularity: np.ndarray) -> pd.DataFrame:
    """One row a level of `codes` [items, levels]: the columns of `shape.by_level`, `codebook` and `unexplained`.

    `unexplained` is the squared error of the embeddings as codewords up to this level give them back, as a share of
    their variance: 1 is what their mean alone does. An extra token has no codebook, so both are empty there.
    """
    table = by_level(codes, popularity)
    table["codebook"] = pd.array([*map(len, quantiser.codebooks)] + [None] * (len(table) - len(quantiser.codebooks)))
    variance = float(np.square(embeddings - embeddings.mean(0)).sum())
    errors = [float(np.square(embeddings - quantiser.decode(kept)).sum()) for kept in quantiser.sums(codes)]
    shares = [error / variance if variance else np.nan for error in errors]
    table["unexplained"] = shares + [np.nan] * (len(table) - len(shares))
    return table


def collisions(codes: np.ndarray) -> dict[str, float]:
    """How many items share all codes with another one, their share of all, and how many share the same at most."""
    counts = np.unique(codes, axis=0, return_counts=True)[1]
    colliding = int(counts[counts > 1].sum())
    return {"items": colliding, "share": colliding / len(codes), "largest": int(counts.max())}


def text(table: pd.DataFrame, *, heading: str, before: dict[str, float], after: dict[str, float]) -> str:
    """The report for readers: a line on collisions, and the table of `levels`."""
    told = [
        f"Collisions before they were handled: {_told(before)}; after: {_told(after)}.",
        f"Bits of choice in all, weighted by popularity: {table['bits'].sum():.2f}.",
    ]
    shown = table[["level", "codebook", "used", "perplexity", "prefixes", "children"]].copy()
    shown["codebook"] = shown["codebook"].astype(object).where(shown["codebook"].notna(), "-")
    shown["decided %"] = 100 * table["decided"]
    shown["decided % by use"] = 100 * table["decided_by_use"]
    shown["bits"] = table["bits"]
    shown["unexplained %"] = 100 * table["unexplained"]
    lines = shown.to_string(index=False, na_rep="-", float_format=lambda value: f"{value:.2f}")
    return "\n".join([heading, *told, "", lines, ""])


def _told(found: dict[str, float]) -> str:
    if not found["items"]:
        return "none"
    return f"{found['items']:,} items ({found['share']:.2%}), at most {found['largest']:,} alike"
