"""The paper's recipe, on raw files shaped like that of Beauty: the method's rules, written down a second time, plainly.

Ratings of at least 4, sorted by time; split at the 80th and 90th percentile of all times, where a time equal to one
counts as after it; users with fewer than two training interactions are dropped.
"""

import gzip
import json
import math
import random
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from own_interactions import csv, read, settings_of, splits_in
from specbeam.data import SPLITS, time_split
from specbeam.interactions import select
from specbeam.settings import OwnDataSettings

DAY = 86_400


def reviews(seed: int, count: int = 3000) -> list[dict]:
    """Reviews in no order of time: of whole days, as in the release, so that many fall on one; most users have few."""
    draw = random.Random(seed)
    users = [f"A{draw.randrange(10**12):012d}" for _ in range(count // 4)]
    items = [f"B{draw.randrange(10**9):09d}" for _ in range(count // 8)]
    pairs = {(draw.choice(users[: draw.randint(1, len(users))]), draw.choice(items)) for _ in range(count)}
    return [
        {
            "reviewerID": user,
            "asin": item,
            "reviewerName": 'J. "Jo" Ü',
            "helpful": [0, 1],
            "reviewText": "Fine.\nAgain.",
            "overall": draw.choice([1.0, 2.0, 3.0, 4.0, 4.0, 5.0, 5.0]),
            "unixReviewTime": 1_300_000_000 // DAY * DAY + DAY * draw.randrange(60),
        }
        for user, item in sorted(pairs, key=lambda pair: draw.random())
    ]


def by_the_method(found: list[dict]) -> dict[str, dict[str, list[str]]]:
    kept = sorted((each for each in found if each["overall"] >= 4), key=lambda each: each["unixReviewTime"])
    times = [each["unixReviewTime"] for each in kept]
    eighty, ninety = percentile(times, Fraction(8, 10)), percentile(times, Fraction(9, 10))
    splits = {split: {} for split in SPLITS}
    for each in kept:
        time = each["unixReviewTime"]
        split = "train" if time < eighty else "valid" if time < ninety else "test"
        splits[split].setdefault(each["reviewerID"], []).append(each["asin"])
    trained = {user for user, items in splits["train"].items() if len(items) >= 2}
    return {split: {user: own for user, own in users.items() if user in trained} for split, users in splits.items()}


def percentile(times: list[int], share: Fraction) -> Fraction:
    """Exact, linear between the two nearest."""
    rank = share * (len(times) - 1)
    below = math.floor(rank)
    above = times[min(below + 1, len(times) - 1)]
    return times[below] + (rank - below) * (above - times[below])


def paper(path) -> OwnDataSettings:
    return OwnDataSettings.model_validate(
        {"interactions": {"files": [str(path)], "format": "amazon-2014"}, "filters": {"rating": 4.0}}
    )


@pytest.mark.parametrize("seed", range(5))
def test_a_raw_file_of_reviews_is_split_by_the_rules_of_the_paper_exactly(tmp_path, seed):
    found = reviews(seed)
    path = tmp_path / "reviews_Beauty.json.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(each) + "\n" for each in found)

    report = read(tmp_path / "raw", paper(path))

    expected = by_the_method(found)
    assert splits_in(tmp_path / "raw") == expected
    assert report["rows"] == len(found)
    assert report["dropped"]["rating"] == sum(each["overall"] < 4 for each in found)
    assert report["kept"]["users"] == len(expected["train"])
    assert report["dropped"]["training"] > 100, "no user had a single training interaction"
    assert report["split"]["leaks_across_users"] == 0


def test_a_time_equal_to_a_percentile_counts_as_after_it(tmp_path):
    # Eleven times: the 80th percentile is the ninth, to which the eighth is equal; the 90th is the tenth.
    times = [1, 2, 3, 4, 5, 6, 7, 8, 8, 9, 10]
    found = [
        {"reviewerID": "u", "asin": f"i{n}", "overall": 4.0, "unixReviewTime": time} for n, time in enumerate(times)
    ]
    path = tmp_path / "reviews.json"
    path.write_text("".join(json.dumps(each) + "\n" for each in found))
    read(tmp_path / "raw", paper(path))
    assert splits_in(tmp_path / "raw") == by_the_method(found)
    assert splits_in(tmp_path / "raw") == {
        "train": {"u": [f"i{n}" for n in range(7)]},
        "valid": {"u": ["i7", "i8"]},
        "test": {"u": ["i9", "i10"]},
    }


def test_borders_lie_on_times_that_shares_hit_though_shares_add_up_to_a_little_more():
    assert 0.1 + 0.2 > 0.3
    found = time_split.borders(np.arange(11), [0.1, 0.2, 0.7])
    assert found.tolist() == [1, 3]
    assert time_split.parts(np.arange(5), found).tolist() == [0, 1, 1, 2, 2]


def test_leaks_are_counted_from_the_times_alone():
    table = pd.DataFrame({"user": [0, 0, 0, 1, 1, 1], "time": [1, 2, 3, 2, 3, 4]})
    # No earlier than the first validation, at 2: the other user's training at 2; no earlier than the first test, at 3:
    # the other user's validation at 3.
    assert select.leaks(table, np.array([0, 1, 2, 0, 1, 2])) == (0, 2)
    assert select.leaks(table, np.array([0, 1, 1, 1, 1, 1])) == (0, 0)
    assert select.leaks(table, np.array([1, 0, 2, 0, 1, 2]))[0] == 1


def test_a_split_that_leaks_stops_the_job(tmp_path, monkeypatch):
    path = csv(tmp_path / "orders.csv", [("u", f"i{n}", n, 5) for n in range(10)])
    monkeypatch.setattr(select, "parts", lambda times, borders: np.array([0, 0, 0, 1, 0, 0, 1, 1, 2, 2]))
    with pytest.raises(AssertionError, match="the split by global-time leaks: 1 rows of one user, 2 across users"):
        read(tmp_path / "raw", settings_of(path))
    assert not (tmp_path / "raw").exists()
