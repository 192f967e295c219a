"""Distilling along whole sequences: the loss of the formula, nothing to learn from oneself, and what is left out."""

import numpy as np
import pytest
import torch

import slow_losses as slow
from models_for_tests import random_catalogue, tiny_model
from specbeam.distillation import Distillation, Lesson
from specbeam.trie import Trie

IDENTIFIERS = random_catalogue(5, items=60, branching=3)
TRIE = Trie.of(IDENTIFIERS)
HOW = Distillation(TRIE, 0)
TARGET, DRAFT = tiny_model(seed=3), tiny_model(seed=4, layers=1)


def sequences() -> list[list[int]]:
    """Start token and 2, 4 and 3 items."""
    random = np.random.default_rng(0)
    return [[1, *IDENTIFIERS[random.integers(len(IDENTIFIERS), size=n)].flatten().tolist()] for n in (2, 4, 3)]


def slow_loss(tokens: list[int], *, last: bool) -> list[float]:
    """For every item but the first, or the last alone: KL(p || q) at its prefixes but the longest, summed."""
    with torch.no_grad():
        p, q = (model(torch.tensor([tokens])).logits[0] for model in (TARGET, DRAFT))
    items = (len(tokens) - 1) // TRIE.depth
    found = []
    for item in range(items - 1 if last else 1, items):
        start, total = 1 + item * TRIE.depth, 0.0
        for depth in range(TRIE.depth - 1):
            prefix = tokens[start : start + depth]
            state = int(TRIE.walk(torch.tensor([prefix]))[0, -1]) if prefix else 0
            children = TRIE.children(torch.tensor(state), depth)
            allowed = children.tokens[children.allowed]
            at = start + depth - 1
            total += slow.forward_kl(p[at, allowed].tolist(), q[at, allowed].tolist())
        found.append(total)
    return found


def loss(draft: torch.nn.Module, lessons: list[Lesson]) -> torch.Tensor:
    return HOW.loss(draft, HOW.collate(lessons))["loss"]


@pytest.mark.parametrize("last", [False, True], ids=["every item", "the last item"])
def test_the_loss_is_the_mean_over_items_of_the_divergence_at_their_prefixes(last: bool) -> None:
    expected = np.mean([kl for tokens in sequences() for kl in slow_loss(tokens, last=last)])
    with torch.no_grad():
        found = loss(DRAFT, HOW.lessons(TARGET, sequences(), last=last))
    assert found.item() == pytest.approx(expected, rel=2e-3)  # what the target says is kept in float16


def test_a_draft_that_is_the_target_has_nothing_left_to_learn() -> None:
    with torch.no_grad():
        assert loss(TARGET, HOW.lessons(TARGET, sequences(), last=False)).item() == pytest.approx(0, abs=1e-4)


def test_the_draft_learns_and_the_target_does_not() -> None:
    target, draft = tiny_model(seed=3), tiny_model(seed=4, layers=1)
    loss(draft, HOW.lessons(target, sequences(), last=False)).backward()
    assert all(weight.grad is None for weight in target.parameters())
    assert any(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in draft.parameters())


def test_a_lesson_holds_no_first_item_and_no_last_depth() -> None:
    for tokens, lesson in zip(sequences(), HOW.lessons(TARGET, sequences(), last=False), strict=True):
        assert lesson.tokens == tokens
        assert [len(at) for at in lesson.log_p] == [(len(tokens) - 1) // TRIE.depth - 1] * (TRIE.depth - 1)


def test_a_sequence_of_one_item_teaches_nothing() -> None:
    with torch.no_grad():
        assert loss(DRAFT, HOW.lessons(TARGET, [sequences()[0][: 1 + TRIE.depth]], last=False)).item() == 0
