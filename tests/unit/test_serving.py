"""The service as its clients see it: the lists of the recommender, exact refusals, and counts for Prometheus."""

import asyncio
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from models_for_tests import random_catalogue, tiny_model
from serving_for_tests import SOON, until
from specbeam import Recommender
from specbeam.serving.app import BODY_BYTES, Service
from specbeam.serving.batching import Asked, Limits

CATALOGUE = {f"item-{place}": tokens for place, tokens in enumerate(random_catalogue(1, items=60).tolist())}
HISTORIES = [[f"item-{(7 * user + place) % 60}" for place in range(1 + user % 5)] for user in range(12)]


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return Recommender(tiny_model(seed=1), CATALOGUE, draft=tiny_model(seed=2, hidden=16, layers=1, context=64))


@pytest.fixture
def client(recommender: Recommender) -> Iterator[TestClient]:
    with TestClient(Service(recommender, limits=Limits(batch_size=4, wait=0), most=20).app) as client:
        yield client


def ask(client: TestClient, history: Any, k: Any = 5, **more: Any) -> httpx.Response:
    return client.post("/recommend", json={"history": history, "k": k, **more})


def sample(client: TestClient, name: str, **labels: str) -> float:
    families = text_string_to_metric_families(client.get("/metrics").text)
    samples = [each for family in families for each in family.samples]
    (found,) = [each.value for each in samples if each.name == name and each.labels == labels]
    return found


def test_lists_are_those_of_the_recommender_for_each_history_alone(
    client: TestClient, recommender: Recommender
) -> None:
    with ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda at: ask(client, HISTORIES[at], 3 + at % 2).json(), range(len(HISTORIES))))
    for at, answer in enumerate(answers):
        (alone,) = recommender.for_histories([HISTORIES[at]], k=3 + at % 2)
        assert answer["items"] == alone.items
        assert answer["scores"] == pytest.approx(alone.scores, abs=1e-5)  # passes of another shape round otherwise
        assert 1 <= answer["target_calls"] <= 4  # one level a call at least


def test_requests_of_one_batch_have_filters_of_their_own(recommender: Recommender) -> None:
    best, second, *_ = recommender.for_histories([HISTORIES[4]], k=6)[0].items
    others = [item for item in CATALOGUE if item != best]
    filters = [{"only": others}, {"without": [second]}, {"only": others, "without": [second]}, {}, {"repeats": False}]
    with TestClient(Service(recommender, limits=Limits(batch_size=5, wait=60)).app) as client:
        with ThreadPoolExecutor(5) as callers:
            answers = list(callers.map(lambda filter: ask(client, HISTORIES[4], 6, **filter).json(), filters))
        assert sample(client, "specbeam_batch_size_count") == 1
    for filter, answer in zip(filters, answers, strict=True):
        (alone,) = recommender.for_histories([HISTORIES[4]], k=6, **filter)
        assert answer["items"] == alone.items
    assert len({tuple(answer["items"]) for answer in answers}) >= 4
    assert not set(answers[4]["items"]) & set(HISTORIES[4])


def test_items_that_no_list_could_name_are_passed_over_in_filters(client: TestClient) -> None:
    known = {"only": ["item-3", "item-4", "item-5"], "without": ["item-4"]}
    answers = [
        ask(client, HISTORIES[0], **{name: [*ids, *more] for name, ids in known.items()}) for more in ([], ["hat"])
    ]
    assert sorted(answers[0].json()["items"]) == ["item-3", "item-5"]
    assert answers[1].json() == answers[0].json()


def test_a_list_of_which_nothing_is_left_is_empty(client: TestClient) -> None:
    for filter in ({"only": ["item-3"], "without": ["item-3"]}, {"only": []}):
        answer = ask(client, HISTORIES[0], **filter)
        assert (answer.status_code, answer.json()["items"], answer.json()["scores"]) == (200, [], [])


