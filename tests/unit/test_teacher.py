"""Trajectories as trees: built by hand, equal to separate passes, and stored without loss."""

import dataclasses

import numpy as np
import pytest
import torch

from models_for_tests import VOCABULARY, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.teacher import Shard, TeacherTree, TreeBatch, children_logits, probabilities
from specbeam.trie import Trie
from trajectories_for_tests import recorded, tokens_after

# States of the trie: 1 and 2 after one token; 3, 4 and 5 after two; 6 to 9 are the items.
IDENTIFIERS = np.array([[10, 20, 30], [10, 20, 31], [10, 21, 30], [11, 20, 32]])


def hand_made_tree():
    """Three trajectories, two to item 1 and one to item 3; the true item is 2."""
    trie = Trie.of(IDENTIFIERS)
    return TeacherTree.of(np.array([[1, 3, 7], [2, 5, 9], [1, 3, 7]]), np.array([1, 4, 8]), trie), trie


def random_trees(users, *, trajectories=6, seed=0):
    """Trees of random items: trie, trees, and the items' tokens int64 [users, trajectories + 1, L]."""
    identifiers = random_catalogue(seed, items=60, branching=4)
    trie = Trie.of(identifiers)
    chosen = np.random.default_rng(seed).integers(len(identifiers), size=(users, trajectories + 1))
    paths = trie.walk(torch.from_numpy(identifiers[chosen])).numpy()
    return trie, [TeacherTree.of(own[:-1], own[-1], trie) for own in paths], identifiers[chosen]


def left_padded(lengths, seed=0):
    """Random prompts [B, P] of those lengths, and their mask."""
    random = torch.Generator().manual_seed(seed)
    prompts = torch.randint(2, VOCABULARY, (len(lengths), max(lengths)), generator=random)
    return prompts, torch.arange(max(lengths)) >= max(lengths) - torch.tensor(lengths)[:, None]


def log_p_after(model, prompt, written, trie):
    """Log-probabilities of the children of the state after `written`, by one plain causal pass."""
    state = trie.walk(torch.tensor([written]))[0, -1] if written else torch.tensor(0)
    children = trie.children(state[None], len(written))
    logits = model(torch.cat([prompt, torch.tensor(written, dtype=torch.int64)])[None]).logits[0, -1]
    return logits[children.tokens[0][children.allowed[0]]].log_softmax(-1)


def test_a_tree_holds_the_prefixes_of_all_trajectories_and_of_the_true_item():
    tree, _ = hand_made_tree()
    assert [states.tolist() for states in tree.states] == [[0], [1, 2], [3, 4, 5]]


def test_a_tree_can_hold_the_beams_that_the_search_dropped_which_no_trajectory_takes():
    trie, path = Trie.of(IDENTIFIERS), np.array([1, 3, 7])
    tree = TeacherTree.of(path[None], path, trie, beams=np.array([[1, 2, -1], [3, 5, 4]]))  # -1: no such beam
    assert [states.tolist() for states in tree.states] == [[0], [1, 2], [3, 4, 5]]
    assert [counts.sum(1).tolist() for counts in tree.counts] == [[1], [1, 0], [1, 0, 0]]


