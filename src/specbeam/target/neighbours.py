"""Teaching a language model which items go together: users' histories that co-occurrence counts continue and label.

A user's few items are too few examples for a model from scratch to learn which of thousands of items go together, which
counting item pairs tells at once. So the model is trained on WALKS: a user's own items, of which each next one is
replaced, with probability `share`, by one drawn from the co-occurrence scores of the walk so far. The labels of an
item's tokens are not its own tokens alone but the whole mixture that it was drawn from: the distribution of each token,
given the tokens before it. The model stays a plain causal language model over item tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.data.cooccurrence import ItemPairs, co_occurrence
from specbeam.losses import FORBIDDEN
from specbeam.settings import NeighbourSettings
from specbeam.training import Losses, Task
from specbeam.trie import Trie

Candidates = tuple[np.ndarray, np.ndarray]
"""Distinct items, int64 [n], and their probabilities, [n]."""


@dataclass(frozen=True)
class History:
    """A user's items in one window, as rows of the identifiers."""

    items: list[int]
    tokens: int
    drawn: int | None = None
    """For validation: what was drawn, once for all, to follow all items but the last, which is the user's own next."""

    def __len__(self) -> int:
        return self.tokens


@dataclass(frozen=True)
class Walk:
    """A sequence of items, and what each but the first was drawn from."""

    items: list[int]
    drawn_from: list[Candidates | None]
    """None for the items of a history that are not asked for."""