def test_a_list_has_ten_items_unless_told(client: TestClient) -> None:
    assert len(client.post("/recommend", json={"history": ["item-1"]}).json()["items"]) == 10


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"history": ["item-99"]}, "item 'item-99': expected an item of the catalogue, it has no identifier"),
        (
            {"history": ["item-1"], "only": ["hat", "cap"]},
            "only: expected items of the catalogue, none of these 2 is, such as 'hat'",
        ),
        ({"history": ["item-1"], "without": ["hat"]}, "without: expected items of the catalogue, none of these 1 is"),
        ({"history": ["item-1"], "without": "item-2"}, "body.without: Input should be a valid list"),
        ({"history": ["item-1"], "repeats": 0}, "body.repeats: Input should be a valid boolean"),
        ({"history": ["item-1"], "k": 21}, "k: expected at most 20 items, got 21"),
        ({"history": ["item-1"], "k": 0}, "body.k: Input should be greater than or equal to 1"),
        ({"history": ["item-1"], "k": "5"}, "body.k: Input should be a valid integer"),
        ({"k": 5}, "body.history: Field required"),
        ({"history": [1.5]}, "body.history.0: expected an item id: a number of 64 bits, or text of up to 200"),
        ({"history": [True]}, "body.history.0: expected an item id: a number of 64 bits, or text of up to 200"),
        ({"history": ["x" * 201]}, "body.history.0: expected an item id: a number of 64 bits, or text of up to 200"),
        ({"history": [2**63]}, "body.history.0: expected an item id: a number of 64 bits, or text of up to 200"),
        ({"history": ["item-1"], "K": 5}, "body.K: Extra inputs are not permitted"),
        ({"history": []}, "history: expected at least one item"),
        ({"history": ["item-1"] * 20}, "exceed the model's context of 64"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_what_is_wrong(
    client: TestClient, body: dict[str, Any], message: str
) -> None:
    answer = client.post("/recommend", json=body)
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_a_history_beyond_the_targets_context_is_refused_and_fails_no_batch() -> None:
    short = Recommender(tiny_model(seed=1, context=64), CATALOGUE)
    with TestClient(Service(short).app) as client:
        refused = ask(client, ["item-1"] * 20)
        assert (refused.status_code, "exceed the model's context of 64" in refused.json()["detail"]) == (422, True)
        assert sample(client, "specbeam_failed_batches_total") == 0


def test_many_mistakes_are_counted_not_listed_and_long_ones_cut(client: TestClient) -> None:
    detail = ask(client, [None] * 1000).json()["detail"]
    assert detail.endswith("; and 997 more")
    assert len(detail) < 400
    for wrong in ({"x" * 50_000: 1}, {"k": 10**4000}, {"only": ["\U000e0001" * 200]}):
        assert len(ask(client, ["item-1"], **wrong).json()["detail"]) < 400


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["item-1", "\ud800"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.just("\ud800"), inner, max_size=3),
    max_leaves=6,
)
BODIES = JSON | st.fixed_dictionaries(
    {"history": JSON | st.lists(st.sampled_from(list(CATALOGUE)), max_size=3)},
    optional={"k": JSON, "only": JSON, "without": JSON, "repeats": JSON, "\ud800": JSON},
)


