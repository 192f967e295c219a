"""Requests are searched in batches of one K, in their order, by one thread; what cannot be served is refused."""

from collections.abc import Iterator, Sequence
from threading import Event, current_thread

import pytest

from serving_for_tests import SOON
from specbeam.decoding.counters import Counters
from specbeam.errors import SpecbeamError
from specbeam.recommendations import Recommendations
from specbeam.serving.batching import Asked, Batch, Batcher, FullError, Limits, StoppedError

HOUR = 3000.0  # a wait that a test would not live to see


def made(asked: Asked) -> Recommendations:
    return Recommendations(asked.prompt * asked.k, [0.0] * asked.k, [(1,)] * asked.k, [0], Counters())


class Searcher:
    """Remembers its batches, and searches none before `gate` is opened."""

    def __init__(self) -> None:
        self.batches: list[list[tuple[int, int]]] = []
        self.threads: set[str] = set()
        self.gate, self.begun = Event(), Event()

    def __call__(self, batch: list[Asked]) -> Sequence[Recommendations]:
        self.batches.append([(asked.prompt[0], asked.k) for asked in batch])
        self.threads.add(current_thread().name)
        self.begun.set()
        assert self.gate.wait(SOON)
        if batch[0].prompt[0] < 0:
            raise ValueError("broken")
        return [made(asked) for asked in batch]


@pytest.fixture
def searcher() -> Iterator[Searcher]:
    made = Searcher()
    yield made
    made.gate.set()


def submit_behind_a_running_search(batcher: Batcher, searcher: Searcher, *asked: tuple[int, int]) -> list:
    """The futures of requests (prompt, k) that come while a search runs, which ends when the gate opens."""
    first = batcher.submit(Asked([0], 1))
    assert searcher.begun.wait(SOON)
    return [first, *(batcher.submit(Asked([prompt], k)) for prompt, k in asked)]


def test_what_comes_during_a_search_is_searched_next_at_most_a_batch_at_once(searcher: Searcher) -> None:
    with Batcher(searcher, Limits(batch_size=2, wait=0)) as batcher:
        futures = submit_behind_a_running_search(batcher, searcher, (1, 3), (2, 3), (3, 3))
        assert batcher.waiting == 3
        searcher.gate.set()
        assert [future.result(SOON).items for future in futures] == [[0], [1] * 3, [2] * 3, [3] * 3]
    assert searcher.batches == [[(0, 1)], [(1, 3), (2, 3)], [(3, 3)]]
    assert searcher.threads == {"search"}


def test_requests_of_different_k_are_apart_and_the_oldest_is_first(searcher: Searcher) -> None:
    with Batcher(searcher, Limits(batch_size=3, wait=0)) as batcher:
        futures = submit_behind_a_running_search(batcher, searcher, (1, 5), (2, 9), (3, 5), (4, 9), (5, 5))
        searcher.gate.set()
        assert [future.result(SOON).items[0] for future in futures] == [0, 1, 2, 3, 4, 5]
    assert searcher.batches[1:] == [[(1, 5), (3, 5), (5, 5)], [(2, 9), (4, 9)]]


def test_a_full_batch_waits_for_nobody_and_a_lone_request_not_for_ever(searcher: Searcher) -> None:
    searcher.gate.set()
    with Batcher(searcher, Limits(batch_size=2, wait=HOUR)) as batcher:
        pair = [batcher.submit(Asked([prompt], 4)) for prompt in (1, 2)]
        assert [future.result(SOON).items for future in pair] == [[1] * 4, [2] * 4]
    with Batcher(searcher, Limits(batch_size=2, wait=0.01)) as batcher:
        assert batcher.submit(Asked([3], 1)).result(SOON).items == [3]
    assert searcher.batches == [[(1, 4), (2, 4)], [(3, 1)]]


def test_more_requests_than_may_wait_are_refused_until_there_is_room(searcher: Searcher) -> None:
    with Batcher(searcher, Limits(batch_size=2, wait=0, queue=2)) as batcher:
        _, first, _ = submit_behind_a_running_search(batcher, searcher, (1, 1), (2, 1))
        with pytest.raises(FullError):
            batcher.submit(Asked([3], 1))
        first.cancel()
        batcher.submit(Asked([4], 1))
        searcher.gate.set()
    assert searcher.batches[1:] == [[(2, 1), (4, 1)]]


def test_what_nobody_waits_for_any_more_is_not_searched(searcher: Searcher) -> None:
    with Batcher(searcher, Limits(wait=0)) as batcher:
        _, *cancelled = submit_behind_a_running_search(batcher, searcher, (1, 1), (2, 1))
        assert [future.cancel() for future in cancelled] == [True, True]
        searcher.gate.set()
    assert searcher.batches == [[(0, 1)]]


def test_a_search_that_has_begun_ends_whoever_waits_for_it(searcher: Searcher) -> None:
    with Batcher(searcher, Limits(wait=0)) as batcher:
        first, second = submit_behind_a_running_search(batcher, searcher, (1, 1))
        assert not first.cancel()
        searcher.gate.set()
        assert [future.result(SOON).items for future in (first, second)] == [[0], [1]]


def test_a_search_that_fails_is_the_answer_of_its_requests_alone(
    searcher: Searcher, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[Batch] = []
    with Batcher(searcher, Limits(batch_size=2, wait=0), observe=seen.append) as batcher:
        _, *broken, last = submit_behind_a_running_search(batcher, searcher, (-1, 1), (-2, 1), (3, 1))
        searcher.gate.set()
        for future in broken:
            with pytest.raises(ValueError, match="broken"):
                future.result(SOON)
        assert last.result(SOON).items == [3]
        assert batcher.alive
    assert [(len(batch.waited), batch.lists is None) for batch in seen] == [(1, False), (2, True), (1, False)]
    assert "the search of 2 request(s) failed" in caplog.text


def test_a_search_that_makes_too_few_lists_fails_as_a_whole() -> None:
    with Batcher(lambda batch: [made(batch[0])], Limits(batch_size=2, wait=HOUR)) as batcher:
        pair = [batcher.submit(Asked([prompt], 1)) for prompt in (1, 2)]
        assert all(isinstance(future.exception(SOON), ValueError) for future in pair)


def test_in_the_end_all_that_waits_is_searched_at_once_and_no_more_is_taken(searcher: Searcher) -> None:
    searcher.gate.set()
    with Batcher(searcher, Limits(batch_size=8, wait=HOUR)) as batcher:
        futures = [batcher.submit(Asked([prompt], 1)) for prompt in (1, 2, 3)]
    assert [future.result(0).items for future in futures] == [[1], [2], [3]]
    assert not batcher.alive
    with pytest.raises(StoppedError):
        batcher.submit(Asked([4], 1))


def test_an_observer_hears_how_long_each_waited_and_what_was_made(searcher: Searcher) -> None:
    seen: list[Batch] = []
    with Batcher(searcher, Limits(wait=0), observe=seen.append) as batcher:
        submit_behind_a_running_search(batcher, searcher, (1, 1), (2, 1))
        searcher.gate.set()
    assert [made.items for made in seen[1].lists or []] == [[1], [2]]
    older, newer = seen[1].waited
    assert older >= newer >= 0


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected 1 or more requests, got 0"),
        ({"queue": 0}, "queue: expected 1 or more requests, got 0"),
        ({"wait": -1.0}, "wait: expected seconds from 0 to an hour, got -1.0"),
        ({"wait": float("nan")}, "wait: expected seconds from 0 to an hour, got nan"),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict, message: str) -> None:
    with pytest.raises(SpecbeamError, match=message):
        Limits(**limits)