def test_the_order_of_trajectories_does_not_matter():
    trie, (tree,), items = random_trees(1)
    *paths, truth = trie.walk(torch.from_numpy(items[0])).numpy()
    again = TeacherTree.of(np.array(paths[::-1]), truth, trie)
    for one, other in zip(flat(tree), flat(again), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_tree_links_every_prefix_to_its_parent():
    tree, _ = hand_made_tree()
    assert [parents.tolist() for parents in tree.parents] == [[0], [0, 0], [0, 0, 1]]


def test_a_tree_counts_the_trajectories_through_every_child_but_not_the_true_item():
    tree, _ = hand_made_tree()
    assert [counts.tolist() for counts in tree.counts] == [[[2, 1]], [[2, 0], [1, 0]], [[0, 2], [0, 0], [1, 0]]]


def test_a_tree_knows_the_true_items_way():
    tree, _ = hand_made_tree()
    assert tree.truth.tolist() == [[0, 0], [0, 1], [1, 0]]  # its state and child by depth: token 10, then 21, then 30


def test_padding_is_the_dead_state_without_a_token():
    tree, trie = hand_made_tree()
    narrow = TeacherTree.of(np.array([[1, 4, 8]]), np.array([1, 4, 8]), trie)
    batch = TreeBatch.of([tree, narrow], trie, "cpu")
    assert [states.tolist() for states in batch.states] == [
        [[0], [0]], [[1, 2], [1, trie.dead]], [[3, 4, 5], [4, trie.dead, trie.dead]],
    ]  # fmt: skip
    assert [tokens.tolist() for tokens in batch.tokens] == [
        [[0], [0]], [[10, 11], [10, 0]], [[20, 21, 20], [21, 0, 0]],
    ]  # fmt: skip


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_one_pass_over_a_batch_of_trees_equals_a_plain_pass_for_every_prefix(family):
    model = tiny_model(family, seed=1)
    trie, trees, items = random_trees(3)
    prompts, mask = left_padded([9, 4, 7])
    batch = TreeBatch.of(trees, trie, "cpu")
    tree = TokenTree(prompts, trie.depth - 1, mask)
    nodes = batch.attach(tree)
    read = Reader(Scorer.of(model, trie, normalise="vocabulary"), tree).read(torch.cat(nodes, 1))
    for depth, at in enumerate(read.split([at.shape[1] for at in nodes], 1)):
        logits, allowed = children_logits(at, batch.states[depth], trie, depth)
        for user in range(3):
            for written in np.unique(items[user][:, :depth], axis=0).tolist():
                state = trie.walk(torch.tensor([written]))[0, -1] if depth else torch.tensor(0)
                place = (batch.states[depth][user] == state).nonzero().item()
                found = logits[user, place][allowed[user, place]].log_softmax(-1)
                expected = log_p_after(model, prompts[user][mask[user]], written, trie)
                torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_recorded_log_probabilities_come_back_at_the_right_children(tmp_path):
    model = tiny_model(seed=2)
    trie, trees, items = random_trees(3, seed=4)
    prompts, mask = left_padded([3, 8, 5])
    shard = stored(trie, items, probabilities(Scorer.of(model, trie, normalise="children"), prompts, mask, trees, trie))
    shard.save(tmp_path / "shard.safetensors")
    for number, (user, tree, log_p) in enumerate(Shard.load(tmp_path / "shard.safetensors").trees(trie)):
        assert user == 100 + number
        for depth, states in enumerate(tree.states):
            for children, written in zip(log_p[depth], (written_to(state, trie) for state in states), strict=True):
                expected = log_p_after(model, prompts[number][mask[number]], written, trie).detach().numpy()
                np.testing.assert_allclose(children[: len(expected)], expected, atol=2e-2)  # stored in half precision
                assert np.isneginf(children[len(expected) :]).all()


def five_recorded(over):
    """Five trajectories of three users: trie, identifiers, model, prompts and shard; some states have one child."""
    identifiers, model = random_catalogue(4, items=60, branching=4), tiny_model(seed=2)
    trie, prompts = Trie.of(identifiers), [random_prompt(length, length)[0].tolist() for length in (3, 8, 5)]
    return trie, identifiers, model, prompts, recorded(model, prompts, identifiers[:3], trie, width=5, over=over)


def test_over_positions_the_log_probabilities_of_all_tokens_of_a_position_are_recorded():
    trie, identifiers, model, prompts, shard = five_recorded("position")
    for prompt, (_, tree, log_p) in zip(prompts, shard.trees(trie, over="position"), strict=True):
        for depth, states in enumerate(tree.states):
            tokens = tokens_after([0] * depth, identifiers, "position")
            for state, values in zip(states, log_p[depth], strict=True):
                logits = model(torch.tensor([[*prompt, *written_to(state, trie)]])).logits[0, -1]
                expected = logits[tokens].log_softmax(0).detach().numpy()
                np.testing.assert_allclose(values, expected, atol=2e-2)


@pytest.mark.parametrize("beams", [True, False], ids=["with beams", "trajectories alone"])
def test_a_shard_over_positions_gives_the_childrens_distributions_of_one_over_children(beams):
    trie, _, _, _, wide = five_recorded("position")
    for (_, tree, found), (_, same, expected) in zip(
        wide.trees(trie, beams=beams), five_recorded("children")[-1].trees(trie, beams=beams), strict=True
    ):
        for one, other in zip(flat(tree), flat(same), strict=True):
            np.testing.assert_array_equal(one, other)
        for one, other in zip(found, expected, strict=True):
            assert (np.isneginf(one) == np.isneginf(other)).all()
            one, other = (torch.from_numpy(x.astype(np.float32)).log_softmax(-1).exp() for x in (one, other))
            torch.testing.assert_close(one, other, atol=2e-2, rtol=0)


@pytest.mark.parametrize("over", ["children", "position"])
def test_without_the_dropped_beams_the_rest_of_a_tree_is_the_same(over):
    trie, _, _, _, shard = five_recorded(over)
    dropped = 0
    for (_, full, log_p), (_, tree, fewer) in zip(
        shard.trees(trie, over=over), shard.trees(trie, over=over, beams=False), strict=True
    ):
        for depth, states in enumerate(tree.states):
            places = np.searchsorted(full.states[depth], states)
            np.testing.assert_array_equal(full.states[depth][places], states)
            np.testing.assert_array_equal(full.counts[depth][places], tree.counts[depth])
            np.testing.assert_array_equal(log_p[depth][places], fewer[depth])
            assert full.counts[depth].sum() == tree.counts[depth].sum() == 5
            dropped += len(full.states[depth]) - len(states)
    assert dropped > 0


def test_distributions_over_positions_cannot_be_told_from_those_over_children():
    trie, _, _, _, shard = five_recorded("children")
    with pytest.raises(SpecbeamError, match="children alone: record them with trajectories.logits: position"):
        shard.trees(trie, over="position")


@pytest.mark.parametrize("over", ["children", "position"])
def test_a_shard_comes_back_as_it_was_saved(tmp_path, over):
    shard = dataclasses.replace(some_shard(), over=over)
    shard.save(tmp_path / "shard.safetensors")
    again = Shard.load(tmp_path / "shard.safetensors")
    assert again.over == shard.over == over
    for name, value in vars(shard).items():
        if name != "over":
            assert getattr(again, name).dtype == value.dtype
        np.testing.assert_array_equal(getattr(again, name), value)
    assert [file.name for file in tmp_path.iterdir()] == ["shard.safetensors"]


def test_users_with_fewer_items_than_trajectories_have_smaller_trees(tmp_path):
    trie, _, items = random_trees(1, trajectories=2)
    shard = some_shard(items=items, trie=trie)
    padded = np.concatenate([shard.paths, np.full_like(shard.paths[:, :1], -1)], 1)
    wider = dataclasses.replace(shard, paths=padded)
    (_, tree, log_p), (_, same, same_log_p) = wider.trees(trie)[0], shard.trees(trie)[0]
    for one, other in zip([*tree.counts, *log_p], [*same.counts, *same_log_p], strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_missing_shard_is_named(tmp_path):
    with pytest.raises(SpecbeamError, match="gone.safetensors: expected recorded trajectories here, found none"):
        Shard.load(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("keep", [0, 5, 200, -3], ids=["empty", "a few bytes", "the header", "all but the end"])
def test_a_damaged_shard_is_named(tmp_path, keep):
    path = tmp_path / "shard.safetensors"
    some_shard().save(path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SpecbeamError, match=r"shard.safetensors: not a shard of trajectories .* record again"):
        Shard.load(path)


def test_a_shard_of_an_older_format_is_to_be_recorded_again(tmp_path, monkeypatch):
    with monkeypatch.context() as older:
        older.setattr("specbeam.teacher.FORMAT", "specbeam trajectories 1")
        some_shard().save(tmp_path / "shard.safetensors")
    with pytest.raises(SpecbeamError, match=r"expected format .* found 'specbeam trajectories 1'.*record again"):
        Shard.load(tmp_path / "shard.safetensors")


def test_a_file_of_other_tensors_is_no_shard(tmp_path):
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(SpecbeamError, match="model.safetensors: not a shard of trajectories"):
        Shard.load(tmp_path / "model.safetensors")


def flat(tree):
    """All arrays of a tree."""
    return [*tree.states, *tree.parents, *tree.counts, tree.truth]


def written_to(state, trie):
    """The tokens on the way from the root to a state."""
    return [*written_to(int(trie.parents[state]), trie), int(trie.tokens[state - 1])] if state > 0 else []


def stored(trie, items, values):
    """A shard of users 100, 101, ..., whose last item is the true one."""
    states = trie.walk(torch.from_numpy(items)).numpy().astype(np.int32)
    users, trajectories = states.shape[0], states.shape[1] - 1
    return Shard(
        users=np.arange(100, 100 + users),
        paths=states[:, :-1],
        scores=np.zeros((users, trajectories), dtype=np.float32),
        truth=states[:, -1],
        beams=np.full((users, trie.depth - 1, trajectories), -1, dtype=np.int32),
        log_p=np.concatenate(values),
        offsets=np.cumsum([0, *map(len, values)]),
    )


def some_shard(items=None, trie=None):
    if items is None:
        trie, _, items = random_trees(2)
    sizes = []
    for tree in (TeacherTree.of(own[:-1], own[-1], trie) for own in trie.walk(torch.from_numpy(items)).numpy()):
        first = trie.first_edge.numpy()
        sizes.append(sum(int((first[states + 1] - first[states]).sum()) for states in tree.states))
    values = [np.linspace(-3, 0, size).astype(np.float16) for size in sizes]
    return stored(trie, items, values)
