"""How the numbers of one data set moved from a run A to a run B, paired over the users that both measured."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from specbeam.figures import accepted, speedup
from specbeam.figures.bootstrap import by_seed, difference_of_ratios, ratio_of_sums
from specbeam.figures.recall import RANKING
from specbeam.figures.tables import read_csv

COLUMNS = ["metric", *accepted.KEY, "users", "A", "B", "change", "low", "high"]
METRICS = {
    "AS": ("accepted", "rounds"),
    "calls": ("target_calls", None),
    "recall": ("recall", None),
    "ndcg": ("ndcg", None),
}
"""Columns of evaluation records whose ratio of sums, or mean, is compared."""


def acceptance(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Every metric of METRICS in both runs' evaluation records, a row a (metric, objective, plan, verification, K, N).

    `A` and `B` are over the `users` and the seeds of drafts that both have, `change` is B - A with its paired 95 %
    interval `low` to `high`. Without common users or seeds each is over its own and there is no interval; what only one
    run measured has only that one's value. The target's own search stands there once, without objective.
    """
    parts = [dict(list(_evaluated(frame).groupby(accepted.KEY))) for frame in (a, b)]
    rows = []
    for names in sorted(parts[0].keys() | parts[1].keys()):
        both = _common([part[names] for part in parts if names in part], ["draft_seed", "user"])
        for metric, (value, over) in METRICS.items():
            ratios = [(by_seed(part, value), by_seed(part, over) if over else 1.0) for part in both]
            if not over or all(rounds.any() for _, rounds in ratios):
                rows.append(_row(metric, names, ratios, there=[names in part for part in parts], paired=_paired(both)))
    return pd.DataFrame(rows, columns=COLUMNS)


def speedups(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Speedups over both baselines in both runs' timing records, as `acceptance` gives its metrics.

    The interval resamples users; that times vary from one run to the next on the same machine is not in it.
    """
    medians = [
        frame[frame["timed"]].groupby(["K", *speedup.METHOD, "user"])["seconds"].median().reset_index()
        for frame in (a, b)
    ]
    parts = [dict(list(frame.groupby(["K", *speedup.METHOD]))) for frame in medians]
    rows = []
    for key in sorted(parts[0].keys() | parts[1].keys()):
        for baseline in ("plain", "generate"):
            reference = (key[0], baseline, "", "", 0)
            having = [part for part in parts if key in part and reference in part]
            if key[1] in ("generate", baseline) or not having:
                continue
            frames = [part[key].merge(part[reference], on="user", suffixes=("", "_baseline")) for part in having]
            both = _common(frames, ["user"])
            ratios = [(frame["seconds_baseline"].to_numpy(), frame["seconds"].to_numpy()) for frame in both]
            names = (key[2], "flat" if key[2] else "", key[3], key[0], key[4])
            there = [any(part is other for other in having) for part in parts]
            rows.append(_row(f"vs {baseline}", names, ratios, there=there, paired=_paired(both)))
    return pd.DataFrame(rows, columns=COLUMNS)


def rankings(a: Path, b: Path) -> pd.DataFrame:
    """Recall and NDCG over all test users of target and baselines, from both data sets' folders; without intervals."""
    tables = []
    for folder in (a, b):
        found = [path for name in ("target", "baselines") if (path := folder / name / "ranking.csv").is_file()]
        frames = [read_csv(path, RANKING, missing="expected a ranking here") for path in found]
        long = pd.concat(frames) if frames else pd.DataFrame(columns=list(RANKING))
        long = long.melt(["recommender", "K"], ["recall", "ndcg"], var_name="metric")
        tables.append(long.set_index(["metric", "recommender", "K"])["value"].astype(float))
    moved = pd.concat(tables, axis=1, keys=["A", "B"]).reset_index().rename(columns={"recommender": "objective"})
    moved = moved.assign(plan="", verification="all users", N=0, change=moved["B"] - moved["A"])
    return moved.reindex(columns=COLUMNS)


def strict_lists(frame: pd.DataFrame | None) -> tuple[int, int]:
    """How many strict lists are the target's own, and how many there are."""
    if frame is None:
        return 0, 0
    same = frame.loc[frame["verification"] == "strict", "same_as_target"]
    return int(same.sum()), len(same)


def _evaluated(frame: pd.DataFrame) -> pd.DataFrame:
    own = frame[frame["verification"] == "target"].drop_duplicates(["draft_seed", "K", "user"])
    return pd.concat([frame[frame["verification"] != "target"], own.assign(objective="", plan="")])


def _common(frames: list[pd.DataFrame], columns: list[str]) -> list[pd.DataFrame]:
    """The frames limited to the values of `columns` that all have, sorted; where none is shared, as they are."""
    for column in columns:
        shared = set.intersection(*(set(frame[column]) for frame in frames))
        if not shared:
            return frames
        frames = [frame[frame[column].isin(shared)] for frame in frames]
    return [frame.sort_values(columns) for frame in frames]


def _paired(frames: list[pd.DataFrame]) -> bool:
    columns = [name for name in ("draft_seed", "user") if name in frames[0]]
    keys: Iterator[pd.DataFrame] = (frame[columns].reset_index(drop=True) for frame in frames)
    first = next(keys)
    return len(frames) == 2 and all(first.equals(other) for other in keys)


def _row(metric: str, names: tuple, ratios: list, *, there: list[bool], paired: bool) -> dict:
    row = dict(zip(COLUMNS[1 : len(accepted.KEY) + 1], names, strict=True)) | {"metric": metric}
    values = iter(ratio_of_sums(*ratio)[0] for ratio in ratios)
    row |= {name: next(values) for name, has in zip("AB", there, strict=True) if has}
    if all(there):
        row["change"] = row["B"] - row["A"]
    if paired:
        _, row["low"], row["high"] = difference_of_ratios(*ratios)
        row["users"] = ratios[0][0].shape[-1]
    return row
