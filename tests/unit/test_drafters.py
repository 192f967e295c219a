"""Who drafts: shares of the catalogue, and a model that scores as ordinary passes of it do."""

from collections import defaultdict

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from models_for_tests import one_batch, random_catalogue, random_prompt, tiny_model
from specbeam.decoding.beams import Beams
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.reader import Scorer
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

END = 9
catalogues = st.lists(
    st.lists(st.integers(0, 3), min_size=1, max_size=4).map(tuple), min_size=1, max_size=25, unique=True
)  # fmt: skip


def root_of(prompts: int, trie: Trie) -> Beams:
    return Beams.root(torch.arange(prompts), trie.depth)


@given(catalogues, st.booleans(), st.data())
def test_a_branch_is_as_likely_as_its_share_of_the_items_behind_its_state(
    identifiers: list[tuple[int, ...]], weighted: bool, data: st.DataObject
) -> None:
    popularity = [data.draw(st.integers(0, 50)) for _ in identifiers] if weighted else None
    trie = Trie.of(identifiers, end=END)
    mass = defaultdict(float)
    for row, tokens in enumerate(identifiers):
        for end in range(len(tokens) + 2):
            mass[(*tokens, END)[:end]] += 1 + (popularity[row] if weighted else 0)
    prior = PriorDrafter.of(trie, popularity)
    for tokens in identifiers:
        path = [0, *trie.walk(torch.tensor([[*tokens, END]]))[0].tolist()]
        for depth, state in enumerate(path[1:]):
            whole = (*tokens, END)
            expected = mass[whole[: depth + 1]] / mass[whole[:depth]]
            assert prior.log_p[state - 1].exp().item() == pytest.approx(expected, rel=1e-5)  # edge s - 1 leads to s


def test_the_prior_adds_a_branchs_share_to_the_beams_score_whatever_the_prompt() -> None:
    trie = Trie.of([[2, 5], [2, 6], [3, 5], [2, 7]])
    draft = PriorDrafter.of(trie).start(TokenTree(random_prompt(0, 4).expand(2, -1), 1))
    beams = root_of(2, trie)
    beams.scores = beams.scores - 3.0
    found = draft.expand(beams, trie.edges(beams.states, 3), 1.0, 1)
    expected = torch.tensor([0.75, 0.25, 0.0]).log() - 3.0
    torch.testing.assert_close(found.scores, expected.expand(2, -1))
    assert found.exists().tolist() == [[True, True, False]] * 2
    assert draft.calls == 0


def test_under_the_position_wise_constraint_all_continuations_are_alike() -> None:
    prior = PriorDrafter.of(Trie.position_wise([[2, 5], [2, 6], [3, 5]]))
    assert prior.log_p[:4].exp().tolist() == pytest.approx([0.5] * 4)


@pytest.mark.parametrize("popularity", [[1, 2], [1, 2, 3, 4], [1, 2, -1], [1, 2, float("nan")], [[1, 2, 3]]])
def test_popularity_that_does_not_fit_the_catalogue_is_refused(popularity: list) -> None:
    with pytest.raises(SpecbeamError, match="popularity: expected 3 values of 0 or more, one an identifier"):
        PriorDrafter.of(Trie.of([[2, 5], [2, 6], [3, 5]]), popularity)


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@torch.inference_mode()
def test_a_models_scores_are_those_of_an_ordinary_pass(normalise: str) -> None:
    trie, model = Trie.of(random_catalogue(0)), tiny_model(seed=1)
    prompts = [random_prompt(0, 4), random_prompt(1, 7)]
    batch = one_batch(prompts)
    draft = ModelDrafter.of(Scorer.of(model, trie, normalise=normalise)).start(
        TokenTree(batch["prompts"], 3, batch["mask"])
    )
    beams = root_of(2, trie)
    found = draft.expand(beams, trie.edges(beams.states, trie.widths[0]), 2.0, 1)
    first = trie.children(torch.tensor([0]), 0).tokens[0]
    for row, prompt in enumerate(prompts):
        logits = model(prompt).logits[0, -1] / 2.0
        expected = logits[first].log_softmax(0) if normalise == "children" else logits.log_softmax(0)[first]
        torch.testing.assert_close(found.scores[row], expected, atol=1e-4, rtol=0)
    assert draft.calls == 1


@pytest.mark.parametrize("written", [0, 1, 2, 3])
@torch.inference_mode()
def test_a_model_reads_what_it_has_not_read_yet_along_with_the_beams(written: int) -> None:
    """After levels that the target accepted on its own, the draft catches up in the same pass."""
    trie, model, prompt = Trie.of(random_catalogue(0)), tiny_model(seed=1), random_prompt(0, 5)
    tree, identifier = TokenTree(prompt, 3), torch.from_numpy(random_catalogue(0)[7:8])
    draft = ModelDrafter.of(Scorer.of(model, trie, normalise="children")).start(tree)
    beams, states = root_of(1, trie), [0, *trie.walk(identifier)[0].tolist()]
    for level in range(written):
        beams.nodes = tree.attach(identifier[:, level : level + 1], beams.nodes)
    beams.states = torch.tensor([[states[written]]])
    found = draft.expand(beams, trie.edges(beams.states, trie.widths[written]), 1.0, written + 1)
    children = trie.children(beams.states[0], written)
    logits = model(torch.cat([prompt, identifier[:, :written]], 1)).logits[0, -1]
    expected = logits[children.tokens[0]].masked_fill(~children.allowed[0], -torch.inf).log_softmax(-1)
    torch.testing.assert_close(found.scores[0], expected, atol=1e-4, rtol=0)
    assert draft.calls == 1


def test_a_model_drafter_has_a_prior_of_the_same_trie() -> None:
    trie = Trie.of([[2, 5], [2, 6], [3, 5]])
    drafter = ModelDrafter.of(Scorer.of(tiny_model(seed=1), trie, normalise="children"), popularity=[8, 0, 0])
    assert torch.equal(drafter.prior.log_p, PriorDrafter.of(trie, [8, 0, 0]).log_p)
