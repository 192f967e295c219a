"""What each alignment term is, against slow formulas, and what it must never do."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import slow_losses as slow
from specbeam import losses

FORMS = st.fixed_dictionaries(
    {
        "k": st.integers(1, 9),
        "temperature": st.sampled_from([0.3, 1.0, 2.5]),
        "softmax_of": st.sampled_from(["logits", "probabilities"]),
        "density": st.sampled_from(["draft", "target", "off"]),
    }
)

TERMS = {
    "cross_entropy": lambda p, q, allowed: losses.cross_entropy(q, losses.log_softmax(p, allowed).exp(), allowed),
    "forward_kl": losses.forward_kl,
    "total_variation": losses.total_variation,
    "atspeed_s": lambda p, q, allowed: losses.atspeed_s(p, q, allowed, k=3),
    "atspeed_s, authors' form": lambda p, q, allowed: losses.atspeed_s(
        p, q, allowed, k=3, temperature=0.001, softmax_of="probabilities"
    ),
    "atspeed_s, without density": lambda p, q, allowed: losses.atspeed_s(p, q, allowed, k=3, density="off"),
    "atspeed_r": losses.atspeed_r,
    "atspeed_r, authors' temperature": lambda p, q, allowed: losses.atspeed_r(p, q, allowed, temperature=0.001),
}
each_term = pytest.mark.parametrize("term", TERMS.values(), ids=TERMS.keys())


@st.composite
def states(draw):
    """p [S, C] log-probabilities, q [S, C] logits, allowed [S, C] with at least one child a state; no equal values."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 8)))
    spread = draw(st.sampled_from([0.1, 1.0, 5.0]))
    random = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    p, q = (spread * torch.randn(shape, generator=random) for _ in range(2))
    allowed = torch.rand(shape, generator=random) < 0.6
    allowed[torch.arange(shape[0]), torch.randint(shape[1], shape[:1], generator=random)] = True
    return p.masked_fill(~allowed, -torch.inf).log_softmax(-1), q, allowed


def example():
    """Three states of five entries, of which some are forbidden; one state has a single child, one is padding."""
    random = torch.Generator().manual_seed(3)
    allowed = torch.tensor([[1, 1, 0, 1, 1], [0, 0, 1, 0, 0], [0, 0, 0, 0, 0]], dtype=torch.bool)
    p, q = (2 * torch.randn(3, 5, generator=random) for _ in range(2))
    return p, q, allowed


def children(values, allowed):
    rows = zip(values.tolist(), allowed.tolist(), strict=True)
    return [[value for value, child in zip(*row, strict=True) if child] for row in rows]


def agree(found, expected):
    assert found.shape == (len(expected),)
    torch.testing.assert_close(found, torch.tensor(expected), atol=2e-5, rtol=2e-4)


@given(states(), st.sampled_from([0.001, 0.5, 1.0, 3.0]))
def test_the_distances_are_what_the_formulas_say(inputs, temperature):
    p, q, allowed = inputs
    pairs = list(zip(children(p, allowed), children(q, allowed), strict=True))
    agree(losses.forward_kl(p, q, allowed), [slow.forward_kl(a, b) for a, b in pairs])
    agree(losses.total_variation(p, q, allowed), [slow.total_variation(a, b) for a, b in pairs])
    agree(
        losses.atspeed_r(p, q, allowed, temperature=temperature),
        [slow.total_variation(a, b, temperature) for a, b in pairs],
    )


@given(states())
def test_the_cross_entropy_counts_the_sequences_that_take_each_child(inputs):
    p, q, allowed = inputs
    counts = (p.exp() * 20).round()
    pairs = zip(children(q, allowed), children(counts, allowed), strict=True)
    agree(losses.cross_entropy(q, counts, allowed), [slow.cross_entropy(a, b) for a, b in pairs])


@given(states(), FORMS)
def test_atspeed_s_is_what_the_formula_says_in_every_form(inputs, form):
    p, q, allowed = inputs
    pairs = zip(children(p, allowed), children(q, allowed), strict=True)
    agree(losses.atspeed_s(p, q, allowed, **form), [slow.atspeed_s(a, b, **form) for a, b in pairs])


@given(states(), FORMS)
def test_a_draft_equal_to_the_target_costs_nothing(inputs, form):
    p, _, allowed = inputs
    zero = torch.zeros(len(p))
    for value in (
        losses.forward_kl(p, p, allowed),
        losses.atspeed_r(p, p, allowed, temperature=0.001),
        losses.atspeed_s(p, p, allowed, **{**form, "density": "off"}),
    ):
        torch.testing.assert_close(value, zero, atol=1e-6, rtol=0)


