"""Under load: memory stays flat, callers at once get what one caller gets, a million items, prompts at the limit."""

import gc
import multiprocessing
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from load_for_tests import FULL, MEASURED, resident
from models_for_tests import nearly, random_catalogue, random_prompt, tiny_model
from specbeam import Items, Recommendations, Recommender, SpecbeamError
from specbeam.decoding.graphs import Graphs
from specbeam.measurement.lookups import synthetic_identifiers

LISTS = 10_000 if FULL else 400
FLAT = 200
"""Bytes a list by which memory may grow."""
PROCESSES = 8 if FULL else 2
ITEMS = 1_000_000 if FULL else 20_000
CALLERS = 8
CONTEXT = 32

Request = dict[str, Any]


def recommender() -> Recommender:
    target = tiny_model(seed=1)
    return Recommender(target, Items.of(random_catalogue(1)), draft=nearly(target, 0.15), draft_beam_width=20)


def requests(seed: int, batches: int) -> list[Request]:
    """Calls of all kinds: 1 to 16 prompts of 2 to 60 tokens, K of 1 to 15, three rules, filters."""
    draw = random.Random(seed)
    found = []
    for _ in range(batches):
        prompts = [[draw.randrange(2, 160) for _ in range(draw.randint(2, 60))] for _ in range(draw.randint(1, 16))]
        rule = draw.choice(["strict", "strict", "coupled", "relaxed"])
        without = draw.choice([None, draw.sample(range(200), 9), [[item] for item in range(len(prompts))]])
        found.append({"prompts": prompts, "k": draw.randint(1, 15), "verification": rule, "without": without})
    return found


def plain(lists: list[Recommendations]) -> list[tuple[list[int], list[float]]]:
    return [(made.items, made.scores) for made in lists]


def answered(seed: int) -> list[list[tuple[list[int], list[float]]]]:
    """What a process of its own makes of some requests."""
    torch.set_num_threads(1)
    made = recommender()
    return [plain(made(**request)) for request in requests(seed, 40 if FULL else 2)]


def assert_same(found: list[list[tuple[list[int], list[float]]]], expected: list) -> None:
    for own, theirs in zip(expected, found, strict=True):
        for (items, scores), (others, values) in zip(own, theirs, strict=True):
            assert items == others
            assert scores == pytest.approx(values, abs=1e-5)


