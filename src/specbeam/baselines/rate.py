"""Recommend to all test users by every baseline, and rate the lists: what a target has to beat."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from specbeam import models
from specbeam.baselines import sasrec
from specbeam.catalogue import Catalogue
from specbeam.data.cooccurrence import co_occurrence, transitions
from specbeam.data.popularity import popularity
from specbeam.data.prepared import Prepared, load
from specbeam.data.sequences import history_and_targets
from specbeam.files import replacing
from specbeam.progress import Bar
from specbeam.ranking import rate

BATCH = 256

Scores = Callable[[Sequence[Sequence[int]]], np.ndarray]
"""Histories of rows of `Catalogue.distinct`, oldest first, to float [histories, rows]: the higher, the better."""


def rate_baselines(*, prepared: Path, ranking: Path, settings: Any, threads: int) -> None:
    """Train the baselines on the training items, and rate their lists for every K of `measurement.beam_widths`.

    Writes `ranking` (csv, in the columns of the target's: recommender, K, users, recall, ndcg, and 95 % bootstrap
    intervals over users), atomically. Recommenders: `transitions` (what was bought directly after the last item),
    `cooccurrence` (what was bought by who bought the history's items) and, if `baselines.sasrec` is set, `sasrec`.
    """
    torch.set_num_threads(threads)
    data = load(prepared)
    asked = history_and_targets(data.users, "test")
    histories, wanted = _rows(data.catalogue, asked["history"]), _rows(data.catalogue, asked["targets"])
    popular = np.array(popularity(data.users, data.catalogue))
    widths = settings.measurement.beam_widths
    ratings = []
    for name, scores in baselines(data, settings).items():
        lists = recommend(scores, histories, k=max(widths), popular=popular, name=name)
        ratings += [rate(name, width, lists, wanted, settings.seed) for width in widths]
    with replacing(ranking) as temporary:
        pd.DataFrame(ratings).to_csv(temporary, index=False)


def baselines(data: Prepared, settings: Any) -> dict[str, Scores]:
    """The trained baselines by name."""
    items, own = len(data.catalogue.distinct), settings.baselines
    train = _rows(data.catalogue, data.users["train"])
    following, together = transitions(train, items=items), co_occurrence(train, items=items)
    found: dict[str, Scores] = {
        "transitions": lambda histories: np.stack([following.scores(h, decay=0.0) for h in histories]),
        "cooccurrence": lambda histories: np.stack([together.scores(h, decay=own.decay) for h in histories]),
    }
    if own.sasrec:
        valid = history_and_targets(data.users, "valid")
        pairs = zip(_rows(data.catalogue, valid["history"]), _rows(data.catalogue, valid["targets"]), strict=True)
        model = sasrec.train_sasrec(
            train, [(history, targets[0]) for history, targets in pairs], items=items, settings=own.sasrec,
            seed=settings.seed, device=models.choose_device(settings.device),
        )  # fmt: skip
        found["sasrec"] = lambda histories: sasrec.scores(model, histories).numpy()
    return found


def recommend(
    scores: Scores, histories: Sequence[Sequence[int]], *, k: int, popular: np.ndarray, name: str
) -> list[list[int]]:
    """Each history's `k` rows with the highest scores, without the history's own.

    Equal scores go by `popular` [rows], the training interactions of each row, then by row.
    """
    order = np.argsort(-popular, kind="stable")  # ranked in this order, ties need no rule of their own
    lists = []
    for start in Bar(range(0, len(histories), BATCH), desc=name, unit="batch"):
        part = histories[start : start + BATCH]
        scored = np.array(scores(part), dtype=float)
        for row, history in zip(scored, part, strict=True):
            row[list(history)] = -np.inf
            ranked = order[np.argsort(-row[order], kind="stable")[:k]]
            lists.append([item for item in ranked.tolist() if row[item] > -np.inf])
    return lists


def _rows(catalogue: Catalogue, sequences: Iterable[Sequence[int]]) -> list[list[int]]:
    return [catalogue.rows(items) for items in sequences]
