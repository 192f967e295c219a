"""The loss of every objective with every setting, against a slow re-computation by one plain causal pass a prefix."""

import copy
import math
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

import slow_losses as slow
from models_for_tests import random_catalogue, random_prompt, tiny_model
from specbeam.alignment.train import Alignment, Sample
from specbeam.settings.objectives import (
    DistillationSettings,
    ObjectiveSettings,
    RelaxedAlignmentSettings,
    SftSettings,
    TokenDistillationSettings,
    TreeDistillationSettings,
)
from specbeam.trie import Trie
from trajectories_for_tests import recorded, slow_beams, tokens_after

IDENTIFIERS = random_catalogue(5, items=80, branching=5)
TRIE = Trie.of(IDENTIFIERS)
LENGTH = TRIE.depth
TRAJECTORIES = 5
KEPT = 2  # K, and the size of S_q unless `top` is set
PROMPTS = [random_prompt(seed, length)[0].tolist() for seed, length in enumerate((9, 2, 5))]
TRUTH = [tuple(item) for item in IDENTIFIERS[[7, 30, 12]].tolist()]
TARGET, DRAFT = tiny_model(seed=8, layers=1, peak=4.0), tiny_model(seed=3, layers=1, peak=4.0)


def every_setting():
    """Objectives, each with all values of the settings that change what it is."""
    yield "sft", SftSettings()
    yield "seqkd", DistillationSettings(alpha=0.5)
    yield "treekd", TreeDistillationSettings(alpha=0.8)
    for sequences, mask in product(("truth", "trajectories"), ("children", "position")):
        where = {"sequences": sequences, "mask": mask}
        yield "wordkd", TokenDistillationSettings(**where)
        yield "tvdkd", TokenDistillationSettings(**where)
        yield "atspeed_r", RelaxedAlignmentSettings(**where, temperature=0.5)
        yield "atspeed_s", ObjectiveSettings(**where, top=3)
        for (softmax_of, temperature), density in product(
            (("logits", 0.5), ("probabilities", 0.1)), ("draft", "target", "off")
        ):
            form = {"softmax_of": softmax_of, "temperature": temperature, "density": density}
            yield "atspeed_s", ObjectiveSettings(**where, **form, alpha=0.3)


SETTINGS = list(every_setting())


def mask_of(settings):
    return getattr(settings, "mask", "children")


def named(objective, settings):
    return " ".join(map(str, [objective, *settings.model_dump().values()]))


each_setting = pytest.mark.parametrize(
    ("objective", "settings"), SETTINGS, ids=[named(objective, settings) for objective, settings in SETTINGS]
)


@cache
def shard(over):
    return recorded(TARGET, PROMPTS, np.array(TRUTH), TRIE, width=TRAJECTORIES, over=over)


def samples(objective, settings, *, over="position"):
    """What `objective` is taught about the three users, out of a shard recorded over positions or children."""
    trees = shard(over).trees(TRIE, over=mask_of(settings), beams=objective == "treekd")
    return [Sample(prompt, tree, log_p) for prompt, (_, tree, log_p) in zip(PROMPTS, trees, strict=True)]


def alignment(objective, settings, *, loss_on_prompt=True):
    return Alignment(objective, settings, KEPT, TRIE, TRIE, 0, loss_on_prompt)


def losses_of(taught, objective, settings, *, draft=DRAFT, **options):
    task = alignment(objective, settings, **options)
    with torch.no_grad():
        return {name: value.item() for name, value in task.loss(draft, task.collate(taught)).items()}


@cache
def after(model, prompt, prefix, over):
    """Logits after `prefix`, by one plain pass, of all tokens that a distribution there is over."""
    with torch.no_grad():
        return model(torch.tensor([[*prompt, *prefix]])).logits[0, -1, tokens_after(prefix, IDENTIFIERS, over)].tolist()


@cache
def beams_of(user, width=TRAJECTORIES):
    return slow_beams(TARGET, PROMPTS[user], IDENTIFIERS, width)


def prefixes_of(user, *, beams):
    """The distinct prefixes, of 0 to L - 1 tokens, of trajectories and true item, and of the search's beams."""
    *dropped, trajectories = beams_of(user)
    inner = {item[:depth] for item in [*trajectories, TRUTH[user]] for depth in range(LENGTH)}
    return inner.union(*dropped) if beams else inner


