"""How few things happen: passes, nodes, columns of the head, rows of the cache, waits for the device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import specbeam.decoding.search
from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.lists import Ranking, beam_search, search, speculative_search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Reader, Scorer
from specbeam.trie import Trie

TRIE = Trie.of(random_catalogue(1))
PROMPT = random_prompt(1, 8)
EVERYTHING = 300


def scorer(seed: int, trie: Trie = TRIE, *, layers: int = 2) -> Scorer:
    return Scorer.of(tiny_model(seed=seed, layers=layers), trie, normalise="children")


@pytest.mark.parametrize("length", [1, 2, 4, 8])
def test_plain_beam_search_takes_one_pass_over_the_prompt_and_one_over_the_beams_a_level(length: int) -> None:
    trie = Trie.of(random_catalogue(7, length=length))
    counters = beam_search(tiny_model(seed=7), PROMPT, trie, beam_width=5).counters
    assert (counters.target_calls, counters.draft_calls, counters.nodes) == (length, 0, 5 * (length - 1))
    assert counters.accepted == [[0] * length]


def test_a_target_that_drafts_for_itself_is_accepted_whole_in_one_pass() -> None:
    target = tiny_model(seed=1)
    counters = speculative_search(
        target, target, PROMPT, TRIE, beam_width=10, draft_beam_width=10, draft_length=3
    ).counters
    assert counters.accepted == [[3]]
    assert (counters.target_calls, counters.draft_calls, counters.nodes) == (1, 3, 30)


def test_a_batch_takes_as_many_passes_as_its_slowest_prompt() -> None:
    batch = one_batch([random_prompt(seed, 3 + seed) for seed in range(5)])
    drafter = ModelDrafter.of(scorer(1, layers=1))  # the target's own first layer
    counters = search(scorer(1), **batch, beam_width=5, drafter=drafter, plan=Plan((7, 9, 9))).counters
    rounds = [len(accepted) for accepted in counters.accepted]
    assert counters.target_calls == max(rounds) > min(rounds)


def test_levels_that_the_trie_completes_are_certain_and_cost_no_pass_of_the_draft() -> None:
    def counters(plan: Plan) -> Any:
        return search(scorer(1), PROMPT, beam_width=5, drafter=ModelDrafter.of(scorer(2)), plan=plan).counters

    by_model = counters(Plan((EVERYTHING, EVERYTHING, EVERYTHING)))
    completed = counters(Plan((EVERYTHING, EVERYTHING, EVERYTHING), model_levels=1))
    by_trie = counters(Plan((EVERYTHING, EVERYTHING, EVERYTHING), model_levels=0))
    assert [found.accepted for found in (by_model, completed, by_trie)] == [[[3]]] * 3
    assert [found.draft_calls for found in (by_model, completed, by_trie)] == [3, 1, 0]
    assert by_model.nodes == completed.nodes == by_trie.nodes == len(TRIE.tokens) - int((TRIE.rows >= 0).sum())


def test_a_drafter_without_a_model_takes_no_pass() -> None:
    found = search(scorer(1), PROMPT, beam_width=5, drafter=PriorDrafter.of(TRIE), plan=Plan((12, 40, 80)))
    assert found.counters.draft_calls == 0
    assert found.counters.nodes > 0


def test_no_more_nodes_are_drafted_than_there_are_continuations() -> None:
    trie = Trie.of(random_catalogue(1, items=6, branching=3))
    found = search(scorer(1, trie), PROMPT, beam_width=6, drafter=PriorDrafter.of(trie), plan=Plan.flat(100, 3, 4))
    assert found.counters.nodes <= 3 * 6


class Watched(Reader):
    """A reader that remembers the shapes it has seen."""

    readers: list["Watched"] = []  # noqa: RUF012 - emptied by `watched`

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.columns, self.tokens, self.rows = [], [], []
        self.readers.append(self)

    def read(self, nodes: Tensor) -> Tensor:
        logits = super().read(nodes)
        self.columns.append(logits.shape[2])
        self.tokens.append(logits.shape[1])
        self.rows.append({tuple(layer.keys.shape[:1]) for layer in self._cache.layers})
        return logits


@contextmanager
def watched() -> Iterator[list[Watched]]:
    Watched.readers.clear()
    with (
        mock.patch("specbeam.decoding.search.Reader", Watched),
        mock.patch("specbeam.decoding.drafters.Reader", Watched),
    ):
        yield Watched.readers


def test_the_head_is_applied_to_the_beams_and_under_children_to_the_item_tokens_only() -> None:
    with watched() as readers:
        for normalise in ("children", "vocabulary"):
            beam_search(tiny_model(seed=1), PROMPT, TRIE, beam_width=5, normalise=normalise)
    assert [reader.columns for reader in readers] == [[len(TRIE.alphabet)] * 4, [160] * 4]
    assert readers[0].tokens == [1, 5, 5, 5]  # the prompt's last position, not its others


def test_a_prompts_keys_and_values_are_held_once_and_not_for_each_beam() -> None:
    prompts = [random_prompt(row, 4 + row) for row in range(3)]
    with watched() as readers:
        search(
            scorer(1), **one_batch(prompts), beam_width=20, drafter=ModelDrafter.of(scorer(2)), plan=Plan((30, 40, 40))
        )
    assert len(readers) == 2
    for reader in readers:
        assert {rows for seen in reader.rows for (rows,) in seen} <= {1, 2, 3}
        assert reader.rows[0] == {(3,)}


class Waits(TorchDispatchMode):
    """Counts what makes the host wait for a device: looking at a value, and shapes that depend on values."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket._qualified_op_name
        by_mask = name == "aten::index" and any(x is not None and x.dtype == torch.bool for x in args[1])
        self.count += by_mask or name in WAITING
        return func(*args, **kwargs or {})