def test_whatever_is_sent_is_answered_or_refused_in_few_words(recommender: Recommender) -> None:
    with TestClient(Service(recommender, limits=Limits(wait=0)).app) as client:

        @settings(max_examples=150)
        @given(BODIES)
        def holds(body: Any) -> None:
            headers = {"Content-Type": "application/json"}
            answer = client.post("/recommend", content=json.dumps(body).encode(), headers=headers)
            assert answer.status_code in (200, 422), answer.text
            assert answer.status_code == 200 or 0 < len(answer.json()["detail"]) < 1000

        holds()


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 422), (b"[" * 60_000, 400), (b'{"history": [' + b"9" * 5000 + b"]}", 400), (b"", 422), (b"null", 422)],
)
def test_bodies_that_are_no_json_are_refused(client: TestClient, content: bytes, status: int) -> None:
    answer = client.post("/recommend", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert len(answer.text) < 300


def test_json_has_to_be_called_so(client: TestClient) -> None:
    answer = client.post("/recommend", content=b'{"history": ["item-1"]}', headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.json()["detail"]) == (
        422,
        "body: expected a JSON object, sent as application/json",
    )


@pytest.mark.parametrize("declared", [True, False])
def test_a_body_that_is_too_large_is_refused_before_it_is_read(client: TestClient, declared: bool) -> None:
    content = b'{"history": ["' + b"x" * BODY_BYTES + b'"]}'
    body = content if declared else iter([content])
    answer = client.post("/recommend", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 413


def test_only_what_there_is_can_be_asked_for(client: TestClient) -> None:
    assert client.get("/recommend").status_code == 405
    assert [client.get(path).status_code for path in ("/docs", "/redoc", "/")] == [404, 404, 404]
    assert set(client.get("/openapi.json").json()["paths"]) == {"/recommend", "/health", "/ready", "/metrics"}


def test_it_is_alive_and_ready_until_it_stops(recommender: Recommender) -> None:
    service = Service(recommender)
    with TestClient(service.app) as client:
        assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 200]
        service.batcher.stop()
        assert [client.get(path).status_code for path in ("/health", "/ready")] == [200, 503]
        refused = ask(client, ["item-1"])
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert refused.json() == {"detail": "the service is stopping"}
    assert TestClient(Service(recommender).app).get("/health").status_code == 500  # no thread searches


def test_metrics_count_requests_batches_and_what_lists_took(client: TestClient, recommender: Recommender) -> None:
    lists = recommender.for_histories(HISTORIES[:3], k=5)
    for history in HISTORIES[:3]:
        ask(client, history)
    ask(client, ["nothing"])
    assert sample(client, "specbeam_requests_total", code="200") == 3
    assert sample(client, "specbeam_requests_total", code="422") == 1
    assert sample(client, "specbeam_request_seconds_count") == 4
    for name in ("specbeam_batch_size_sum", "specbeam_batch_size_count", "specbeam_queue_seconds_count"):
        assert sample(client, name) == 3
    assert sample(client, "specbeam_lists_total") == 3
    assert sample(client, "specbeam_queue_length") == 0
    assert sample(client, "specbeam_target_calls_total") == sum(made.target_calls for made in lists)
    assert sample(client, "specbeam_rounds_total") == sum(made.target_calls for made in lists)
    assert sample(client, "specbeam_accepted_levels_total") == sum(sum(made.accepted) for made in lists)


class Slow:
    """A search that begins, and ends when the gate opens."""

    def __init__(self, recommender: Recommender, fails: bool = False) -> None:
        self.recommender, self.fails = recommender, fails
        self.begun, self.gate = Event(), Event()
        self.searched: list[int] = []

    def __call__(self, batch: list[Asked]) -> Any:
        self.searched.append(len(batch))
        self.begun.set()
        assert self.gate.wait(SOON)
        if self.fails:
            raise RuntimeError("a secret of the machine")
        return self.recommender([asked.prompt for asked in batch], batch[0].k)


def test_a_full_queue_says_when_to_come_again(recommender: Recommender) -> None:
    slow = Slow(recommender)
    service = Service(recommender, limits=Limits(batch_size=1, wait=0, queue=1), search=slow)
    with TestClient(service.app) as client, ThreadPoolExecutor(2) as callers:
        first = callers.submit(ask, client, HISTORIES[0])
        assert slow.begun.wait(SOON)
        second = callers.submit(ask, client, HISTORIES[1])
        until(lambda: service.batcher.waiting == 1)
        refused = ask(client, HISTORIES[2])
        slow.gate.set()
        assert [each.result(SOON).status_code for each in (first, second)] == [200, 200]
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
        assert "as many requests wait as may" in refused.json()["detail"]
        assert sample(client, "specbeam_requests_total", code="503") == 1


def test_what_takes_too_long_is_given_up_and_not_searched(recommender: Recommender) -> None:
    slow = Slow(recommender)
    service = Service(recommender, limits=Limits(batch_size=1, wait=0), timeout=0.2, search=slow)
    with TestClient(service.app) as client, ThreadPoolExecutor(3) as callers:
        answers = list(callers.map(lambda history: ask(client, history), HISTORIES[:3]))
        assert [answer.status_code for answer in answers] == [504] * 3
        assert answers[0].json() == {"detail": "no list within 0.2 seconds"}
        slow.gate.set()
    assert slow.searched == [1]


def test_a_failed_search_is_a_500_that_tells_nothing_and_the_next_request_is_answered(
    recommender: Recommender, caplog: pytest.LogCaptureFixture
) -> None:
    slow = Slow(recommender, fails=True)
    slow.gate.set()
    with TestClient(Service(recommender, search=slow).app) as client:
        failed = ask(client, HISTORIES[0])
        assert failed.status_code == 500
        assert failed.json() == {"detail": "the search failed; the log of the service says why"}
        assert "a secret of the machine" in caplog.text
        slow.fails = False
        assert ask(client, HISTORIES[0]).status_code == 200
        assert sample(client, "specbeam_failed_batches_total") == 1


def test_a_client_that_is_gone_is_not_searched_for(recommender: Recommender) -> None:
    slow = Slow(recommender)
    service = Service(recommender, limits=Limits(batch_size=1, wait=0), search=slow)
    body = b'{"history": ["item-1"]}'
    scope = {
        "type": "http", "method": "POST", "path": "/recommend", "query_string": b"", "http_version": "1.1",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip

    async def call(gone: asyncio.Event) -> int:
        """The status of one request whose client leaves when it is told to."""
        sent, unread = [], [{"type": "http.request", "body": body}]

        async def receive() -> dict[str, Any]:
            if unread:
                return unread.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await service.app(dict(scope), receive, send)
        return sent[0]["status"]

    async def scenario() -> list[int]:
        stays, leaves = asyncio.Event(), asyncio.Event()
        async with service.app.router.lifespan_context(service.app):
            first = asyncio.ensure_future(call(stays))
            await asyncio.to_thread(slow.begun.wait, SOON)
            second = asyncio.ensure_future(call(leaves))
            while not service.batcher.waiting:
                await asyncio.sleep(0.001)
            leaves.set()
            left = await second
            slow.gate.set()
            return [await first, left]

    assert asyncio.run(scenario()) == [200, 499]
    assert slow.searched == [1]
