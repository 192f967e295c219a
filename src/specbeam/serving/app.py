"""The HTTP side: what is asked is checked, put into the queue, and answered in time or refused."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any

import torch
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictInt, WithJsonSchema
from pydantic_core import PydanticCustomError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from specbeam import __version__
from specbeam.decoding.support import check_search
from specbeam.errors import SpecbeamError, brief
from specbeam.recommendations import Recommendations
from specbeam.recommender import Recommender
from specbeam.serving.batching import Asked, Batcher, FullError, Limits, StoppedError
from specbeam.serving.metrics import CONTENT_TYPE, Metrics

PATH = "/recommend"
BODY_BYTES = 1024 * 1024
"""The largest body of a request: some 100,000 item ids."""
ID_LENGTH = 200
"""The longest item id that is text."""
SUBSETS = 8
"""How many `only` are kept ready, each as large as the catalogue: many requests name the same."""
GONE = 499
"""Status, by nginx's custom, of a request whose client did not wait for the answer."""
AGAIN = {"Retry-After": "1"}
_OFF = {"tracing": False, "metrics": False, "logs": False}


def _item_id(value: Any) -> Any:
    """An item id as JSON has it, of sane length, since messages name it."""
    number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63
    if number or (isinstance(value, str) and len(value) <= ID_LENGTH):
        return value
    raise PydanticCustomError("item_id", f"expected an item id: a number of 64 bits, or text of up to {ID_LENGTH}")


