"""How often each item is on a sampled list: drawn with many seeds, and computed by brute force."""

import itertools
from collections import defaultdict
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding.drafters import Drafter
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Rule
from specbeam.decoding.search import Search, untimed
from specbeam.decoding.tree import TokenTree


@torch.inference_mode()
def sampled_lists(
    target: Scorer, prompt: Tensor, rule: Rule, *, beam_width: int, runs: int, drafter: Drafter | None = None,
    plan: Plan = Plan(), first: int = 0,  # noqa: B008 - frozen
) -> Tensor:  # fmt: skip
    """Rows of the items int64 [runs, K] on `runs` independent lists of one prompt [1, P], in no order.

    They are one batch, told apart by the streams of noise from number `first` on.
    """
    tree = TokenTree(prompt.expand(runs, -1), target.trie.depth - 1)
    search = Search(target, tree, beam_width, rule, drafter, plan, untimed)
    found, _ = search.run(first + torch.arange(runs))
    return target.trie.rows[found.states]


def inclusion(lists: Tensor, items: int) -> Tensor:
    """float64 [items]: the share of `lists` [runs, K] that each item is on."""
    return torch.bincount(lists.flatten(), minlength=items).double() / len(lists)


def distance(one: Tensor, other: Tensor, items: int) -> float:
    """Total variation distance of two samples' inclusion probabilities, each divided by K: 0 equal, 1 disjoint."""
    return ((inclusion(one, items) - inclusion(other, items)).abs().sum() / 2 / one.shape[1]).item()


@torch.inference_mode()
def item_probabilities(
    model: PreTrainedModel, prompt: Tensor, identifiers: Sequence[Sequence[int]], temperature: float = 1.0
) -> Tensor:
    """float64 [items]: each item's probability, by one plain pass for each of its tokens; no trie, no tree."""
    following = defaultdict(set)
    for tokens in identifiers:
        for place, token in enumerate(tokens):
            following[tuple(tokens[:place])].add(token)
    conditional = {}
    for prefix, allowed in following.items():
        read = torch.cat([prompt[0], torch.tensor(prefix, dtype=torch.int64)])[None]
        order = sorted(allowed)
        p = (model(read).logits[0, -1, order].double() / temperature).softmax(0)
        conditional |= {(*prefix, token): p[i] for i, token in enumerate(order)}
    return torch.stack(
        [
            torch.stack([conditional[tuple(tokens[: end + 1])] for end in range(len(tokens))]).prod()
            for tokens in identifiers
        ]
    )


def pair_probabilities(p: Tensor) -> dict[tuple[int, int], float]:
    """The probability of each pair when two items are drawn without replacement: one after the other, by `p`."""
    return {
        (i, j): (p[i] * p[j] / (1 - p[i]) + p[j] * p[i] / (1 - p[j])).item()
        for i, j in itertools.combinations(range(len(p)), 2)
    }


def chi_square_p_value(counts: Tensor, probabilities: Tensor) -> float:
    """The chance of counts [n] at least as far from those expected under `probabilities` [n]."""
    expected = probabilities.double() * counts.sum()
    statistic = ((counts - expected) ** 2 / expected).sum()
    return torch.special.gammaincc(torch.tensor((len(counts) - 1) / 2, dtype=torch.float64), statistic / 2).item()
