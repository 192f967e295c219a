"""Beams, their continuations, and the one documented order among them.

Order: larger key first; equal keys by the parent's rank, then by the smaller token id. The key is the score in a search
for the best, and a perturbed score in a sampled one (specbeam.decoding.rules). A beam that does not exist (fewer
continuations than asked for) has score and key -inf and the trie's dead state; it can never become an item.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from specbeam.decoding.reader import Scorer
from specbeam.trie import NO_TOKEN, Trie


@dataclass
class Beams:
    """W beams of B searches; each search stands at its own level."""

    sequences: Tensor
    """int64 [B, W, L]; NO_TOKEN where nothing is written yet."""
    scores: Tensor
    """float32 [B, W]: sum of log-probabilities; -inf marks a beam that does not exist."""
    keys: Tensor
    """[B, W]: what the rule chose by."""
    states: Tensor
    """int64 [B, W]: trie states."""
    nodes: Tensor
    """int64 [B, W]: the beams' last tokens as nodes of the tree; of `Candidates.take`, still the parents'."""
    levels: Tensor
    """int64 [B]: tokens written."""
    streams: Tensor
    """int64 [B]: what tells the prompts' random noise apart."""

    @classmethod
    def root(cls, streams: Tensor, depth: int) -> "Beams":
        """The one empty beam of each search, standing at the prompt's last token."""
        zeros = torch.zeros_like(streams).unsqueeze(1)
        empty = torch.full((len(streams), 1, depth), NO_TOKEN, device=streams.device)
        return cls(empty, zeros.float(), zeros.float(), zeros, zeros, zeros[:, 0], streams)

    def tokens(self) -> Tensor:
        """int64 [B, W]: the last token of each beam, 0 where there is none."""
        last = (self.levels - 1).clamp(min=0).view(-1, 1, 1).expand(-1, self.sequences.shape[1], -1)
        return self.sequences.gather(2, last).squeeze(2).clamp(min=0)

    def keep(self, rows: Tensor | list[int]) -> "Beams":
        """The searches `rows` only."""
        return Beams(*(getattr(self, field.name)[rows] for field in fields(self)))

    def pick(self, indices: Tensor) -> "Beams":
        """The beams `indices` [B, k] of each search."""
        wide = indices.unsqueeze(-1).expand(-1, -1, self.sequences.shape[2])
        picked = (x.gather(1, indices) for x in (self.scores, self.keys, self.states, self.nodes))
        return Beams(self.sequences.gather(1, wide), *picked, self.levels, self.streams)

    def widened(self, width: int, dead: int) -> "Beams":
        """Filled up to `width` beams a search with such as do not exist, in the state `dead`."""
        more = width - self.scores.shape[1]
        flat = ((self.scores, -torch.inf), (self.keys, -torch.inf), (self.states, dead), (self.nodes, 0))
        padded = (pad(values, (0, more), value=value) for values, value in flat)
        return Beams(pad(self.sequences, (0, 0, 0, more), value=NO_TOKEN), *padded, self.levels, self.streams)

    def replaced(self, chosen: Tensor, by: "Beams") -> "Beams":
        """These beams, and in the searches that bool [B] names, those of `by`, which has the same width."""
        return self._joined(by, lambda a, b: torch.where(chosen.view(-1, *[1] * (a.ndim - 1)), b, a))

    def beside(self, more: "Beams") -> "Beams":
        """These beams and `more` of the same searches."""
        return self._joined(more, lambda a, b: a if a.ndim == 1 else torch.cat([a, b], 1))

    def above(self, more: "Beams") -> "Beams":
        """These searches and `more` of them, with as many beams."""
        return self._joined(more, lambda a, b: torch.cat([a, b]))

    def _joined(self, other: "Beams", join: Callable[[Tensor, Tensor], Tensor]) -> "Beams":
        return Beams(*(join(getattr(self, field.name), getattr(other, field.name)) for field in fields(self)))


