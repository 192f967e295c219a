"""Distilling the target into a draft along whole sequences: KL(p || q) after every prefix that is ever drafted from.

A history of items holds many more prefixes than its last item, and the target says more after each of them than the one
token that follows. Distributions are over the tokens that the trie allows. Two kinds of positions are left out: the
last token of an identifier, which a round's bonus level spares the draft, and the first item, which has no history.

The target reads every sequence once, before training: what it says is kept (float16, on the CPU).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from specbeam import losses
from specbeam.progress import Bar
from specbeam.training import Losses, Task
from specbeam.trie import Trie

BATCH = 64


@dataclass(frozen=True)
class Lesson:
    """One sequence, and what the target says along it."""

    tokens: list[int]
    """A start token, then whole identifiers."""
    log_p: list[np.ndarray]
    """float16 [n, C] by depth, 0 to L - 2: the target's log-probabilities of the children, for the last n items."""

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Distillation:
    """The collation and the loss of a draft's lessons in one catalogue, whose trie lies where the draft does."""

    trie: Trie
    pad: int

    def lessons(self, target: PreTrainedModel, sequences: Sequence[Sequence[int]], *, last: bool) -> list[Lesson]:
        """What the target says along `sequences` of tokens: of every item but the first, or of the `last` alone."""
        found: list[Any] = [None] * len(sequences)
        order = np.argsort([len(tokens) for tokens in sequences], kind="stable")
        for start in Bar(range(0, len(order), BATCH), desc="the target's lessons", unit="batch"):
            chosen = order[start : start + BATCH]
            ids, mask = self._padded([sequences[i] for i in chosen])
            said = self._say(target, ids.to(target.device), mask.to(target.device))
            for row, i in enumerate(chosen):
                items = (len(sequences[i]) - 1) // self.trie.depth
                found[i] = Lesson(sequences[i], [at[row, items - 1 if last else 1 : items].copy() for at in said])
        return found

    def collate(self, lessons: list[Lesson]) -> dict[str, Any]:
        """Right-padded `input_ids` and `attention_mask` [B, T]; `log_p` [B, items, C] by depth, told where `taught`.

        `taught` is bool [B, items].
        """
        ids, mask = self._padded([lesson.tokens for lesson in lessons])
        taught = np.zeros((len(lessons), ids.shape[1] // self.trie.depth), dtype=bool)
        log_p = [np.zeros((*taught.shape, at.shape[1]), dtype=np.float16) for at in lessons[0].log_p]
        for row, lesson in enumerate(lessons):
            end = (len(lesson) - 1) // self.trie.depth
            own = slice(end - len(lesson.log_p[0]), end)
            taught[row, own] = True
            for at, values in zip(log_p, lesson.log_p, strict=True):
                at[row, own] = values
        tensors = {"taught": torch.from_numpy(taught), "log_p": [torch.from_numpy(at) for at in log_p]}
        return {"input_ids": ids, "attention_mask": mask, **tensors}

    def loss(self, model: PreTrainedModel, batch: dict[str, Any]) -> Losses:
        """KL(p || q) of an item's tokens but the last, summed, in nats; the mean over the taught items."""
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        taught, total = batch["taught"], logits.new_zeros(())
        for p, (q, allowed) in zip(batch["log_p"], self._children(logits, batch["input_ids"]), strict=True):
            total = total + losses.forward_kl(p.float(), q, allowed & taught.unsqueeze(-1)).sum()
        return {"loss": total / taught.sum().clamp(min=1)}

    def _children(self, logits: Tensor, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """By depth, 0 to L - 2: logits [B, items, C] of the children of each item's prefix; bool: a child?"""
        items = ids[:, 1:].unflatten(1, (-1, self.trie.depth))
        before = F.pad(self.trie.walk(items)[..., :-1], (1, 0))
        logits = logits[:, :-1].unflatten(1, (-1, self.trie.depth))
        for depth in range(self.trie.depth - 1):
            children = self.trie.children(before[..., depth], depth)
            yield logits[:, :, depth].gather(2, children.tokens).float(), children.allowed

    @torch.inference_mode()
    def _say(self, target: PreTrainedModel, ids: Tensor, mask: Tensor) -> list[np.ndarray]:
        by_depth = self._children(target(input_ids=ids, attention_mask=mask).logits, ids)
        return [losses.log_softmax(q, allowed).half().cpu().numpy() for q, allowed in by_depth]

    def _padded(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        rows = [torch.tensor(tokens) for tokens in sequences]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=self.pad)
        return ids, (torch.arange(ids.shape[1]) < torch.tensor([[len(row)] for row in rows])).long()


def distilled(task: Task, target: PreTrainedModel, trie: Trie, *, pad: int) -> Task:
    """The same samples (whole sequences, with their `tokens`), taught by `target`; validation asks for the last item.

    `trie` lies on the target's device, on which the draft is trained.
    """
    how = Distillation(trie, pad)
    train, valid = (
        how.lessons(target, [sample.tokens for sample in samples], last=last)
        for samples, last in ((task.train, False), (task.valid, True))
    )
    return Task(train, valid, how.collate, how.loss, how.loss, weight=_taught, valid_weight=_taught)


def _taught(lesson: Lesson) -> int:
    """Items whose tokens a lesson teaches."""
    return len(lesson.log_p[0])
