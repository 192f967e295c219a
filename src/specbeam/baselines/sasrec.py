"""SASRec: a causal transformer over whole items, as a baseline with learned item embeddings instead of identifiers.

Source: Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; with pre-norm blocks, and the softmax
over all items as its loss, which is known to be stronger than a few sampled negatives (Klenitskiy and Vasilev, "Turning
Dross Into Gold Loss", RecSys 2023). Items are rows of `Catalogue.distinct`: items that collide are one item here too.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from specbeam.settings import SasrecSettings
from specbeam.training import IGNORED, Losses, Task, fit

log = logging.getLogger(__name__)

BATCH = 256


class SasRec(nn.Module):
    """A state after each item of a history, and the scores of all items in a state."""

    def __init__(self, items: int, settings: SasrecSettings) -> None:
        super().__init__()
        size = settings.hidden_size
        self.items = nn.Embedding(items + 1, size, padding_idx=items)
        self.ages = nn.Embedding(settings.history, size)
        self.dropout = nn.Dropout(settings.dropout)
        block = nn.TransformerEncoderLayer(
            size, settings.heads, 4 * size, settings.dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, settings.layers, nn.LayerNorm(size), enable_nested_tensor=False)
        nn.init.normal_(self.items.weight, std=size**-0.5)
        nn.init.normal_(self.ages.weight, std=0.02)
        with torch.no_grad():
            self.items.weight[items] = 0

    def forward(self, items: Tensor, lengths: Tensor) -> Tensor:
        """States [B, T, hidden] after each of `items` int64 [B, T], which are padded on the right.

        Positions are counted from the end of each sequence, of `lengths` [B], as where padding is on the left.
        """
        length = items.shape[1]
        ages = (lengths.unsqueeze(1) - 1 - torch.arange(length, device=items.device)).clamp(min=0)
        states = self.dropout(self.items(items) + self.ages(ages))
        causal = nn.Transformer.generate_square_subsequent_mask(length, device=items.device)
        return self.blocks(states, mask=causal, is_causal=True)

    def scores(self, states: Tensor) -> Tensor:
        """Scores [..., items] of what follows, in `states` [..., hidden]."""
        return states @ self.items.weight[:-1].T


@dataclass(frozen=True)
class Step:
    """One user's items, and after which of them the next one is a target: all, or (in validation) the last alone."""

    items: list[int]
    last_only: bool

    def __len__(self) -> int:
        return len(self.items)


def train_sasrec(
    train: Sequence[Sequence[int]], valid: Sequence[tuple[Sequence[int], int]], *, items: int,
    settings: SasrecSettings, seed: int, device: torch.device,
) -> SasRec:  # fmt: skip
    """SASRec trained on users' rows `train`, every position; of all settings that are to be tried, the best one.

    What is kept, of epochs and of settings, is what has the best NDCG@10 on `valid`, (history, next row) of each user.
    Cross-entropy would not do: items that no one has bought yet, of which validation has many, decide it.
    """
    found = []
    for candidate in settings.candidates():
        model, ndcg = _train(train, valid, items=items, settings=candidate, seed=seed, device=device)
        tried = {name: getattr(candidate, name) for name in settings.search}
        log.info("sasrec: validation NDCG@10 %.5f, %s", ndcg, tried or "no other settings tried")
        found.append((ndcg, model))
    return max(found, key=lambda each: each[0])[1]


def _train(
    train: Sequence[Sequence[int]], valid: Sequence[tuple[Sequence[int], int]], *, items: int,
    settings: SasrecSettings, seed: int, device: torch.device,
) -> tuple[SasRec, float]:  # fmt: skip
    """The model of one try, and its NDCG@10 on `valid`."""
    keep = settings.history + 1
    steps = [Step(list(rows[-keep:]), False) for rows in train if len(rows) > 1]
    asked = [Step([*history, following][-keep:], True) for history, following in valid]
    task = Task(
        train=steps,
        valid=asked,
        collate=lambda batch: _collate(batch, pad=items),
        loss=_loss,
        valid_loss=_loss,
        weight=lambda step: len(step) - 1,
        assess=lambda model: {"valid_ndcg": _ndcg(model, valid)},
        merit=lambda row: row["valid_ndcg"],
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = SasRec(items, settings)
    model, losses = fit(model, task, settings, seed=seed, device=device, name="sasrec")
    return model, losses["valid_ndcg"].max()


@torch.no_grad()
def scores(model: SasRec, histories: Sequence[Sequence[int]]) -> Tensor:
    """Float32 [histories, items], on the CPU: how likely each item is the next."""
    known = model.ages.num_embeddings
    steps = [Step([*history[-known:], 0], True) for history in histories]  # the last one is what is asked for
    batch = _collate(steps, pad=model.items.padding_idx)
    device = model.items.weight.device
    states = model(batch["items"].to(device), batch["lengths"].to(device))
    return model.scores(states[torch.arange(len(steps)), batch["lengths"] - 1]).float().cpu()


def _ndcg(model: SasRec, asked: Sequence[tuple[Sequence[int], int]]) -> float:
    """NDCG@10 of the next item, over the lists of the ten items with the highest scores that are not in the history."""
    total = 0.0
    for start in range(0, len(asked), BATCH):
        histories, wanted = zip(*asked[start : start + BATCH], strict=True)
        found = scores(model, histories)
        for row, history in zip(found, histories, strict=True):
            row[list(history)] = -torch.inf
        ranked = found.topk(min(10, found.shape[1])).indices
        _, ranks = (ranked == torch.tensor(wanted).unsqueeze(1)).nonzero(as_tuple=True)
        total += (1 / (ranks + 2.0).log2()).sum().item()
    return total / len(asked)


def _collate(steps: Sequence[Step], *, pad: int) -> dict[str, Tensor]:
    """Right-padded `items`, their `lengths` [B], and the `targets` that follow each of them, [B, T]."""
    lengths = torch.tensor([len(step) - 1 for step in steps])
    items = torch.full((len(steps), int(lengths.max())), pad)
    targets = torch.full_like(items, IGNORED)
    for row, step in enumerate(steps):
        items[row, : lengths[row]] = torch.tensor(step.items[:-1])
        first = lengths[row] - 1 if step.last_only else 0
        targets[row, first : lengths[row]] = torch.tensor(step.items[1:])[first:]
    return {"items": items, "lengths": lengths, "targets": targets}


def _loss(model: SasRec, batch: dict[str, Tensor]) -> Losses:
    """Cross-entropy over all items, nats a target."""
    wanted = batch["targets"] != IGNORED  # scores of all items are large: only where they are needed
    scored = model.scores(model(batch["items"], batch["lengths"])[wanted])
    return {"loss": F.cross_entropy(scored.float(), batch["targets"][wanted])}
