"""How much of a draft would be accepted, told from the target's recorded beams, without a pass of the target.

A level passes strict verification when all of the target's K beams are among the draft's N. Validation shards hold
those beams level by level, so a beam search of the draft alone decides the first round of every prompt exactly.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding.inputs import left_padded
from specbeam.decoding.lists import search
from specbeam.decoding.reader import Scorer
from specbeam.trie import Trie

BATCH = 32


@dataclass(frozen=True)
class Assessment:
    """Prompts of U users with the target's beams for them; called with a draft, it measures it."""

    prompts: list[list[int]]
    beams: np.ndarray
    """int [U, L - 1, K]: trie states at each level but the last; -1 for none (specbeam.teacher.Shard)."""
    items: np.ndarray
    """int [U, K]: trie states of the target's list; -1 for none."""
    draft_beam_width: int
    """N."""
    trie: Trie
    """On the draft's device."""
    normalise: str
    pad: int

    def __call__(self, draft: PreTrainedModel) -> dict[str, float]:
        """`accepted`: levels of the first round, of L - 1, without the bonus level; its mean over users.

        `accepted_1`, ...: the share of users whose round got that far. `overlap`: the share of the target's list that
        is in the draft's own list of as many items.
        """
        scorer = Scorer.of(draft, self.trie, normalise=self.normalise)
        order = np.argsort([len(prompt) for prompt in self.prompts], kind="stable")
        parts = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        passed, found = zip(*(self._batch(scorer, part) for part in parts), strict=True)
        by_level = torch.cat(passed).double().mean(0).tolist()
        shares = {f"accepted_{level}": share for level, share in enumerate(by_level, start=1)}
        return {"accepted": sum(by_level), **shares, "overlap": torch.cat(found).mean().item()}

    def _batch(self, scorer: Scorer, users: np.ndarray) -> tuple[Tensor, Tensor]:
        """bool [B, L - 1]: are this level and all before it accepted? And float64 [B]: the overlap."""
        prompts, mask = left_padded([self.prompts[user] for user in users], self.pad)
        device, levels = self.trie.tokens.device, []
        width, wanted = self.draft_beam_width, torch.from_numpy(self.items[users]).to(device)
        prompts, mask = prompts.to(device), mask.to(device)
        search(scorer, prompts, beam_width=width, mask=mask, levels=levels)
        own = search(scorer, prompts, beam_width=wanted.shape[1], mask=mask)  # an N-wide search has other K best
        beams = torch.from_numpy(self.beams[users]).to(device)
        passed = [_among(beams[:, depth], levels[depth]).all(1) for depth in range(beams.shape[1])]
        exists = wanted >= 0
        listed = _among(wanted, own.states) & exists
        return torch.stack(passed, 1).cumprod(1).bool(), listed.sum(1) / exists.sum(1).double()


def _among(wanted: Tensor, drafted: Tensor) -> Tensor:
    """bool [B, K]: which of the states `wanted` are among `drafted` [B, N]; -1 always is."""
    return (wanted.unsqueeze(2) == drafted.unsqueeze(1)).any(2) | (wanted < 0)
