"""What every search on a prepared data set needs: prompts as tensors, the trie on the device, models for decoding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam import memory, models
from specbeam.data.prepared import Prepared, load
from specbeam.data.sequences import history_and_targets
from specbeam.decoding.lists import Ranking
from specbeam.decoding.reader import Scorer
from specbeam.errors import SpecbeamError
from specbeam.progress import Bar
from specbeam.prompts import PromptBuilder
from specbeam.trie import Trie

Prompts = Sequence[Sequence[int]] | Sequence[int] | Tensor
Work = Callable[[np.ndarray, Tensor, Tensor], list[memory.Made]]
"""Makes a list of B from positions in histories, prompts int64 [B, P] and mask bool [B, P]."""


@dataclass(frozen=True)
class SearchInputs:
    """A prepared data set, ready to be searched."""

    data: Prepared
    builder: PromptBuilder
    trie: Trie
    """The constraint."""
    items: Trie
    """All real items, whatever the constraint."""
    device: torch.device

    @classmethod
    def of(cls, prepared: Path, settings: Any, *, constraint: str, threads: int) -> "SearchInputs":
        """From a prepared folder and settings with `device` and `prompt`; `constraint` is "trie" or "position"."""
        torch.set_num_threads(threads)
        data, prompt = load(prepared), settings.prompt
        builder = PromptBuilder(
            style=prompt.style, history=prompt.history, tokenizer=data.tokenizer, catalogue=data.catalogue
        )
        device = models.choose_device(settings.device)
        items = Trie.of(builder.identifiers).to(device)
        trie = items if constraint == "trie" else Trie.position_wise(builder.identifiers).to(device)
        return cls(data, builder, trie, items, device)

    def model(self, folder: Path, dtype: str) -> PreTrainedModel:
        """A saved model in the precision `dtype`, for decoding."""
        return models.load(folder, dtype=dtype, device=self.device)

    def scorer(self, folder: Path, dtype: str, normalise: str) -> Scorer:
        """A saved model made ready to score this data set's items."""
        return Scorer.of(self.model(folder, dtype), self.trie, normalise=normalise)

    def sampled_users(self, split: str, users: int | None, seed: int) -> list[tuple[int, Sequence[int], Sequence[int]]]:
        """(user, history, targets) of `users` users of a split drawn by `seed`, or of all, in the order of users."""
        asked = history_and_targets(self.data.users, split)
        if users is not None:
            asked = asked.sample(min(users, len(asked)), random_state=seed).sort_index()
        return list(zip(asked["user"], asked["history"], asked["targets"], strict=True))

    def prompt(self, history: Sequence[int]) -> Tensor:
        """int64 [1, P]: the prompt for one history of items."""
        return torch.tensor([self.builder(history)], device=self.device)

    def rows(self, found: Ranking) -> list[list[int]]:
        """The identifier rows [B][K] of recommended sequences, -1 where there is no such item."""
        rows = self.items.rows[self.items.walk(found.sequences)[..., -1]]
        return rows.masked_fill(~found.scores.isfinite(), -1).tolist()

    def batches(
        self, histories: Sequence[Sequence[int]], size: int, *, name: str
    ) -> Iterator[tuple[np.ndarray, Tensor, Tensor]]:
        """Left-padded batches of similar lengths: positions in `histories`, prompts [B, P], mask [B, P]."""
        prompts, order = self._ordered(histories)
        with Bar(total=len(prompts), desc=name, unit="user") as progress:
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                yield chosen, *self._padded(prompts, chosen)
                progress.update(len(chosen))

    def in_batches(
        self, work: Work[memory.Made], histories: Sequence[Sequence[int]], size: int, *, name: str
    ) -> list[memory.Made]:
        """What `work` makes of each history, from `batches`; with fewer at once from where memory runs out."""
        prompts, order = self._ordered(histories)
        found: dict[int, memory.Made] = {}
        with Bar(total=len(prompts), desc=name, unit="user") as progress:
            each = lambda chosen: work(chosen, *self._padded(prompts, chosen))  # noqa: E731
            for chosen, made in memory.halving(each, order, size, name=name):
                found.update(zip(chosen.tolist(), made, strict=True))
                progress.update(len(chosen))
        return [found[place] for place in range(len(prompts))]

    def _ordered(self, histories: Sequence[Sequence[int]]) -> tuple[list[list[int]], np.ndarray]:
        """Prompts, and their positions by length."""
        prompts = [self.builder(history) for history in histories]
        return prompts, np.argsort([len(prompt) for prompt in prompts], kind="stable")

    def _padded(self, prompts: list[list[int]], chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        padded, mask = left_padded([prompts[i] for i in chosen], self.builder.pad_id)
        return padded.to(self.device), mask.to(self.device)


def left_padded(prompts: Sequence[list[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Prompts of different lengths as int64 [B, P], padded on the left, and bool [B, P], False at padding."""
    length = max(map(len, prompts))
    padded = torch.tensor([[pad] * (length - len(prompt)) + prompt for prompt in prompts])
    return padded, torch.arange(length) >= torch.tensor([[length - len(prompt)] for prompt in prompts])


def prompt_rows(prompts: Prompts, mask: Tensor | None, vocabulary: int) -> list[list[int]]:
    """Prompts as lists of token ids: from lists, one list, or a tensor [B, P] and its mask (0 at padding).

    Raises SpecbeamError for anything else, for empty prompts, and for tokens beyond `vocabulary`.
    """
    if isinstance(prompts, Tensor):
        real = torch.ones_like(prompts, dtype=torch.bool) if mask is None else mask.bool()
        if prompts.ndim != 2 or prompts.shape != real.shape:
            raise SpecbeamError(
                f"prompts and mask: expected tensors [B, P], got {tuple(prompts.shape)} and {tuple(real.shape)}"
            )
        rows = [row[there].tolist() for row, there in zip(prompts, real, strict=True)]
    elif mask is not None:
        raise SpecbeamError("mask: goes with a tensor of prompts only; lists have no padding")
    else:
        single = len(prompts) and isinstance(prompts[0], Integral)
        rows = [[int(x) if isinstance(x, Integral) else x for x in row] for row in ([prompts] if single else prompts)]
    for place, row in enumerate(rows):
        if not row or not all(isinstance(token, int) and 0 <= token < vocabulary for token in row):
            raise SpecbeamError(
                f"prompt {place}: expected token ids from 0 to {vocabulary - 1}, at least one, got {row}"
            )
    return rows