@given(states(), FORMS)
def test_a_draft_equal_to_the_target_is_not_pulled_away(inputs, form):
    p, _, allowed = inputs
    for term in (
        lambda q: losses.cross_entropy(q, p.exp(), allowed),
        lambda q: losses.forward_kl(p, q, allowed),
        lambda q: losses.total_variation(p, q, allowed),
        lambda q: losses.atspeed_s(p, q, allowed, **{**form, "density": "off"}),
    ):
        q = p.clamp(min=losses.FORBIDDEN).requires_grad_()
        term(q).sum().backward()
        torch.testing.assert_close(q.grad, torch.zeros_like(q), atol=1e-5, rtol=0)


@given(states())
def test_the_cross_entropy_is_least_where_the_draft_equals_the_target_and_there_the_entropy(inputs):
    p, q, allowed = inputs
    entropy = -(p.exp() * p).masked_fill(~allowed, 0).sum(-1)
    torch.testing.assert_close(losses.cross_entropy(p, p.exp(), allowed), entropy, atol=1e-6, rtol=1e-5)
    assert (losses.cross_entropy(q, p.exp(), allowed) >= entropy - 1e-5).all()


def test_a_draft_equal_to_the_target_still_pays_the_entropy_of_the_density_term():
    p = torch.tensor([[0.5, 0.25, 0.25]]).log()
    value = losses.atspeed_s(p, p, torch.ones(1, 3, dtype=torch.bool), k=2)
    p_kept = (2 / 3, 1 / 3)
    assert value.item() == pytest.approx(p_kept[1] * -sum(x * math.log(x) for x in p_kept))


def test_the_density_term_uses_the_last_child_where_there_are_fewer_than_k():
    p = torch.tensor([[0.7, 0.2, 0.1]]).log()
    q = torch.tensor([[0.0, 1.0, 9.0]])
    allowed = torch.tensor([[True, True, False]])
    expected = slow.atspeed_s(
        [math.log(0.7), math.log(0.2)], [0.0, 1.0], k=2, temperature=1.0, softmax_of="logits", density="draft"
    )
    assert losses.atspeed_s(p, q, allowed, k=20).item() == pytest.approx(expected, abs=1e-6)


@each_term
def test_only_the_allowed_entries_count_and_get_gradients(term):
    p, q, allowed = example()
    expected = term(p, q, allowed)
    p, q = p.masked_fill(~allowed, torch.nan), q.masked_fill(~allowed, 1e30).requires_grad_()
    value = term(p, q, allowed)
    torch.testing.assert_close(value, expected)
    value.sum().backward()
    assert q.grad.isfinite().all()
    assert (q.grad[~allowed] == 0).all()


@each_term
def test_a_target_that_forbids_by_minus_infinity_gives_finite_gradients(term):
    p, q, allowed = example()
    q.requires_grad_()
    value = term(p.masked_fill(~allowed, -torch.inf), q, allowed)
    value.sum().backward()
    assert value.isfinite().all()
    assert q.grad.isfinite().all()


@each_term
def test_single_children_and_padding_cost_nothing(term):
    p, q, allowed = example()
    q.requires_grad_()
    value = term(p, q, allowed)
    value.sum().backward()
    assert value[0] > 0
    assert value[1:].tolist() == [0, 0]
    assert (q.grad[1:] == 0).all()


@each_term
@given(inputs=states(), data=st.data())
def test_the_order_of_children_does_not_matter(term, inputs, data):
    order = torch.tensor(data.draw(st.permutations(range(inputs[0].shape[1]))))
    shuffled = (x[:, order] for x in inputs)
    torch.testing.assert_close(term(*shuffled), term(*inputs), atol=1e-5, rtol=1e-4)


@each_term
@given(inputs=states())
def test_inputs_keep_their_very_bits_forward_and_backward(term, inputs):
    p, q, allowed = inputs
    before = [x.numpy().tobytes() for x in inputs]
    term(p, q.requires_grad_(), allowed).sum().backward()
    assert [x.detach().numpy().tobytes() for x in inputs] == before


@each_term
def test_descending_the_gradient_lowers_the_term(term):
    p, q, allowed = example()
    q.requires_grad_()
    before = term(p, q, allowed).sum()
    before.backward()
    if q.grad.norm() > 1e-8:  # at the authors' temperature a term can be flat
        after = term(p, (q - 1e-4 * q.grad / q.grad.norm()).detach(), allowed).sum()
        assert after <= before
