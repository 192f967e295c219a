"""Speculative decoding of a recommendation list: the draft writes all beams, the target verifies them in one pass.

Source: AtSpeed (Lin et al., ICLR 2025), section 3; docs/method.md. One prompt at a time.
Names: drafted levels; accepted levels, those that verification passes in a row; the bonus level, which the same target
pass yields after the last accepted one.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding.beam_search import Ranking, Timer, check_search, score, untimed
from specbeam.decoding.beams import Beams, Candidates
from specbeam.decoding.counters import Counters
from specbeam.decoding.rules import Rule, Strict
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie


@dataclass
class Search:
    """What both models share in one search."""

    trie: Trie
    beam_width: int
    draft_beam_width: int
    normalise: str
    rule: Rule
    timer: Timer


@dataclass
class DraftedLevel:
    """One level that the draft wrote: N sequences, and how it scored all candidates (W parents, C children each)."""

    tokens: Tensor
    """int64 [1, N]: the last token of each sequence."""
    parents: Tensor
    """int64 [1, N]: rank of its parent in the level before."""
    nodes: Tensor
    """int64 [1, N]: its node in the draft's tree."""
    scores: Tensor
    """float32 [1, W, C]: the draft's scores of all candidates."""
    rank: Tensor
    """int64 [1, W, C]: rank of each candidate among the N drafted, -1 if it was not."""


def speculative_search(
    target: PreTrainedModel,
    draft: PreTrainedModel,
    prompt: Tensor,
    trie: Trie,
    *,
    beam_width: int,
    draft_beam_width: int,
    draft_length: int,
    normalise: str = "children",
    rule: Rule | None = None,
    timer: Timer = untimed,
) -> Ranking:
    """The target's top-K list of one prompt, with the draft's help.

    Args:
        target, draft: supported causal language models that share the item tokens.
        prompt: int64 [1, P].
        trie: the constraint, on the models' device.
        beam_width: K.
        draft_beam_width: N, drafted sequences a level, at least K.
        draft_length: gamma, levels drafted a round; at most L - 1 are of use.
        normalise: "children" or "vocabulary" (specbeam.decoding.beams.expand).
        rule: Strict (default) returns exactly beam_search(target, ...); Relaxed returns a sampled list.
        timer: takes the time of the phases draft, target, verify and constraint.

    Returns:
        Ranking of one list, with its counters. Raises SpecbeamError for inputs that make no sense.
    """
    _check(target, draft, prompt, trie, beam_width, draft_beam_width, draft_length)
    search = Search(trie, beam_width, draft_beam_width, normalise, rule or Strict(), timer)
    target_tree, draft_tree = TokenTree(target, prompt), TokenTree(draft, prompt)
    beams, draft_nodes = Beams.root(1, prompt.device), torch.zeros_like(prompt[:, :1])
    accepted = []
    while beams.level < trie.depth:
        target_base, draft_base = target_tree.size, draft_tree.size
        with timer("draft"):
            levels = min(draft_length, trie.depth - 1 - beams.level)
            drafted = draft_levels(search, draft_tree, beams, draft_nodes, levels)
        with timer("target"):
            nodes = _attach(target_tree, beams.nodes, drafted)
            target_tree.forward()
        with timer("verify"):
            bonus, parents, ranks = verify_levels(search, target_tree, beams, drafted, nodes)
            accepted.append(len(ranks))
            if bonus.level < trie.depth:
                path = [beams.nodes, *(level.gather(1, rank) for level, rank in zip(nodes, ranks, strict=False))]
                draft_path = [draft_nodes, *(d.nodes.gather(1, rank) for d, rank in zip(drafted, ranks, strict=False))]
                bonus.nodes = _continue(target_tree, target_base, path, bonus, parents)
                draft_nodes = _continue(draft_tree, draft_base, draft_path, bonus, parents)
            beams = bonus
    counters = Counters(target_tree.calls, draft_tree.calls, target_tree.nodes_read, accepted)
    return Ranking.of(beams, counters)