WAITING = {
    "aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim",
    "aten::equal", "aten::is_nonzero", "aten::repeat_interleave",
}  # fmt: skip


def waits(trie: Trie = TRIE, prompts: int = 1, **options: Any) -> tuple[int, Ranking]:
    """Waits of one search as if on a device: `.item()`, bool(), nonzero and the like, and `.tolist()`."""
    target, counter, tolist = scorer(1, trie), Waits(), Tensor.tolist
    batch = one_batch([random_prompt(row, 3 + row) for row in range(prompts)])

    def counted(tensor: Tensor) -> Any:
        counter.count += 1
        return tolist(tensor)

    with mock.patch.object(specbeam.decoding.search, "looking_is_free", return_value=False):  # noqa: SIM117
        with mock.patch.object(Tensor, "tolist", counted), counter:
            found = search(target, **batch, beam_width=5, **options)
    return counter.count, found


def test_the_counter_of_waits_counts() -> None:
    with Waits() as counter:
        x = torch.tensor([1.0, 2.0])
        assert bool(x.max() > 0)
        int(x.argmax())
        x[x > 1]
        x.nonzero()
    assert counter.count >= 4


@pytest.mark.parametrize("prompts", [1, 4])
def test_plain_beam_search_waits_at_its_end_only_however_long_the_identifiers(prompts: int) -> None:
    seen = {waits(Trie.of(random_catalogue(1, length=length)), prompts)[0] for length in (1, 2, 4, 8)}
    assert len(seen) == 1
    assert seen.pop() <= 3  # is the mask right (on a CPU), are the scores numbers, and how many are there?


@pytest.mark.parametrize("prompts", [1, 4])
@pytest.mark.parametrize("drafter", ["model", "prior"])
def test_speculation_waits_once_a_round_more(prompts: int, drafter: str) -> None:
    trie = Trie.of(random_catalogue(1, length=6))
    drafter = PriorDrafter.of(trie) if drafter == "prior" else ModelDrafter.of(scorer(2, trie))
    plain, _ = waits(trie, prompts)
    for plan in (Plan.flat(8, 1, 6), Plan.flat(8, 5, 6), Plan((8, 20, 100, 100, 100), model_levels=2)):
        count, found = waits(trie, prompts, drafter=drafter, plan=plan)
        assert found.counters.target_calls > 1
        assert count - plain <= found.counters.target_calls