def test_memory_stays_flat_over_many_lists() -> None:
    made, done, samples, things = recommender(), 0, [], []
    start = time.perf_counter()
    for number, request in enumerate(requests(1, LISTS)):
        done += len(made(**request))
        if number % 10 == 0:
            gc.collect()
            samples.append((done, resident()))
            held = gc.get_objects()
            things.append((sum(isinstance(thing, Tensor) for thing in held), len(held)))
            del held
        if done >= LISTS:
            break
    seconds = time.perf_counter() - start
    lists, memory = np.array(samples[len(samples) // 5 :]).T
    slope = np.polyfit(lists, memory, 1)[0]
    MEASURED.append(
        f"{done:,} lists in {seconds:.0f} s: memory grew by {slope:.1f} bytes a list after the first {lists[0]:,}, "
        f"{(memory[-1] - memory[0]) / 2**20:+.2f} MiB in all, of {memory[-1] / 2**20:.0f}"
    )
    tensors, objects = zip(*things[1:], strict=True)
    assert len(set(tensors)) == 1, "tensors are left behind"
    assert objects[-1] - objects[0] < done / 10, "objects are left behind"
    assert slope < FLAT or not FULL, "memory grows"  # a few hundred lists still find the heap its size


def test_callers_in_threads_get_what_one_caller_gets() -> None:
    asked = [requests(seed, 40 if FULL else 4) for seed in range(CALLERS)]
    alone, shared, together = recommender(), recommender(), threading.Barrier(CALLERS)
    expected = [[plain(alone(**request)) for request in own] for own in asked]

    def call(own: list[Request]) -> list[list[tuple[list[int], list[float]]]]:
        together.wait()  # what is made at first use is then made by all at once
        return [plain(shared(**request)) for request in own]

    with ThreadPoolExecutor(CALLERS) as pool:
        for found, own in zip(pool.map(call, asked), expected, strict=True):
            assert_same(found, own)


@pytest.mark.slow
def test_callers_in_processes_get_what_one_caller_gets() -> None:
    with ProcessPoolExecutor(PROCESSES, mp_context=multiprocessing.get_context("spawn")) as pool:
        found = list(pool.map(answered, range(PROCESSES)))
    for seed, lists in enumerate(found):
        assert_same(lists, answered(seed))


def test_callers_in_threads_take_turns_with_captured_passes() -> None:
    """A captured pass has one place for its inputs and its result; without a GPU a function stands in for it."""
    at_work, most = [], []

    def capture(function: Callable[[], Tensor]) -> tuple[Tensor, Callable[[], None]]:
        result = function()

        def replay() -> None:
            at_work.append(threading.get_ident())
            time.sleep(0.001)
            most.append(len(set(at_work)))
            result.copy_(function())
            at_work.pop()

        return result, replay

    made, asked = recommender(), [[random_prompt(seed, 6)[0].tolist()] for seed in range(CALLERS)]
    expected = [plain(made(prompts, k=5)) for prompts in asked]
    made.target = replace(made.target, graphs=Graphs(made.target.body, made.target.empty, capture))
    with ThreadPoolExecutor(CALLERS) as pool:
        assert_same(list(pool.map(lambda prompts: plain(made(prompts, k=5)), asked)), expected)
    assert set(most) == {1}


@torch.inference_mode()
def by_brute_force(model: PreTrainedModel, prompt: list[int], identifiers: np.ndarray, k: int) -> list[tuple]:
    """Beam search by its definition: whole sequences through the model, and a scan of all items for what may follow."""
    beams: list[tuple[tuple[int, ...], float]] = [((), 0.0)]
    for depth in range(identifiers.shape[1]):
        longer = []
        for written, score in beams:
            tokens = np.unique(identifiers[(identifiers[:, :depth] == written).all(1), depth])
            logits = model(torch.tensor([[*prompt, *written]])).logits[0, -1, tokens]
            longer += [
                ((*written, token), score + value)
                for token, value in zip(tokens.tolist(), logits.log_softmax(-1).tolist(), strict=True)
            ]
        beams = sorted(longer, key=lambda beam: -beam[1])[:k]
    return beams


def test_of_a_large_catalogue_the_list_is_that_of_brute_force() -> None:
    identifiers = synthetic_identifiers(ITEMS, length=4, branching=158, first_token=2, seed=1)
    before, start = resident(), time.perf_counter()
    items = Items.of(identifiers)
    read, between = resident() - before, time.perf_counter()
    made = Recommender(tiny_model(seed=1), items)
    built, after = resident() - before - read, time.perf_counter()
    prompt = random_prompt(1, 9)[0].tolist()
    (found,) = made([prompt], k=10)
    first = time.perf_counter() - after
    assert [
        (one, pytest.approx(score, abs=1e-4)) for one, score in zip(found.identifiers, found.scores, strict=True)
    ] == (by_brute_force(made.target.model, prompt, identifiers, 10))
    left_out = found.items[:3]
    assert made([prompt], k=7, without=left_out)[0].items[0] == found.items[3]
    MEASURED.append(
        f"{ITEMS:,} items: read in {between - start:.1f} s ({read / 2**20:.0f} MiB), trie and recommender made in "
        f"{after - between:.1f} s ({built / 2**20:.0f} MiB), first list after {first:.2f} s"
    )


@pytest.mark.parametrize("family", ["llama", "gpt2", "opt"])
@pytest.mark.parametrize("drafted", [False, True])
def test_a_prompt_may_fill_the_context_up_to_the_last_token_of_an_item(family: str, drafted: bool) -> None:
    catalogue, target = random_catalogue(1), tiny_model(family, seed=1, context=CONTEXT)
    draft = tiny_model(seed=2, hidden=16, layers=1, context=CONTEXT) if drafted else None
    made = Recommender(target, Items.of(catalogue), draft=draft)
    longest = random_prompt(1, CONTEXT - 3)[0].tolist()  # the model reads three of an identifier's four tokens
    (found,) = made([longest], k=10)
    assert [
        (one, pytest.approx(score, abs=1e-4)) for one, score in zip(found.identifiers, found.scores, strict=True)
    ] == (by_brute_force(target, longest, catalogue, 10))
    with pytest.raises(
        SpecbeamError, match="prompt of 30 tokens and an identifier of 4 exceed the model's context of 32"
    ):
        made([[5, 6], [7, *longest]], k=10)
