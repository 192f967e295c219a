"""`specbeam bench-serve`: one service, the lists made in several ways, under the same requests of concurrent callers.

Each way has a service of its own on loopback, all in one process; the callers are in another. In each round all ways
get the same requests, one way after the other, each time in another order.
"""

import copy
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import metadata
from multiprocessing import get_context

import numpy as np
import pandas as pd

from specbeam.decoding.counters import Counters
from specbeam.decoding.inputs import left_padded
from specbeam.errors import SpecbeamError
from specbeam.measurement import callers
from specbeam.measurement.bench_methods import plan_name
from specbeam.measurement.peers import allowed_tokens, generate_batch
from specbeam.progress import Bar
from specbeam.provenance import commit_of, environment
from specbeam.recommendations import Recommendations, columns
from specbeam.recommender import Recommender
from specbeam.serving.app import PATH, Service
from specbeam.serving.batching import Asked, Limits
from specbeam.serving.server import in_background

GENERATE, PLAIN = "transformers generate", "plain beam search"
Maker = Callable[[list[Asked]], Sequence[Recommendations]]


@dataclass(frozen=True)
class Load:
    """What is asked. Raises SpecbeamError for what cannot be."""

    requests: int = 200
    """For each way."""
    callers: int = 8
    """Requests under way at a time."""
    k: int = 10
    rounds: int = 5
    """Parts that the requests come in, one of each way after the other."""

    def __post_init__(self) -> None:
        if self.requests < self.rounds * self.callers:
            raise SpecbeamError(
                f"--requests {self.requests}: expected {self.rounds * self.callers} at least, so that each of "
                f"{self.callers} callers has one in each of {self.rounds} rounds"
            )


@dataclass
class Way:
    """A way to make lists, with what is measured of it."""

    name: str
    make: Maker
    batches: list[int] = field(default_factory=list)
    """Requests searched at once."""
    seconds: float = 0.0
    replies: list[callers.Reply] = field(default_factory=list)

    def search(self, batch: list[Asked]) -> Sequence[Recommendations]:
        """The lists of a batch."""
        self.batches.append(len(batch))
        return self.make(batch)


def load_test(
    recommender: Recommender,
    *,
    histories: Sequence[Sequence[int]],
    examples: Sequence[Sequence[int]],
    load: Load,
    limits: Limits,
) -> pd.DataFrame:
    """Ask every way for lists after `histories`, over and over again if they are few; one row a way.

    What to draft is chosen on `examples`. Columns: way, lists_per_second, vs_generate and vs_plain (its ratios to
    theirs), p50_ms and p99_ms (of answered requests, from sending to the whole answer), batch (requests searched at
    once, mean), target_calls (of a list, mean), errors (requests without a list), same_lists (how many lists have the
    items of plain beam search, in its order). Raises SpecbeamError where a way answers nothing.
    """
    compared = ways(recommender, examples, load, limits)
    asked = [{"history": list(histories[at % len(histories)]), "k": load.k} for at in range(load.requests)]
    order = random.Random(0)
    with ExitStack() as stack:
        callers_apart = stack.enter_context(ProcessPoolExecutor(1, mp_context=get_context("spawn")))
        urls = {}
        for way in compared:
            service = Service(recommender, limits=limits, most=load.k, timeout=60, search=way.search)
            urls[way.name] = stack.enter_context(in_background(service)) + PATH
            warm_up = asked[: 4 * load.callers]
            callers_apart.submit(callers.ask, urls[way.name], warm_up, load.callers).result()
            way.batches.clear()
        for part in Bar(np.array_split(np.array(asked), load.rounds), desc="load test", unit="round"):
            for way in order.sample(compared, len(compared)):
                seconds, replies = callers_apart.submit(
                    callers.ask, urls[way.name], part.tolist(), load.callers
                ).result()
                way.seconds += seconds
                way.replies += replies
    return _table(compared)


def ways(recommender: Recommender, examples: Sequence[Sequence[int]], load: Load, limits: Limits) -> list[Way]:
    """generate, plain beam search, and with a draft: the flat tree, and what the planner chooses for this load."""
    alone, planned = copy.copy(recommender), copy.copy(recommender)
    alone.drafter, planned.plans = None, {}
    found = [Way(GENERATE, peer(recommender)), Way(PLAIN, _by(alone))]
    if recommender.drafter is None:
        return found
    plan = planned.tune(histories=examples, k=load.k, batch_size=min(load.callers, limits.batch_size)).plan
    return [*found, Way("strict, flat", _by(recommender)), Way(f"strict, planned {plan_name(plan)}", _by(planned))]


