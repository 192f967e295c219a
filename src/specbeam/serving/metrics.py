"""What the service counts of itself, for Prometheus: raw counts and distributions, from which rates are derived."""

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import generate_latest as written

from specbeam.serving.batching import Batch

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Upper ends of the buckets of times."""
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
"""Upper ends of the buckets of batches."""


class Metrics:
    """The counts of one service, in a registry of their own."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """`waiting` says how many requests are in the queue."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        held = {"registry": self.registry}
        self._requests = Counter("specbeam_requests", "Requests for lists, by HTTP status.", ["code"], **held)
        self._lists = Counter("specbeam_lists", "Lists made.", **held)
        self._target_calls = Counter("specbeam_target_calls", "Passes of the target; one serves a batch.", **held)
        self._draft_calls = Counter("specbeam_draft_calls", "Passes of the draft; one serves a batch.", **held)
        self._rounds = Counter("specbeam_rounds", "Rounds of all lists: those of a list are its target calls.", **held)
        self._accepted = Counter("specbeam_accepted_levels", "Levels accepted in all rounds, without bonus.", **held)
        self._failed = Counter("specbeam_failed_batches", "Batches whose search failed.", **held)
        self._sizes = Histogram("specbeam_batch_size", "Requests searched at once.", buckets=SIZES, **held)
        times = {"buckets": SECONDS, **held}
        self._queued = Histogram("specbeam_queue_seconds", "Time of a request in the queue.", **times)
        self._searched = Histogram("specbeam_search_seconds", "Time of the search of a batch.", **times)
        self._whole = Histogram("specbeam_request_seconds", "Time of a request, whatever its answer.", **times)
        Gauge("specbeam_queue_length", "Requests in the queue.", **held).set_function(waiting)

    def request(self, code: int, seconds: float) -> None:
        """Count a request that was answered with `code`."""
        self._requests.labels(str(code)).inc()
        self._whole.observe(seconds)

    def batch(self, batch: Batch) -> None:
        """Count a batch, and what its lists took."""
        self._sizes.observe(len(batch.waited))
        self._searched.observe(batch.seconds)
        for seconds in batch.waited:
            self._queued.observe(seconds)
        if batch.lists is None:
            self._failed.inc()
            return
        self._lists.inc(len(batch.lists))
        # Where memory ran out, a batch was searched in parts, each with counters of its own.
        for counters in {id(made.counters): made.counters for made in batch.lists}.values():
            self._target_calls.inc(counters.target_calls)
            self._draft_calls.inc(counters.draft_calls)
        self._rounds.inc(sum(made.target_calls for made in batch.lists))
        self._accepted.inc(sum(sum(made.accepted) for made in batch.lists))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        return written(self.registry)
