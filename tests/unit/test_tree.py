"""The token tree: reading a tree in one pass equals reading each of its paths on its own."""

import pytest
import torch

from models_for_tests import random_prompt, tiny_model
from specbeam.decoding.tree import ROOT, TokenTree


def alone(model: torch.nn.Module, prompt: torch.Tensor, *path: int) -> torch.Tensor:
    """Next-token logits after the prompt and one path, by an ordinary causal pass."""
    return model(torch.cat([prompt, torch.tensor([path], dtype=torch.int64)], 1)).logits[0, -1]


def at(tree: TokenTree, node: int) -> torch.Tensor:
    return tree.logits(torch.tensor([[node]]))[0, 0]


@pytest.fixture
def prompt() -> torch.Tensor:
    return random_prompt(0, 7)


@torch.inference_mode()
def test_one_pass_reads_prompt_and_tree(prompt: torch.Tensor) -> None:
    model = tiny_model(seed=0)
    tree = TokenTree(model, prompt)
    first = tree.attach(torch.tensor([[10, 11]]), torch.tensor([[ROOT, ROOT]]))
    tree.attach(torch.tensor([[12, 13, 14]]), first[:, [1, 0, 1]])
    tree.forward()
    assert tree.calls == 1
    assert tree.nodes_read == 5
    for node, path in enumerate([(), (10,), (11,), (11, 12), (10, 13), (11, 14)]):
        torch.testing.assert_close(at(tree, node), alone(model, prompt, *path), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_pruned_tree_goes_on_as_if_the_rest_had_never_been(prompt: torch.Tensor) -> None:
    model = tiny_model(seed=1)
    tree = TokenTree(model, prompt)
    first = tree.attach(torch.tensor([[10, 11, 12]]), torch.tensor([[ROOT] * 3]))
    tree.forward()
    second = tree.attach(torch.tensor([[13, 14]]), first[:, [2, 0]])  # attached, but not read before the pruning
    kept = torch.cat([first[:, [2, 1]], second[:, :1]], 1)
    renumbered = tree.prune(1, kept)
    assert renumbered.gather(1, kept).tolist() == [[1, 2, 3]]
    assert tree.size == 4
    third = tree.attach(torch.tensor([[15, 16]]), torch.tensor([[3, 2]]))
    tree.forward()
    torch.testing.assert_close(at(tree, 3), alone(model, prompt, 12, 13), atol=1e-4, rtol=0)
    torch.testing.assert_close(at(tree, int(third[0, 0])), alone(model, prompt, 12, 13, 15), atol=1e-4, rtol=0)
    torch.testing.assert_close(at(tree, int(third[0, 1])), alone(model, prompt, 11, 16), atol=1e-4, rtol=0)
    assert tree.cache.get_seq_length() == prompt.shape[1] + 5


def test_kept_nodes_may_change_their_order(prompt: torch.Tensor) -> None:
    model = tiny_model(seed=2)
    tree = TokenTree(model, prompt)
    first = tree.attach(torch.tensor([[10, 11]]), torch.tensor([[ROOT, ROOT]]))
    tree.forward()
    tree.prune(1, first.flip(1))
    tree.attach(torch.tensor([[12]]), torch.tensor([[1]]))
    tree.forward()
    torch.testing.assert_close(at(tree, 3), alone(model, prompt, 11, 12).detach(), atol=1e-4, rtol=0)


def test_logits_of_unread_nodes_are_an_error(prompt: torch.Tensor) -> None:
    tree = TokenTree(tiny_model(seed=3), prompt)
    with pytest.raises(RuntimeError, match="call forward"):
        tree.logits(torch.tensor([[ROOT]]))
