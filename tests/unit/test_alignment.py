"""The loss of every objective, against a slow re-computation from one plain causal pass a prefix."""

import dataclasses

import numpy as np
import pytest
import torch

import slow_losses as slow
from models_for_tests import VOCABULARY, random_catalogue, tiny_model
from specbeam.alignment.train import Alignment, Sample
from specbeam.settings import ObjectiveSettings
from specbeam.teacher import TeacherTree
from specbeam.trie import Trie

IDENTIFIERS = random_catalogue(5, items=60, branching=3)
TRIE = Trie.of(IDENTIFIERS)
LENGTH = TRIE.depth
TRAJECTORIES = 5

OBJECTIVES = {
    "sft": ("sft", {}),
    "seqkd": ("seqkd", {"alpha": 0.5}),
    "wordkd": ("wordkd", {}),
    "tvdkd": ("tvdkd", {}),
    "atspeed_s": ("atspeed_s", {}),
    "atspeed_s at another temperature": ("atspeed_s", {"temperature": 0.5, "alpha": 0.3}),
    "atspeed_s in the authors' form": ("atspeed_s", {"temperature": 0.1, "softmax_of": "probabilities"}),
    "atspeed_s without density": ("atspeed_s", {"density": "off"}),
    "atspeed_r": ("atspeed_r", {"temperature": 0.5}),
    "treekd": ("treekd", {"alpha": 0.8}),
}
each_objective = pytest.mark.parametrize(("objective", "changes"), OBJECTIVES.values(), ids=OBJECTIVES.keys())
with_and_without_prompt = pytest.mark.parametrize("loss_on_prompt", [True, False], ids=["prompt", "item alone"])


def alignment(objective, changes, *, loss_on_prompt=True, beam_width=2):
    return Alignment(objective, ObjectiveSettings(**changes), beam_width, TRIE, TRIE, 0, loss_on_prompt)


def user(seed, prompt_length):
    """A sample, and its trajectories' and true item's tokens [6, L]; the true item is the last."""
    random = np.random.default_rng(seed)
    items = IDENTIFIERS[random.integers(len(IDENTIFIERS), size=TRAJECTORIES + 1)]
    items[1] = items[0]  # two trajectories may run together
    paths = TRIE.walk(torch.from_numpy(items)).numpy()
    tree = TeacherTree.of(paths[:-1], paths[-1], TRIE)
    first, log_p = TRIE.first_edge.numpy(), []
    for states, width in zip(tree.states, TRIE.widths, strict=True):
        allowed = np.arange(width) < (first[states + 1] - first[states])[:, None]
        values = np.where(allowed, random.normal(size=allowed.shape), -np.inf)
        log_p.append((values - np.log(np.exp(values).sum(1, keepdims=True))).astype(np.float16))
    return Sample(random.integers(2, VOCABULARY, size=prompt_length).tolist(), tree, log_p), items


def losses_of(samples, objective, changes, **options):
    task = alignment(objective, changes, **options)
    with torch.no_grad():
        return {name: value.item() for name, value in task.loss(DRAFT, task.collate(samples)).items()}


DRAFT = tiny_model(seed=3, layers=1)


def logits_along(prompt, item):
    """Logits [P + L, vocabulary] by one plain pass over the prompt and the item after it."""
    with torch.no_grad():
        return DRAFT(torch.tensor([[*prompt, *item]])).logits[0].double()


def at_prefix(sample, logits, item, depth):
    """Draft logits and target log-probabilities of the children of the item's prefix, and which is the item's."""
    state = int(TRIE.walk(torch.from_numpy(item[None]))[0, depth - 1]) if depth else 0
    children = TRIE.children(torch.tensor(state), depth)
    tokens = children.tokens[children.allowed].tolist()
    place = sample.tree.states[depth].tolist().index(state)
    p = sample.log_p[depth][place][: len(tokens)].astype(float).tolist()
    return logits[len(sample.prompt) - 1 + depth, tokens].tolist(), p, tokens.index(item[depth])


def slow_alignment(sample, items, objective, settings, beam_width):
    """Mean over the objective's sequences and their positions of its term; of treekd, see docs/method.md."""
    if objective == "treekd":
        return slow_tree_distillation(sample, items)
    sequences = items[-1:] if objective in ("wordkd", "tvdkd") else items[:-1]
    terms = []
    for item in sequences:
        logits = logits_along(sample.prompt, item)
        for depth in range(LENGTH):
            q, p, child = at_prefix(sample, logits, item, depth)
            if objective == "seqkd":
                terms.append(slow.cross_entropy(q, [float(i == child) for i in range(len(q))]))
            elif objective == "wordkd":
                terms.append(slow.forward_kl(p, q))
            elif objective == "tvdkd":
                terms.append(slow.total_variation(p, q))
            elif objective == "atspeed_r":
                terms.append(slow.total_variation(p, q, settings.temperature))
            else:
                form = {"temperature": settings.temperature, "softmax_of": settings.softmax_of}
                terms.append(slow.atspeed_s(p, q, k=beam_width, density=settings.density, **form))
    return sum(terms) / len(terms)


