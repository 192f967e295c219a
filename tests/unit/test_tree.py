"""Reading a token tree in one pass, or in several, equals reading each of its paths on its own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.tree import ROOT, TokenTree
from specbeam.trie import Trie

TRIE = Trie.of(random_catalogue(0))


def alone(model: PreTrainedModel, prompt: Tensor, *path: int) -> Tensor:
    """Next-token logits after one prompt and one path, by an ordinary causal pass."""
    return model(torch.cat([prompt[0], torch.tensor(path, dtype=torch.int64)])[None]).logits[0, -1]


def reader_of(model: PreTrainedModel, tree: TokenTree, normalise: str = "vocabulary") -> Reader:
    return Reader(Scorer.of(model, TRIE, normalise=normalise), tree)


def root(batch: int = 1) -> Tensor:
    return torch.full((batch, 1), ROOT)


@torch.inference_mode()
def test_one_pass_reads_prompt_and_tree() -> None:
    model, prompt = tiny_model(seed=0), random_prompt(0, 7)
    tree = TokenTree(prompt, depth=2)
    first = tree.attach(torch.tensor([[10, 11]]), torch.tensor([[ROOT, ROOT]]))
    tree.attach(torch.tensor([[12, 13, 14]]), first[:, [1, 0, 1]])
    reader = reader_of(model, tree)
    logits = reader.read(torch.arange(tree.size)[None])[0]
    assert (reader.calls, reader.nodes_read) == (1, 5)
    for found, path in zip(logits, [(), (10,), (11,), (11, 12), (10, 13), (11, 14)], strict=True):
        torch.testing.assert_close(found, alone(model, prompt, *path), atol=1e-4, rtol=0)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    family=st.sampled_from(["llama", "gpt2", "gemma3_text"]),
    prompts=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    passes=st.lists(st.integers(1, 4), min_size=1, max_size=4),
    data=st.data(),
)
@torch.inference_mode()
def test_passes_over_any_nodes_equal_plain_passes_over_their_paths(
    family: str, prompts: list[int], passes: list[int], data: st.DataObject
) -> None:
    model, rows = tiny_model(family, seed=1), len(prompts)
    single = [random_prompt(row, length) for row, length in enumerate(prompts)]
    batch = one_batch(single)
    tree = TokenTree(batch["prompts"], sum(passes), batch["mask"])
    reader = reader_of(model, tree)
    paths: list[list[tuple[int, ...]]] = [[()] for _ in range(rows)]
    for number, size in enumerate(passes):
        tokens, parents = (
            torch.tensor([[data.draw(st.integers(0, top)) for _ in range(size)] for _ in range(rows)])
            for top in (159, tree.size - 1)
        )
        nodes = tree.attach(tokens, parents)
        for own, writes, under in zip(paths, tokens.tolist(), parents.tolist(), strict=True):
            own += [(*own[parent], token) for parent, token in zip(under, writes, strict=True)]
        if number == 0:
            nodes = torch.cat([root(rows), nodes], 1)
        for row, found in enumerate(reader.read(nodes)):
            for node, logits in zip(nodes[row].tolist(), found, strict=True):
                expected = alone(model, single[row], *paths[row][node])
                torch.testing.assert_close(logits, expected, atol=2e-4, rtol=1e-4)


@torch.inference_mode()
def test_nodes_that_failed_are_never_seen_again_and_may_be_read_over() -> None:
    model, prompt = tiny_model(seed=1), random_prompt(1, 7)
    tree = TokenTree(prompt, depth=3)
    reader = reader_of(model, tree)
    first = tree.attach(torch.tensor([[10, 11, 12]]), root().expand(-1, 3))
    both = reader.read(torch.cat([root(), first], 1))
    again = reader.read(first.flip(1))
    torch.testing.assert_close(again, both[:, 1:].flip(1), atol=1e-5, rtol=0)
    below = tree.attach(torch.tensor([[13]]), first[:, 2:])
    torch.testing.assert_close(reader.read(below)[0, 0], alone(model, prompt, 12, 13), atol=1e-4, rtol=0)


@torch.inference_mode()
def test_searches_that_go_on_without_others_read_on_as_before() -> None:
    model, prompts = tiny_model(seed=2), [random_prompt(row, 3 + row) for row in range(3)]
    batch = one_batch(prompts)
    tree = TokenTree(batch["prompts"], 2, batch["mask"])
    reader = reader_of(model, tree)
    first = tree.attach(torch.tensor([[10, 11]] * 3), root(3).expand(-1, 2))
    reader.read(torch.cat([root(3), first], 1))
    for part in (tree, reader):
        part.keep(torch.tensor([2, 0]))
    below = tree.attach(torch.tensor([[12], [13]]), first[[2, 0], 1:])
    found = reader.read(below)[:, 0]
    torch.testing.assert_close(found[0], alone(model, prompts[2], 11, 12), atol=1e-4, rtol=0)
    torch.testing.assert_close(found[1], alone(model, prompts[0], 11, 13), atol=1e-4, rtol=0)


def test_a_reader_that_has_read_nothing_can_drop_prompts_too() -> None:
    batch = one_batch([random_prompt(0, 3), random_prompt(1, 5)])
    tree = TokenTree(batch["prompts"], 2, batch["mask"])
    reader = reader_of(tiny_model(seed=2), tree)
    for part in (tree, reader):
        part.keep(torch.tensor([1]))
    assert reader.read(root()).shape == (1, 1, 160)


def test_a_lineage_is_the_way_from_an_ancestor_down_to_the_node() -> None:
    tree = TokenTree(random_prompt(0, 4), depth=3)
    first = tree.attach(torch.tensor([[10, 11]]), root().expand(-1, 2))
    second = tree.attach(torch.tensor([[12, 13]]), first.flip(1))
    third = tree.attach(torch.tensor([[14]]), second[:, 1:])
    assert tree.lineage(third, 1).tolist() == third.tolist()
    assert sorted(tree.lineage(second, 2)[0].tolist()) == [1, 2, 3, 4]
    assert tree.lineage(third, 4).tolist() == [[ROOT, 1, 4, 5]]
    assert tree.lineage(third, 6).tolist() == [[ROOT, ROOT, ROOT, 1, 4, 5]]


def test_a_node_sees_its_prompt_and_its_ancestors_and_itself_only() -> None:
    tree = TokenTree(torch.tensor([[7, 8, 9]]), 2, torch.tensor([[False, True, True]]))
    first = tree.attach(torch.tensor([[10, 11]]), root().expand(-1, 2))
    second = tree.attach(torch.tensor([[12]]), first[:, 1:])
    seen = tree.inputs(second, prompt=False, slots=6)
    assert seen["attention_mask"].int().tolist() == [[[[0, 1, 1, 0, 1, 1]]]]  # padding, 8, 9, node 1, node 2, itself
    assert seen["position_ids"].tolist() == [[3]]
    assert seen["input_ids"].tolist() == [[12]]


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@torch.inference_mode()
def test_logits_have_a_column_for_each_item_token_or_for_each_token(normalise: str) -> None:
    model, prompt = tiny_model(seed=3), random_prompt(3, 5)
    found = reader_of(model, TokenTree(prompt, depth=1), normalise).read(root())[0, 0]
    expected = alone(model, prompt)
    torch.testing.assert_close(found, expected[TRIE.alphabet] if normalise == "children" else expected)