def slow_term(objective, settings, p, q, token):
    """One objective's term after one prefix; `token` is the place of the one that the sequence takes."""
    if objective == "seqkd":
        return slow.cross_entropy(q, [float(place == token) for place in range(len(q))])
    if objective == "wordkd":
        return slow.forward_kl(p, q)
    if objective in ("tvdkd", "atspeed_r"):
        return slow.total_variation(p, q, getattr(settings, "temperature", 1.0))
    form = {"temperature": settings.temperature, "softmax_of": settings.softmax_of, "density": settings.density}
    return slow.atspeed_s(p, q, k=settings.top or KEPT, **form)


def slow_alignment(objective, settings, user, draft):
    """The mean over sequences and their tokens; of treekd over depths, after every prefix that a round drafts from."""
    prompt, over = tuple(PROMPTS[user]), mask_of(settings)
    if objective == "treekd":
        total = 0.0
        for prefix in prefixes_of(user, beams=True):
            if len(prefix) < LENGTH - 1:
                kl = slow.forward_kl(*(after(model, prompt, prefix, over) for model in (TARGET, draft)))
                total += kl / (TRAJECTORIES if prefix else 1)
        return total / LENGTH
    on_truth = getattr(settings, "sequences", "trajectories") == "truth"
    terms = []
    for item, depth in product([TRUTH[user]] if on_truth else beams_of(user)[-1], range(LENGTH)):
        p, q = (after(model, prompt, item[:depth], over) for model in (TARGET, draft))
        token = tokens_after(item[:depth], IDENTIFIERS, over).index(item[depth])
        terms.append(slow_term(objective, settings, p, q, token))
    return math.fsum(terms) / len(terms)


def slow_cross_entropy(user, *, loss_on_prompt):
    """Mean over the true item's tokens and, if asked for, the prompt's; over the full vocabulary."""
    tokens = [*PROMPTS[user], *TRUTH[user]]
    with torch.no_grad():
        log_q = DRAFT(torch.tensor([tokens])).logits[0].double().log_softmax(-1)
    start = 1 if loss_on_prompt else len(PROMPTS[user])
    return -sum(log_q[at - 1, tokens[at]].item() for at in range(start, len(tokens))) / (len(tokens) - start)


@pytest.mark.parametrize(
    ("objective", "settings", "over"),
    [(*chosen, over) for chosen in SETTINGS[1:] for over in sorted({"position", mask_of(chosen[1])})],
    ids=lambda value: named("", value) if hasattr(value, "model_dump") else value,
)
def test_the_alignment_term_is_what_the_method_says_whatever_was_recorded(objective, settings, over):
    for user, sample in enumerate(samples(objective, settings, over=over)):
        found = losses_of([sample], objective, settings)["alignment"]
        expected = slow_alignment(objective, settings, user, DRAFT)
        assert found == pytest.approx(expected, rel=5e-3, abs=1e-3)  # the target's side is float16


@pytest.mark.parametrize("loss_on_prompt", [True, False], ids=["prompt", "item alone"])
def test_the_cross_entropy_is_over_all_tokens_of_the_true_item_and_perhaps_the_prompts(loss_on_prompt):
    for user, sample in enumerate(samples("sft", SftSettings())):
        found = losses_of([sample], "sft", SftSettings(), loss_on_prompt=loss_on_prompt)
        expected = slow_cross_entropy(user, loss_on_prompt=loss_on_prompt)
        assert found["cross_entropy"] == pytest.approx(expected, rel=1e-4)
        assert found["loss"] == found["cross_entropy"]
        assert found["alignment"] == 0


@each_setting
def test_alpha_weighs_the_alignment_term_against_the_cross_entropy(objective, settings):
    found = losses_of(samples(objective, settings), objective, settings)
    alpha = getattr(settings, "alpha", 0.0)
    assert found["loss"] == pytest.approx(alpha * found["alignment"] + (1 - alpha) * found["cross_entropy"], rel=1e-5)


