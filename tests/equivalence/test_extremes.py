"""Ties at every level, logits of minus infinity, what is no number, temperatures near zero: in every precision.

The models here look logits up by the last token. Each logit is one product, so it is the same in passes of any shape,
and what is said of lists is exact in bfloat16 and float16 too.
"""

from collections.abc import Callable
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from models_for_tests import VOCABULARY, one_batch, random_catalogue, random_prompt
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.lists import Ranking, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Coupled, Relaxed, RelaxedRanked, Rule, Strict
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

DTYPES = [torch.float32, torch.bfloat16, torch.float16]
LENGTH, BRANCHING = 4, 3
FULL = [list(item) for item in product(*(range(2 + BRANCHING * at, 2 + BRANCHING * (at + 1)) for at in range(LENGTH)))]
"""A catalogue of all sequences: every prefix has as many children as every other."""
PROMPT = random_prompt(1, 5)


def looked_up(table: Tensor, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    """A Llama that gives the logits 16 * table[last token], for a table [VOCABULARY, VOCABULARY]."""
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=256, intermediate_size=8, num_hidden_layers=1, num_attention_heads=4,
        eos_token_id=None, bos_token_id=None, pad_token_id=None, attn_implementation="sdpa",
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.model.layers.parameters():
            weight.zero_()
        model.model.embed_tokens.weight.copy_(torch.eye(256)[:VOCABULARY])
        model.lm_head.weight.zero_()[:, :VOCABULARY] = table.T
    return model.to(dtype).eval()


def few_values(seed: int, values: int) -> Tensor:
    """A table of so few different logits that most beams tie with others."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(values, (VOCABULARY, VOCABULARY), generator=generator) / 16


def many_values(seed: int) -> Tensor:
    """A table without ties, in numbers that bfloat16 holds."""
    return torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(seed)).bfloat16().float()


class Spoiled(Scorer):
    """A scorer whose logits [..., columns] after the token SPOILED are what `spoil` makes of them."""

    spoil: Callable[[Tensor], Tensor]

    def logits(self, hidden: Tensor) -> Tensor:
        found = super().logits(hidden)
        return torch.where((hidden.argmax(-1) == SPOILED).unsqueeze(-1), type(self).spoil(found), found)


SPOILED = FULL[0][1]


def spoiled(spoil: Callable[[Tensor], Tensor], model: PreTrainedModel, trie: Trie, normalise: str) -> Scorer:
    kind = type("Spoiled", (Spoiled,), {"spoil": staticmethod(spoil)})
    return kind.of(model, trie, normalise=normalise)


def assert_equal(found: Ranking, expected: Ranking) -> None:
    """The same list to the last bit."""
    assert torch.equal(found.sequences, expected.sequences)
    assert torch.equal(found.scores, expected.scores)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@pytest.mark.parametrize("kind", ["alone", "prior", "model"])
def test_where_all_items_tie_the_list_is_the_first_ones_by_their_tokens(
    dtype: torch.dtype, normalise: str, kind: str
) -> None:
    trie = Trie.of(FULL)
    target = Scorer.of(looked_up(torch.zeros(VOCABULARY, VOCABULARY), dtype), trie, normalise=normalise)
    other = Scorer.of(looked_up(many_values(1), dtype), trie, normalise=normalise)
    drafter = {"alone": None, "prior": PriorDrafter.of(trie), "model": ModelDrafter.of(other)}[kind]
    found = search(target, PROMPT, beam_width=10, drafter=drafter, plan=Plan.flat(12, 3, LENGTH) if drafter else Plan())
    assert found.scores.unique().numel() == 1
    assert found.sequences[0].tolist() == FULL[:10]


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 100), values=st.integers(1, 4), width=st.integers(1, 20), more=st.integers(0, 30),
    items=st.sampled_from([30, 300]), dtype=st.sampled_from(DTYPES),
    normalise=st.sampled_from(["children", "vocabulary"]), draft_length=st.integers(1, 3),
)  # fmt: skip
def test_strict_breaks_exact_ties_as_plain_beam_search_does_at_every_level(
    seed: int, values: int, width: int, more: int, items: int, dtype: torch.dtype, normalise: str, draft_length: int
) -> None:
    trie = Trie.of(random_catalogue(seed, items=items, branching=5))
    target = Scorer.of(looked_up(few_values(seed, values), dtype), trie, normalise=normalise)
    draft = ModelDrafter.of(Scorer.of(looked_up(few_values(seed + 1, 3), dtype), trie, normalise=normalise))
    found = search(target, PROMPT, beam_width=width, drafter=draft, plan=Plan.flat(width + more, draft_length, LENGTH))
    assert_equal(found, search(target, PROMPT, beam_width=width))


RULES = [Strict(), Coupled(3), Relaxed(1.0, 3), RelaxedRanked(0.7, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("left", [0, 1])
def test_items_behind_a_logit_of_minus_infinity_are_never_recommended_and_all_others_can_be(
    dtype: torch.dtype, normalise: str, rule: Rule, left: int
) -> None:
    if isinstance(rule, Coupled) and normalise == "vocabulary":
        return
    trie, model = Trie.of(FULL), looked_up(many_values(2), dtype)
    kept = [FULL[0][2]] * left  # of the continuations after the token SPOILED

    def spoil(logits: Tensor) -> Tensor:
        tokens = trie.alphabet if normalise == "children" else torch.arange(VOCABULARY)
        return logits.masked_fill(~torch.isin(tokens, torch.tensor(kept, dtype=torch.int64)), -torch.inf)

    target = spoiled(spoil, model, trie, normalise)
    drafter = ModelDrafter.of(Scorer.of(model, trie, normalise=normalise))  # knows nothing of it
    possible = [item for item in FULL if item[1] != SPOILED or item[2] in kept]
    for width in (3, len(FULL)):
        plan = Plan.flat(max(width, 9), 3, LENGTH)
        for options in ({}, {"drafter": drafter, "plan": plan}):
            found = search(target, PROMPT, beam_width=width, rule=rule, **options)
            listed = found.sequences[0][found.scores[0].isfinite()].tolist()
            assert found.scores.isfinite().all()
            assert len({*map(tuple, listed)}) == len(listed) == min(width, len(possible))
            assert all(item in possible for item in listed)


def test_a_model_that_allows_nothing_gives_an_empty_list() -> None:
    trie = Trie.of(FULL)
    kind = type("Nothing", (Scorer,), {"logits": lambda self, hidden: Scorer.logits(self, hidden).fill_(-torch.inf)})
    for normalise in ("children", "vocabulary"):
        target = kind.of(looked_up(many_values(2)), trie, normalise=normalise)
        assert search(target, PROMPT, beam_width=3).scores.shape == (1, 0)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: type(rule).__name__)
@pytest.mark.parametrize("drafted", [True, False], ids=["drafted", "alone"])
def test_logits_that_are_no_numbers_after_one_prefix_alone_are_refused(
    value: float, normalise: str, rule: Rule, drafted: bool
) -> None:
    if isinstance(rule, Coupled) and normalise == "vocabulary":
        return
    trie, model = Trie.of(FULL), looked_up(many_values(2))
    target = spoiled(lambda logits: torch.full_like(logits, value), model, trie, normalise)
    options = {
        "drafter": ModelDrafter.of(Scorer.of(model, trie, normalise=normalise)),
        "plan": Plan.flat(27, 3, LENGTH),
    }
    with pytest.raises(SpecbeamError, match="scores are not numbers"):
        search(target, PROMPT, beam_width=9, rule=rule, **(options if drafted else {}))


class Tempered(Strict):
    """Beam search by a tempered model."""

    def __init__(self, temperature: float) -> None:
        self.softmax_temperature = temperature


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [1e-6, 1e-12, 1e-30])
def test_near_temperature_zero_coupled_is_beam_search_by_the_tempered_model(
    dtype: torch.dtype, temperature: float
) -> None:
    trie = Trie.of(random_catalogue(4, items=200, branching=8))
    target, draft = (Scorer.of(looked_up(many_values(n), dtype), trie, normalise="children") for n in (4, 5))
    batch = one_batch([PROMPT, random_prompt(2, 9)])
    expected = search(target, **batch, beam_width=8, rule=Tempered(temperature))
    for seed in range(3):
        for options in ({}, {"drafter": ModelDrafter.of(draft), "plan": Plan.flat(20, 3, LENGTH)}):
            assert_equal(search(target, **batch, beam_width=8, rule=Coupled(seed, temperature), **options), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("temperature", [1e-6, 1e-12, 1e-30])
@pytest.mark.parametrize("kind", [Relaxed, RelaxedRanked])
def test_near_temperature_zero_relaxed_gives_real_items_and_beam_search_where_the_draft_is_the_target(
    dtype: torch.dtype, temperature: float, kind: type[Relaxed]
) -> None:
    trie = Trie.of(random_catalogue(4, items=200, branching=8))
    target, draft = (Scorer.of(looked_up(many_values(n), dtype), trie, normalise="children") for n in (4, 5))
    own, rule, plan = search(target, PROMPT, beam_width=8), kind(temperature, 1), Plan.flat(20, 3, LENGTH)
    assert_equal(search(target, PROMPT, beam_width=8, rule=rule), own)
    helped = search(target, PROMPT, beam_width=8, rule=rule, drafter=ModelDrafter.of(draft), plan=plan)
    assert len({*map(tuple, helped.sequences[0].tolist())}) == 8
    assert helped.scores.isfinite().all()
    if kind is RelaxedRanked:
        same = search(target, PROMPT, beam_width=8, rule=rule, drafter=ModelDrafter.of(target), plan=plan)
        assert_equal(same, own)


@pytest.mark.parametrize("temperature", [0.0, -1.0, 1e-31, 5e-324, float("nan")])
@pytest.mark.parametrize("rule", [lambda t: Coupled(1, t), lambda t: Relaxed(t, 1), lambda t: RelaxedRanked(t, 1)])
def test_temperatures_at_which_scores_would_overflow_are_refused(
    temperature: float, rule: Callable[[float], Rule]
) -> None:
    with pytest.raises(SpecbeamError, match="temperature: expected a number of 1e-30 or more, got"):
        rule(temperature)