def slow_tree_distillation(sample, items):
    """KL(p || q) at every recorded state but those of the last depth: the root whole, others 1 / trajectories each."""
    found = {}
    for item in items:
        logits = logits_along(sample.prompt, item)
        for depth in range(LENGTH - 1):
            q, p, _ = at_prefix(sample, logits, item, depth)
            found[depth, tuple(item[:depth])] = slow.forward_kl(p, q)
    assert len(found) == sum(len(states) for states in sample.tree.states[:-1])
    return sum(kl if depth == 0 else kl / TRAJECTORIES for (depth, _), kl in found.items()) / LENGTH


def slow_cross_entropy(sample, items, *, loss_on_prompt):
    """Mean over the true item's tokens and, if asked for, the prompt's; over the full vocabulary."""
    tokens = [*sample.prompt, *items[-1].tolist()]
    log_q = logits_along(sample.prompt, items[-1]).log_softmax(-1)
    start = 1 if loss_on_prompt else len(sample.prompt)
    return -sum(log_q[at - 1, tokens[at]].item() for at in range(start, len(tokens))) / (len(tokens) - start)


@with_and_without_prompt
@each_objective
def test_the_loss_is_what_the_method_says(objective, changes, loss_on_prompt):
    sample, items = user(1, 7)
    settings = ObjectiveSettings(**changes)
    found = losses_of([sample], objective, changes, loss_on_prompt=loss_on_prompt)
    cross_entropy = slow_cross_entropy(sample, items, loss_on_prompt=loss_on_prompt)
    assert found["cross_entropy"] == pytest.approx(cross_entropy, rel=1e-4)
    if objective == "sft":
        assert found["alignment"] == 0
        assert found["loss"] == found["cross_entropy"]
    else:
        expected = slow_alignment(sample, items, objective, settings, beam_width=2)
        assert found["alignment"] == pytest.approx(expected, rel=2e-3)  # the target's side is float16
        total = settings.alpha * expected + (1 - settings.alpha) * cross_entropy
        assert found["loss"] == pytest.approx(total, rel=2e-3)


@each_objective
def test_users_in_a_batch_weigh_the_same_and_padding_counts_nothing(objective, changes):
    samples = [user(2, 9)[0], user(3, 2)[0], user(4, 5)[0]]
    together = losses_of(samples, objective, changes, loss_on_prompt=False)
    alone = [losses_of([sample], objective, changes, loss_on_prompt=False) for sample in samples]
    for name, value in together.items():
        assert value == pytest.approx(np.mean([losses[name] for losses in alone]), rel=1e-5, abs=1e-6)


def test_the_cross_entropy_with_the_prompt_weighs_tokens_the_same():
    samples = [user(2, 9)[0], user(3, 2)[0]]
    together = losses_of(samples, "sft", {})["cross_entropy"]
    alone = [losses_of([sample], "sft", {})["cross_entropy"] for sample in samples]
    tokens = [len(sample.prompt) - 1 + LENGTH for sample in samples]
    assert together == pytest.approx(np.average(alone, weights=tokens), rel=1e-5)


@each_objective
def test_gradients_are_finite_although_users_are_padded(objective, changes):
    task, draft = alignment(objective, changes), tiny_model(seed=3, layers=1)
    task.loss(draft, task.collate([user(2, 9)[0], user(3, 2)[0]]))["loss"].backward()
    gradients = [weight.grad for weight in draft.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


@pytest.mark.parametrize("objective", ["wordkd", "tvdkd", "treekd", "atspeed_r", "atspeed_s"])
def test_a_draft_that_is_the_teacher_has_nothing_left_to_learn(objective):
    sample, items = user(6, 4)
    own = [np.full_like(log_p, -np.inf) for log_p in sample.log_p]
    for item in items:
        logits = logits_along(sample.prompt, item)
        for depth, states in enumerate(sample.tree.states):
            q, _, _ = at_prefix(sample, logits, item, depth)
            state = int(TRIE.walk(torch.from_numpy(item[None]))[0, depth - 1]) if depth else 0
            own[depth][states.tolist().index(state), : len(q)] = torch.tensor(q).log_softmax(0)
    found = losses_of([dataclasses.replace(sample, log_p=own)], objective, {"density": "off"})
    assert found["alignment"] == pytest.approx(0, abs=2e-3)