ItemId = Annotated[Any, BeforeValidator(_item_id), WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string"}]})]


class Wanted(BaseModel):
    """Body of a request for a list."""

    model_config = ConfigDict(extra="forbid")

    history: list[ItemId]
    """Item ids, oldest first."""
    k: StrictInt = Field(default=10, ge=1)
    """Items in the list."""
    only: list[ItemId] | None = None
    """Item ids that it may name, all others not."""
    without: list[ItemId] = []
    """Item ids that it may not name."""
    repeats: StrictBool = True
    """Whether it may name items of the history."""


class Made(BaseModel):
    """A list, best first."""

    items: list[int | str]
    scores: list[float]
    """Log-probability of each item's identifier."""
    target_calls: int
    """Passes of the target that the list took."""


class Service:
    """A recommender behind a queue, and the application that answers for it."""

    def __init__(
        self,
        recommender: Recommender,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        timeout: float = 10.0,
        most: int = 100,
        search: Callable[[list[Asked]], Sequence[Recommendations]] | None = None,
    ) -> None:
        """Requests wait `timeout` seconds for their lists, and may ask for `most` items.

        `search` makes the lists of requests of one K, if not `recommender` does.
        """
        self.recommender, self.timeout, self.most = recommender, timeout, most
        self._subset = lru_cache(SUBSETS)(recommender.subset)
        self.metrics = Metrics(lambda: self.batcher.waiting)
        self.batcher = Batcher(search or self._search, limits, observe=self.metrics.batch)
        self.taken = 0
        """Requests that were taken and are not answered yet."""
        self.app = self._application()

    def _search(self, batch: list[Asked]) -> list[Recommendations]:
        only = [None if asked.only is None else self._subset(asked.only) for asked in batch]
        filters = {"only": only, "without": [asked.without for asked in batch]}
        return self.recommender([asked.prompt for asked in batch], batch[0].k, **filters)

    def _application(self) -> FastAPI:
        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            with self.batcher:
                yield

        # No pages that would load scripts from elsewhere, and nothing sent to others.
        pages = {"docs_url": None, "redoc_url": None}
        app = FastAPI(
            title="specbeam", version=__version__, lifespan=lifespan, max_body_size=BODY_BYTES, telemetry=_OFF, **pages
        )
        app.add_middleware(_Counted, metrics=self.metrics)
        app.add_exception_handler(RequestValidationError, _invalid)
        app.post(PATH)(self.recommend)
        app.get("/health")(self.health)
        app.get("/ready")(self.ready)
        app.get("/metrics")(self.scrape)
        return app

    async def recommend(self, wanted: Wanted, request: Request) -> Made:
        """The list of a user who had the items of `history`, oldest first."""
        try:
            future = asyncio.wrap_future(self.batcher.submit(self._asked(wanted)))
        except SpecbeamError as error:
            raise HTTPException(422, str(error)) from error
        except FullError:
            raise HTTPException(503, "as many requests wait as may; ask again later", AGAIN) from None
        except StoppedError:
            raise HTTPException(503, "the service is stopping", AGAIN) from None
        made = await self._in_time(future, request)
        return Made(items=made.items, scores=made.scores, target_calls=made.target_calls)

    async def health(self) -> dict[str, str]:
        """Whether requests can be searched at all; 500 means: start the service again."""
        if not (self.batcher.alive or self.batcher.stopped):
            raise HTTPException(500, "the thread that searches has ended")
        return {"status": "alive"}

    async def ready(self) -> dict[str, str]:
        """Whether new requests are taken."""
        if self.batcher.stopped:
            raise HTTPException(503, "the service is stopping", AGAIN)
        return {"status": "ready"}

    async def scrape(self) -> Response:
        """The metrics, for Prometheus."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    def _asked(self, wanted: Wanted) -> Asked:
        """What is put into the queue; SpecbeamError for what would fail, and all requests of its batch with it."""
        if wanted.k > self.most:
            raise SpecbeamError(f"k: expected at most {self.most} items, got {brief(str(wanted.k), 40)}")
        prompt = self.recommender.prompt(wanted.history)
        if not prompt:
            raise SpecbeamError("history: expected at least one item, got none")
        target, drafter, items = self.recommender.target, self.recommender.drafter, self.recommender.items
        shape = torch.empty((1, len(prompt)), dtype=torch.int64, device=target.model.device)
        check_search(target.model, shape, target.trie, wanted.k)
        if drafter is not None:
            drafter.check(shape, target.trie, wanted.k)
        only = None if wanted.only is None else self._known("only", wanted.only)
        own = frozenset() if wanted.repeats else frozenset(item for item in wanted.history if item in items)
        return Asked(prompt, wanted.k, only, self._known("without", wanted.without) | own)

    def _known(self, name: str, some: list[Any]) -> frozenset[Any]:
        """Those of `some` items that a list could name; a shop has others, too. SpecbeamError if it is none of them."""
        known = frozenset(item for item in some if item in self.recommender.items)
        if some and not known:
            raise SpecbeamError(
                f"{name}: expected items of the catalogue, none of these {len(some)} is, such as {some[0]!r:.200}"
            )
        return known

    async def _in_time(self, future: "asyncio.Future[Recommendations]", request: Request) -> Recommendations:
        """The list, unless time is up or the client is gone: then it is not searched any more."""
        self.taken += 1
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait({future, gone}, timeout=self.timeout, return_when=asyncio.FIRST_COMPLETED)
            if future.done():
                return future.result()
        except Exception as error:  # of the search, which has logged it
            raise HTTPException(500, "the search failed; the log of the service says why") from error
        finally:
            self.taken -= 1
            future.cancel()
            left = gone.done()
            gone.cancel()
        if left:
            raise HTTPException(GONE, "the client is gone")
        raise HTTPException(504, f"no list within {self.timeout:g} seconds", AGAIN)


class _Counted:
    """Counts requests for lists by the status of their answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != PATH:
            await self.app(scope, receive, send)
            return
        begun, code = time.monotonic(), 500

        async def noting(message: Message) -> None:
            nonlocal code
            code = message.get("status", code)
            await send(message)

        try:
            await self.app(scope, receive, noting)
        finally:
            self.metrics.request(code, time.monotonic() - begun)


async def _disconnected(request: Request) -> None:
    """Return when the client is gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """What is wrong with a request, place by place; of what it holds, only names of keys are repeated, shortened."""
    assert isinstance(error, RequestValidationError)
    errors = error.errors()
    if errors[0]["loc"] == ("body",):
        return JSONResponse({"detail": "body: expected a JSON object, sent as application/json"}, 422)
    found = [f"{'.'.join(map(str, each['loc']))[:ID_LENGTH]}: {each['msg']}" for each in errors]
    more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
    return JSONResponse({"detail": "; ".join(found[:3]) + more}, 422)