@dataclass(frozen=True)
class Neighbours:
    """What item pairs say follows a history, as walks and as labels of tokens."""

    pairs: ItemPairs
    identifiers: np.ndarray
    """int64 [items, L]: each item's token ids."""
    settings: NeighbourSettings

    def following(self, history: Sequence[int], own: int | None) -> Candidates | None:
        """What follows `history`: the user's `own` next item, if there is one, mixed with what the pairs say.

        Of the pairs the `candidates` items with the highest scores count, by score ** `sharpness`. None where nothing
        is known.
        """
        scores = self.pairs.scores(history, decay=self.settings.decay)
        items = np.flatnonzero(scores)
        if len(items) > self.settings.candidates:
            items = np.sort(
                items[np.argpartition(-scores[items], self.settings.candidates)[: self.settings.candidates]]
            )
        weights = scores[items] ** self.settings.sharpness
        if own is None:
            return (items, weights / weights.sum()) if len(items) else None
        if not len(items):
            return np.array([own]), np.ones(1)
        weights = np.append(weights * (self.settings.share / weights.sum()), 1 - self.settings.share)
        return np.append(items, own), weights

    def walk(self, items: Sequence[int], length: int) -> Walk:
        """A walk along `items`, continued to `length` items if it is longer; draws from torch's random state."""
        walk = Walk([items[0]], [])
        chances = torch.rand(max(len(items), length)).tolist()
        for place in range(1, len(chances)):
            own = items[place] if place < len(items) and items[place] not in walk.items else None
            candidates = self.following(walk.items, own)
            if candidates is None:
                break
            total = candidates[1].cumsum()
            drawn = np.searchsorted(total, chances[place] * total[-1], side="right")
            walk.items.append(int(candidates[0][min(drawn, len(total) - 1)]))
            walk.drawn_from.append(candidates)
        return walk

    def labels(self, walk: Walk, *, first: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of the tokens of the walk's items from `first` on: position (without a start token), token, probability.

        Each [labels]; the probabilities of a position add up to 1.
        """
        length = self.identifiers.shape[1]
        places, tokens, shares = [], [], []
        for place in range(first, len(walk.items)):
            items, weights = walk.drawn_from[place - 1]
            for depth in range(length):
                places.append(np.full(len(items), place * length + depth))
                tokens.append(self.identifiers[items, depth])
                shares.append(weights / weights.sum())
                same = tokens[-1] == self.identifiers[walk.items[place], depth]
                items, weights = items[same], weights[same]
        return np.concatenate(places), np.concatenate(tokens), np.concatenate(shares)

    def collate(self, histories: Sequence[History], *, start: int, pad: int) -> dict[str, Tensor]:
        """Walks along `histories` as right-padded `input_ids` and `attention_mask` [B, T], and their labels.

        A label says that the logits `at` (int64 [labels], in the flattened [B, T - 1]) should give `token` its `share`
        (float32); the shares of a walk's labels add up to 1.
        """
        length = int(torch.randint(2, self.settings.items + 1, ()))  # one for all, or most would be padding
        walks = [self.walk(h.items, length) if h.drawn is None else self._asked(h) for h in histories]
        rows = [torch.tensor([start, *self.identifiers[walk.items].ravel()]) for walk in walks]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad)
        at, tokens, shares = [], [], []
        for row, (history, walk) in enumerate(zip(histories, walks, strict=True)):
            place, token, share = self.labels(walk, first=1 if history.drawn is None else len(walk.items) - 1)
            at.append(row * (ids.shape[1] - 1) + place)  # the logits before a token tell it
            tokens.append(token)
            shares.append(share / share.sum())
        return {
            "input_ids": ids,
            "attention_mask": (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long(),
            "at": torch.from_numpy(np.concatenate(at)),
            "token": torch.from_numpy(np.concatenate(tokens)),
            "share": torch.from_numpy(np.concatenate(shares)).float(),
        }

    def _asked(self, history: History) -> Walk:
        """The user's own items, of which the last one's place is taken by what was drawn."""
        *items, own = history.items
        return Walk([*items, history.drawn], [*[None] * (len(items) - 1), self.following(items, own)])


def with_neighbours(
    windows: Sequence[Sequence[int]], valid: Sequence[Sequence[int]], *, train: Sequence[Sequence[int]],
    identifiers: np.ndarray, settings: NeighbourSettings, start: int, pad: int, device: torch.device,
) -> Task:  # fmt: skip
    """Training on walks along `windows` of the users' items `train`, drawn anew, from torch's random state, each time.

    Validation asks for what follows all items but the last of each of `valid`: the same mixture that walks are drawn
    from, along one item drawn from it. Items are rows of `identifiers` int64 [items, L].
    """
    teach = Neighbours(co_occurrence(train, items=len(identifiers)), identifiers, settings)
    length, trie, random = identifiers.shape[1], Trie.of(identifiers).to(device), np.random.default_rng(0)
    asked = []
    for items in valid:
        candidates, weights = teach.following(items[:-1], items[-1])
        drawn = int(random.choice(candidates, p=weights / weights.sum()))
        asked.append(History(list(items), 1 + len(items) * length, drawn))

    def loss(model: PreTrainedModel, batch: dict[str, Tensor]) -> Losses:
        """Cross-entropy of the labels, nats a token: the mean over walks of the mean over each one's tokens.

        Over the tokens that the trie allows, which spares the model from learning the trie itself.
        """
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits[:, :-1].float()
        total = _of_children(logits, batch["input_ids"], trie).flatten()
        log_q = logits.flatten(0, 1)[batch["at"], batch["token"]] - total[batch["at"]]
        return {"loss": -(batch["share"] * log_q).sum() / len(logits)}

    return Task(
        # Items that share one identifier are one item here, and from it alone there is nowhere to go.
        train=[History(list(items), 1 + len(items) * length) for items in windows if len(set(items)) > 1],
        valid=asked,
        collate=partial(teach.collate, start=start, pad=pad),
        loss=loss,
        valid_loss=loss,
        depends_on=[identifiers, teach.pairs],
    )


def _of_children(logits: Tensor, ids: Tensor, trie: Trie) -> Tensor:
    """[B, T - 1]: log of the sum of exp(logits) over the tokens that can follow each token but the last in `trie`."""
    items = ids[:, 1:].unflatten(1, (-1, trie.depth))
    before = F.pad(trie.walk(items)[..., :-1], (1, 0))  # the root, before each item's first token
    logits = logits.unflatten(1, (-1, trie.depth))
    totals = []
    for depth in range(trie.depth):
        children = trie.children(before[..., depth], depth)
        totals.append(
            logits[:, :, depth].gather(2, children.tokens).masked_fill(~children.allowed, FORBIDDEN).logsumexp(-1)
        )
    return torch.stack(totals, -1).flatten(1)
