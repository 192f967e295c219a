"""Captured passes: the bookkeeping around a graph gives the lists of ordinary passes, with few captures.

Without a GPU a graph is stood in for by a function that computes the same result into the same place.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from models_for_tests import nearly, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.graphs import CAPACITY_STEP, Graphs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

TRIE = Trie.of(random_catalogue(0))
PLAN = Plan((15, 15, 15))


def captured(scorer: Scorer) -> tuple[Scorer, list[torch.Tensor]]:
    """The scorer with graphs, and the results captured so far."""
    results: list[torch.Tensor] = []

    def capture(function: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, Callable[[], None]]:
        result = function()
        results.append(result)
        return result, lambda: result.copy_(function())

    return replace(scorer, graphs=Graphs(scorer.body, scorer.empty, capture)), results


@pytest.fixture
def target() -> Scorer:
    return Scorer.of(tiny_model(seed=0, context=512), TRIE, normalise="children")


@pytest.fixture
def draft() -> Scorer:
    return Scorer.of(nearly(tiny_model(seed=0, context=512), 0.15), TRIE, normalise="children")


@pytest.fixture(autouse=True)
def waiting_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, where no shape depends on what was found."""
    monkeypatch.setattr("specbeam.decoding.search.looking_is_free", lambda device: False)


def test_replayed_passes_give_the_lists_of_ordinary_ones_and_are_captured_once_a_shape(
    target: Scorer, draft: Scorer
) -> None:
    graphed, passes = captured(target)
    graphed_draft, _ = captured(draft)
    counts = []
    for seed in range(12):
        prompt = random_prompt(seed, 3 + seed % 5)
        options = {"beam_width": 5, "plan": PLAN}
        own = search(target, prompt, drafter=ModelDrafter.of(draft), **options)
        found = search(graphed, prompt, drafter=ModelDrafter.of(graphed_draft), **options)
        assert torch.equal(found.sequences, own.sequences)
        torch.testing.assert_close(found.scores, own.scores, atol=1e-4, rtol=0)
        counts.append(len(passes))
    assert counts[-1] == counts[5] <= 5, "prompts of other lengths and contents need no new capture"


def test_prompts_that_finish_earlier_leave_a_batch_of_captured_passes_too(target: Scorer, draft: Scorer) -> None:
    prompts = torch.cat([random_prompt(seed, 6) for seed in range(8)])
    graphed, _ = captured(target)
    graphed_draft, _ = captured(draft)
    own = search(target, prompts, beam_width=5)
    found = search(graphed, prompts, beam_width=5, drafter=ModelDrafter.of(graphed_draft), plan=PLAN)
    assert len({len(rounds) for rounds in found.counters.accepted}) > 1, "the prompts were meant to differ"
    assert torch.equal(found.sequences, own.sequences)


def test_a_tree_that_outgrows_the_cache_moves_to_a_larger_one(target: Scorer) -> None:
    prompt = random_prompt(1, CAPACITY_STEP - 40)
    graphed, _ = captured(target)
    own = search(target, prompt, beam_width=20)
    for _ in range(2):
        assert torch.equal(search(graphed, prompt, beam_width=20).sequences, own.sequences)


def test_what_an_overflow_left_in_a_cache_does_not_spread_into_the_next_search(target: Scorer) -> None:
    graphed, _ = captured(target)
    own = search(target, random_prompt(1, 6), beam_width=5)
    cache = graphed.graphs.borrow(1, 32)
    for layer in cache.layers:
        layer.keys[:, :, 100:].fill_(torch.nan)
        layer.values[:, :, 100:].fill_(torch.nan)
    graphed.graphs.give_back(cache)
    assert torch.equal(search(graphed, random_prompt(1, 6), beam_width=5).sequences, own.sequences)


def test_batches_of_any_size_share_few_caches(target: Scorer, draft: Scorer) -> None:
    graphed, _ = captured(target)
    graphed_draft, _ = captured(draft)
    for size in (8, 7, 6, 5, 8, 3):
        prompts = torch.cat([random_prompt(seed, 6) for seed in range(size)])
        own = search(target, prompts, beam_width=5)
        found = search(graphed, prompts, beam_width=5, drafter=ModelDrafter.of(graphed_draft), plan=PLAN)
        assert torch.equal(found.sequences, own.sequences)
    assert {key[0] for key in graphed.graphs._free} == {4, 8}
    assert all(len(caches) == 1 for caches in graphed.graphs._free.values())


def test_two_searches_at_once_do_not_share_a_cache(target: Scorer) -> None:
    graphed, _ = captured(target)
    first, second = (graphed.graphs.borrow(1, 10) for _ in range(2))
    assert first is not second
    graphed.graphs.give_back(first)
    assert graphed.graphs.borrow(1, 10) is first


def test_graphs_without_a_gpu_are_refused() -> None:
    with pytest.raises(SpecbeamError, match="CUDA graphs need a model on a GPU"):
        Scorer.of(tiny_model(seed=0), TRIE, normalise="children", graphs=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_cuda_graphs_give_the_lists_of_ordinary_passes() -> None:
    trie, model = TRIE.to("cuda"), tiny_model(seed=0, context=512).cuda()
    eager, graphed = (Scorer.of(model, trie, normalise="children", graphs=graphs) for graphs in (False, True))
    for seed in range(12):
        prompt = random_prompt(seed, 3 + seed % 5).cuda()
        own = search(eager, prompt, beam_width=5)
        for drafter, plan in ((None, Plan()), (ModelDrafter.of(graphed), PLAN)):
            found = search(graphed, prompt, beam_width=5, drafter=drafter, plan=plan)
            assert torch.equal(found.sequences, own.sequences)