@each_setting
def test_users_in_a_batch_weigh_the_same_in_any_order_and_padding_counts_nothing(objective, settings):
    taught = samples(objective, settings)
    together = losses_of(taught, objective, settings, loss_on_prompt=False)
    turned = losses_of(taught[::-1], objective, settings, loss_on_prompt=False)
    alone = [losses_of([sample], objective, settings, loss_on_prompt=False) for sample in taught]
    for name, value in together.items():
        assert value == pytest.approx(np.mean([losses[name] for losses in alone]), rel=1e-5, abs=1e-6)
        assert value == pytest.approx(turned[name], rel=1e-5, abs=1e-6)


def test_the_cross_entropy_with_the_prompt_weighs_users_the_same_so_that_parts_of_a_batch_add_up():
    taught = samples("sft", SftSettings())
    together = losses_of(taught, "sft", SftSettings())["cross_entropy"]
    alone = [losses_of([sample], "sft", SftSettings())["cross_entropy"] for sample in taught]
    assert together == pytest.approx(np.mean(alone), rel=1e-5)


@each_setting
def test_gradients_are_finite_although_tokens_are_forbidden_and_users_padded(objective, settings):
    task, draft = alignment(objective, settings), copy.deepcopy(DRAFT)
    task.loss(draft, task.collate(samples(objective, settings)))["loss"].backward()
    gradients = [weight.grad for weight in draft.parameters()]
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert any(gradient.abs().sum() > 0 for gradient in gradients)


def bits(parts):
    """The very bits of all tensors and arrays in a batch, a sample or a model."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in parts.items()}
    return {name: [np.asarray(value).tobytes() for value in values] for name, values in lists.items()}


@each_setting
def test_nothing_that_goes_into_a_loss_is_changed_by_it_forward_or_backward(objective, settings):
    task, draft, taught = alignment(objective, settings), copy.deepcopy(DRAFT), samples(objective, settings)
    batch = task.collate(taught)
    parts = [batch, draft.state_dict(), *map(vars, taught), *(vars(sample.tree) for sample in taught)]
    before = list(map(bits, parts))
    task.valid_loss(draft, batch)
    task.loss(draft, batch)["loss"].backward()
    assert list(map(bits, parts)) == before


@each_setting
def test_a_draft_that_is_the_teacher_has_nothing_left_to_learn_but_the_entropies(objective, settings):
    found = losses_of(samples(objective, settings), objective, settings, draft=TARGET)["alignment"]
    floor = 0.0
    if objective == "seqkd" or getattr(settings, "density", "off") != "off":
        floor = np.mean([slow_alignment(objective, settings, user, TARGET) for user in range(3)])
    assert found == pytest.approx(floor, abs=2e-3)


@pytest.mark.parametrize("objective", ["treekd", "atspeed_s", "seqkd"])
def test_a_loss_is_one_pass_over_the_prompt_and_each_distinct_prefix_whatever_the_trajectories(objective):
    settings, read = dict(SETTINGS)[objective], []
    task, draft = alignment(objective, settings), copy.deepcopy(DRAFT)
    draft.get_input_embeddings().register_forward_pre_hook(lambda _, given: read.append(tuple(given[0].shape)))
    taught = samples(objective, settings)
    nodes = [prefixes_of(user, beams=objective == "treekd") for user in range(3)]
    for sample, prefixes in zip(taught, nodes, strict=True):
        task.loss(draft, task.collate([sample]))
        assert read.pop() == (1, len(sample.prompt) - 1 + len(prefixes))  # the root is the prompt's last token
        assert len(prefixes) < TRAJECTORIES * LENGTH
    task.loss(draft, task.collate(taught))
    widest = [max(sum(len(p) == depth for p in prefixes) for prefixes in nodes) for depth in range(LENGTH)]
    assert read.pop() == (3, max(map(len, PROMPTS)) - 1 + sum(widest))  # padded depth by depth
    assert not read


@each_setting
def test_validation_asks_for_the_true_item_alone_and_for_the_distance_along_the_trajectories(objective, settings):
    taught, task = samples(objective, settings), alignment(objective, settings)
    with torch.no_grad():
        found = {name: value.item() for name, value in task.valid_loss(DRAFT, task.collate(taught)).items()}
    distance = RelaxedAlignmentSettings(mask=mask_of(settings))
    tvd = np.mean([slow_alignment("atspeed_r", distance, user, DRAFT) for user in range(3)])
    assert found.pop("tvd") == pytest.approx(tvd, rel=5e-3)
    assert found == pytest.approx(losses_of(taught, objective, settings, loss_on_prompt=False), rel=1e-5)