def draft_levels(search: Search, tree: TokenTree, beams: Beams, nodes: Tensor, levels: int) -> list[DraftedLevel]:
    """`levels` levels of constrained beam search of width N by the draft, from the target's beams and their scores.

    `nodes` [1, K] are the beams in the draft's tree. The last level is attached there but not read: should it be
    verified, the next round reads the K nodes of it that stand.
    """
    beams = Beams(beams.sequences, beams.scores, beams.states, nodes)
    drafted = []
    for _ in range(levels):
        tree.forward()
        candidates = score(tree, beams, search.trie, search.normalise, search.timer)
        indices = search.rule.choose(candidates.scores, search.draft_beam_width)
        ranks = torch.arange(indices.shape[1], device=indices.device).expand_as(indices)
        rank = torch.full_like(candidates.tokens, -1).scatter(1, indices, ranks)
        shape = (1, beams.scores.shape[1], -1)
        beams, parents = candidates.take(indices, beams)
        tokens = beams.sequences[..., -1]
        beams.nodes = tree.attach(tokens, beams.nodes)
        drafted.append(DraftedLevel(tokens, parents, beams.nodes, candidates.scores.view(shape), rank.view(shape)))
    return drafted


def verify_levels(
    search: Search, tree: TokenTree, beams: Beams, drafted: list[DraftedLevel], nodes: list[Tensor]
) -> tuple[Beams, Tensor, list[Tensor]]:
    """Level by level, what goes on by the target's scores, up to and with the bonus level.

    `nodes` are the drafted levels in the target's tree. Returns the bonus level, the ranks [1, K] of its parents in the
    last verified level, and for each accepted level the ranks [1, K] of its sequences among the drafted ones.
    """
    ranks: list[Tensor] = []
    survivors = torch.arange(beams.scores.shape[1], device=beams.scores.device)  # ranks among the draft's parents
    for level, level_nodes in zip(drafted, nodes, strict=True):
        candidates = score(tree, beams, search.trie, search.normalise, search.timer)
        draft_scores, rank = level.scores[:, survivors].flatten(1), level.rank[:, survivors].flatten(1)
        indices, accepted = search.rule.verify(candidates.scores, draft_scores, rank >= 0, search.beam_width)
        indices = _existing(candidates, indices)
        chosen, parents = candidates.take(indices, beams)
        if not accepted.all():
            return chosen, parents, ranks
        ranks.append(rank.gather(1, indices))
        survivors = ranks[-1][0]
        chosen.nodes = level_nodes.gather(1, ranks[-1])
        beams = chosen
    candidates = score(tree, beams, search.trie, search.normalise, search.timer)
    indices = _existing(candidates, search.rule.choose(candidates.scores, search.beam_width))
    chosen, parents = candidates.take(indices, beams)
    return chosen, parents, ranks


def _existing(candidates: Candidates, indices: Tensor) -> Tensor:
    """The chosen `indices` [1, k] without the fillers that stand where fewer than K continuations exist.

    A filler is nothing that the draft wrote, so it has no node to go on from.
    """
    return indices[:, candidates.scores.gather(1, indices).isfinite()[0]]


def _attach(tree: TokenTree, parents: Tensor, drafted: list[DraftedLevel]) -> list[Tensor]:
    """The drafted levels as nodes [1, N] of the target's tree, below the current beams' nodes `parents`."""
    nodes = [parents]
    for level in drafted:
        nodes.append(tree.attach(level.tokens, nodes[-1].gather(1, level.parents)))
    return nodes[1:]


def _continue(tree: TokenTree, base: int, path: list[Tensor], bonus: Beams, parents: Tensor) -> Tensor:
    """Crop `tree` to the verified path, attach the bonus level below it and return its nodes [1, K].

    `path` holds the nodes of the round's first beams, which stay, and of every accepted level; `parents` are the bonus
    level's parents' ranks in the last of them.
    """
    none = path[0][:, :0]  # for the round that accepts no level
    renumbered = tree.prune(base, torch.cat([none, *path[1:]], 1))
    return tree.attach(bonus.sequences[..., -1], renumbered.gather(1, path[-1].gather(1, parents)))


def _check(
    target: PreTrainedModel,
    draft: PreTrainedModel,
    prompt: Tensor,
    trie: Trie,
    beam_width: int,
    width: int,
    length: int,
) -> None:
    for model in (target, draft):
        check_search(model, prompt, trie, beam_width)
    if prompt.shape[0] != 1:
        raise SpecbeamError(f"speculative decoding takes one prompt at a time, got a batch of {prompt.shape[0]}")
    if width < beam_width:
        raise SpecbeamError(
            f"draft beam width {width} is below the beam width {beam_width}, so that no level could be accepted: raise "
            "measurement.draft_beam_widths, or lower measurement.beam_widths"
        )
    if length < 1:
        raise SpecbeamError(f"draft length: expected 1 level or more, got {length}")