def _by(recommender: Recommender) -> Maker:
    return lambda batch: recommender([asked.prompt for asked in batch], batch[0].k)


def peer(recommender: Recommender) -> Maker:
    """transformers' `generate` on the recommender's target, constrained by its callback.

    Raises SpecbeamError for identifiers of different lengths, which that leaves without a common end.
    """
    items, target = recommender.items, recommender.target
    if len({len(identifier) for identifier in items.identifiers}) > 1:
        raise SpecbeamError("bench-serve: generate is compared on identifiers of one length only")
    allowed = allowed_tokens(np.array(items.identifiers), "trie")
    row_of, depth = {identifier: row for row, identifier in enumerate(items.identifiers)}, target.trie.depth

    def make(batch: list[Asked]) -> list[Recommendations]:
        k, device = batch[0].k, target.model.device
        prompts, mask = left_padded([asked.prompt for asked in batch], 0)
        options = {"beam_width": k, "identifier_length": depth, "normalise": target.normalise}
        sequences, scores = generate_batch(target.model, prompts.to(device), mask.to(device), allowed, **options)
        counters = Counters(target_calls=depth)
        rows = ([row_of[tuple(sequence)] for sequence in written] for written in sequences.tolist())
        return [
            Recommendations(*columns(zip(*one, strict=True), items, k), accepted=[0] * depth, counters=counters)
            for one in zip(rows, scores.tolist(), strict=True)
        ]

    return make


def _table(compared: list[Way]) -> pd.DataFrame:
    (plain,) = (way.replies for way in compared if way.name == PLAIN)
    table = pd.DataFrame([_row(way, plain) for way in compared])
    for name, baseline in (("vs_plain", PLAIN), ("vs_generate", GENERATE)):
        own = table.loc[table["way"] == baseline, "lists_per_second"].item()
        table.insert(2, name, table["lists_per_second"] / own)
    return table


def _row(way: Way, plain: list[callers.Reply]) -> dict[str, object]:
    answered = [reply for reply in way.replies if reply.status == 200]
    if not answered:
        raise SpecbeamError(f"{way.name}: expected lists, got none for {len(way.replies)} requests; the log says why")
    pairs = [(one, other) for one, other in zip(way.replies, plain, strict=True) if one.status == other.status == 200]
    p50, p99 = np.percentile([1e3 * reply.seconds for reply in answered], (50, 99))
    return {
        "way": way.name,
        "lists_per_second": len(answered) / way.seconds,
        "p50_ms": p50,
        "p99_ms": p99,
        "batch": np.mean(way.batches),
        "target_calls": np.mean([reply.answer["target_calls"] for reply in answered]),
        "errors": len(way.replies) - len(answered),
        "same_lists": sum(one.answer["items"] == other.answer["items"] for one, other in pairs),
    }


def text(table: pd.DataFrame, *, name: str, load: Load, limits: Limits, recommender: Recommender, threads: int) -> str:
    """The table, under what it was measured on."""
    found = environment()
    versions, target = {**found["versions"], "uvicorn": metadata.version("uvicorn")}, recommender.target.model
    on = "" if target.device.type == "cpu" else f", {found['device']}"
    dtype = str(target.dtype).removeprefix("torch.")
    head = [
        f"{name}: K = {load.k}, {load.requests} requests a way by {load.callers} callers at a time, in {load.rounds} "
        "rounds, the ways of a round in random order",
        f"batches of {limits.batch_size} at most, which wait for {1e3 * limits.wait:g} ms at most",
        f"machine: {found['cpu']}{on}, {threads} thread(s), {dtype}; callers in a process of their own",
        f"torch {versions['torch']}, transformers {versions['transformers']}, uvicorn {versions['uvicorn']}, "
        f"commit {commit_of(found)}",
    ]
    rows = [("", "lists/s", "vs generate", "vs plain", "p50 ms", "p99 ms", "batch", "calls", "errors", "same lists")]
    for row in table.itertuples():
        numbers = (row.lists_per_second, row.vs_generate, row.vs_plain, row.p50_ms, row.p99_ms, row.batch)
        forms = ("{:.1f}", "{:.2f}x", "{:.2f}x", "{:.1f}", "{:.1f}", "{:.2f}")
        shown = [form.format(number) for form, number in zip(forms, numbers, strict=True)]
        rows.append((row.way, *shown, f"{row.target_calls:.2f}", str(row.errors), str(row.same_lists)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([*head, "", *lines]) + "\n"
