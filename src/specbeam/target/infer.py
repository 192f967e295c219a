"""The target's own recommendations for all test users: lists, Recall@K and NDCG@K beside a popularity baseline."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from specbeam.data.popularity import popularity_ranking
from specbeam.data.sequences import history_and_targets
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.reader import Scorer
from specbeam.files import replacing
from specbeam.ranking import rate

BATCH = 16


def recommend(*, prepared: Path, model: Path, lists: Path, ranking: Path, settings: Any, threads: int) -> None:
    """Run the target's beam search of width K for every test user and every K of `measurement.beam_widths`.

    Writes `lists` (parquet: K, user, rank from 1, identifier row, score) and `ranking` (csv: recommender, K, users,
    recall, ndcg, and 95 % bootstrap intervals over users), atomically.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    target = inputs.scorer(model, settings.target.model.dtype, settings.decoding.normalise)
    asked = history_and_targets(inputs.data.users, "test")
    wanted = [inputs.data.catalogue.rows(targets) for targets in asked["targets"]]
    widths = settings.measurement.beam_widths
    popular = popularity_ranking(inputs.data.users, inputs.data.catalogue, max(widths))
    tables, ratings = [], []
    for width in widths:
        rows, scores = _search(inputs, target, list(asked["history"]), width)
        ratings.append(rate("target", width, rows, wanted, settings.seed))
        ratings.append(rate("popularity", width, [popular] * len(wanted), wanted, settings.seed))
        tables.append(_table(width, asked["user"], rows, scores))
    with replacing(lists) as temporary:
        pd.concat(tables, ignore_index=True).to_parquet(temporary, index=False)
    with replacing(ranking) as temporary:
        pd.DataFrame(ratings).to_csv(temporary, index=False)


def _table(width: int, users: Sequence[int], rows: list[list[int]], scores: list[list[float]]) -> pd.DataFrame:
    lists = pd.DataFrame({"K": width, "user": users, "identifier": rows, "score": scores})
    lists = lists.explode(["identifier", "score"], ignore_index=True)
    lists.insert(2, "rank", lists.groupby("user").cumcount() + 1)
    return lists.astype({"identifier": "int64", "score": "float64"})


def _search(
    inputs: SearchInputs, target: Scorer, histories: list[list[int]], width: int
) -> tuple[list[list[int]], list[list[float]]]:
    """Identifier rows and scores of every history's list; a row is -1 where no such item exists."""

    def work(_: np.ndarray, prompts: Tensor, mask: Tensor) -> list[tuple[list[int], list[float]]]:
        found = search(target, prompts, beam_width=width, mask=mask)
        return list(zip(inputs.rows(found), found.scores.tolist(), strict=True))

    made = inputs.in_batches(work, histories, BATCH, name=f"target, K = {width}")
    return [rows for rows, _ in made], [scores for _, scores in made]