@dataclass
class Candidates:
    """All continuations of some beams by one token, parent after parent, C a parent, tokens ascending."""

    beams: Beams
    edges: Tensor
    """int64 [B, W, C]: edges of the trie."""
    scores: Tensor
    """float32 [B, W * C]: accumulated log-probabilities, -inf where the constraint forbids."""
    trie: Trie

    def exists(self) -> Tensor:
        """bool [B, W * C]: whether there is such a continuation."""
        return self.scores != -torch.inf

    def without(self, some: Tensor) -> "Candidates":
        """The same, as if the continuations that bool [B, W * C] names did not exist."""
        return replace(self, scores=self.scores.masked_fill(some, -torch.inf))

    def take(self, indices: Tensor, keys: Tensor) -> Beams:
        """The continuations `indices` [B, k] as beams; `keys` [B, W * C]. Their `nodes` are still the parents'."""
        beams, scores = self.beams, self.scores.gather(1, indices)
        parents, edges = indices // self.edges.shape[2], self.edges.flatten(1).gather(1, indices)
        exists = scores != -torch.inf
        edges = torch.where(exists, edges, 0)
        tokens = torch.where(exists, self.trie.tokens[edges], NO_TOKEN)
        states = torch.where(exists, self.trie.targets[edges], self.trie.dead)
        history = beams.sequences.gather(1, parents.unsqueeze(-1).expand(-1, -1, self.trie.depth))
        place = beams.levels.clamp(max=self.trie.depth - 1).view(-1, 1, 1).expand(-1, indices.shape[1], -1)
        sequences = history.scatter(2, place, tokens.unsqueeze(-1))
        nodes = beams.nodes.gather(1, parents)
        keys = keys.gather(1, indices).masked_fill(~exists, -torch.inf)
        levels = (beams.levels + 1).clamp(max=self.trie.depth)  # a search that is over may be drafted along with others
        return Beams(sequences, scores, keys, states, nodes, levels, beams.streams)

    def ends(self) -> Tensor:
        """bool [B, W * C]: which continuations complete an identifier."""
        return self.trie.ends[self.edges].flatten(1) & self.exists()


def expand(
    logits: Tensor, beams: Beams, scorer: Scorer, children: tuple[Tensor, Tensor], temperature: float
) -> Candidates:
    """Score the continuations of `beams` from their next-token `logits` float32 [B, W, columns] over `temperature`.

    `children` are the edges [B, W, C] out of the beams' states, and which of them exist (Trie.edges).
    `normalise="vocabulary"`: log-softmax over the full vocabulary, forbidden tokens dropped afterwards (transformers'
    prefix constraint). `normalise="children"`: log-softmax over the allowed tokens (its `renormalize_logits=True`).
    A token whose logit is -inf is forbidden too, and a beam none of whose tokens is allowed ends there.
    """
    edges, allowed = children
    log_p = logits.gather(2, scorer.columns[edges]) / temperature
    allowed = allowed & (log_p != -torch.inf)
    if scorer.normalise == "children":
        log_p = log_p.masked_fill(~allowed, torch.finfo(log_p.dtype).min).log_softmax(-1)
    else:
        log_p = log_p - (logits / temperature).logsumexp(-1, keepdim=True)
    scores = (beams.scores.unsqueeze(-1) + log_p).masked_fill(~allowed, -torch.inf)
    return Candidates(beams, edges, scores.flatten(1), scorer.trie)


def top_k(keys: Tensor, k: int) -> Tensor:
    """Indices [B, k] of the k largest of `keys` [B, n], in order; equal keys by the smaller index; n if k is larger.

    float32 keys become integers that sort alike, with the index in their low bits, so that no two are equal and every
    device gives the same order. What is not a number comes first.
    """
    k = min(k, keys.shape[-1])
    if keys.dtype == torch.float64:
        keys = keys.nan_to_num(torch.inf, torch.inf, -torch.inf)
        return keys.sort(dim=-1, descending=True, stable=True).indices[..., :k]
    keys = keys.nan_to_num(torch.inf, torch.inf, -torch.inf) + 0.0  # + 0.0 turns -0.0 into 0.0
    bits = keys.view(torch.int32).long()
    rank = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    index = torch.arange(keys.shape[-1], device=keys.device)
    return ((rank << 32) - index).topk(k).indices
