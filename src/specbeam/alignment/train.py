"""Aligning the draft: loss = alpha * alignment + (1 - alpha) * cross-entropy on the ground truth, for one objective.

One pass of the draft a user reads prompt and teacher tree once (specbeam.teacher), whatever the number of trajectories.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel

from specbeam import losses as terms
from specbeam import models
from specbeam.alignment.assess import Assessment
from specbeam.data.sequences import history_and_targets
from specbeam.decoding.inputs import SearchInputs, left_padded
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.settings import RelaxedAlignmentSettings
from specbeam.teacher import Mask, Shard, TeacherTree, TreeBatch, children_logits, position_logits
from specbeam.training import IGNORED, Losses, Task, fit_and_save
from specbeam.trie import Trie


@dataclass(frozen=True)
class Sample:
    """One user: the prompt, the teacher's tree, and its log-probabilities float16 [m, C] or [m, W] by depth."""

    prompt: list[int]
    tree: TeacherTree
    log_p: list[np.ndarray]

    def __len__(self) -> int:
        return len(self.prompt)


@dataclass(frozen=True)
class Alignment:
    """One objective on the teachers' trees of one catalogue; the collation and the loss of its training task.

    `settings` are those of the objective (specbeam.settings.objectives).
    """

    objective: str
    settings: Any
    beam_width: int
    trie: Trie
    cpu_trie: Trie
    pad: int
    loss_on_prompt: bool

    def collate(self, samples: list[Sample]) -> dict[str, Any]:
        """Left-padded prompts and the trees, padded depth by depth: lists of tensors [B, M] and [B, M, C]."""
        prompts, mask = left_padded([sample.prompt for sample in samples], self.pad)
        trees = TreeBatch.of([s.tree for s in samples], self.cpu_trie, "cpu")
        return {
            "prompts": prompts,
            "mask": mask,
            **vars(trees),
            "log_p": [_stack([s.log_p[d] for s in samples], terms.FORBIDDEN) for d in range(self.trie.depth)],
            "counts": [_stack([s.tree.counts[d] for s in samples], 0.0) for d in range(self.trie.depth)],
            "truth": torch.from_numpy(np.stack([s.tree.truth for s in samples])),
        }

    def loss(self, model: PreTrainedModel, batch: dict[str, Any]) -> Losses:
        """The weighted sum, the alignment term (mean over users, trajectories and depths) and the cross-entropy."""
        return self._losses(*self._read(model, batch), batch)

    def valid_loss(self, model: PreTrainedModel, batch: dict[str, Any]) -> Losses:
        """The same, of the true item's tokens alone: a validation prompt holds training items, known by heart.

        And `tvd`: the total variation distance of target and draft along the trajectories, the mean over their tokens.
        """
        read, by_depth = self._read(model, batch)
        judge = replace(self, loss_on_prompt=False)
        along = RelaxedAlignmentSettings(mask=mask_of(self.settings))  # atspeed_r is that distance
        distance = replace(self, objective="atspeed_r", settings=along)
        distances = [distance._alignment(depth, at, batch) for depth, at in enumerate(by_depth)]
        return {**judge._losses(read, by_depth, batch), "tvd": sum(distances) / self.trie.depth}

    def _read(self, model: PreTrainedModel, batch: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
        """Logits in one pass: of the prompt's tokens but the last, and of the trees' states by depth."""
        prompts = batch["prompts"]
        tree = TokenTree(prompts, self.trie.depth - 1, batch["mask"])
        nodes = torch.cat(TreeBatch(batch["states"], batch["tokens"], batch["parents"]).attach(tree), 1)
        inputs = tree.inputs(nodes, prompt=True, slots=prompts.shape[1] - 1 + tree.size)
        logits = model(**inputs, use_cache=False).logits.float()
        widths = [states.shape[1] for states in batch["states"]]
        read, *by_depth = logits.split([prompts.shape[1] - 1, *widths], 1)  # the root is the prompt's last token
        return read, by_depth

    def _losses(self, read: Tensor, by_depth: list[Tensor], batch: dict[str, Any]) -> Losses:
        cross_entropy = self._cross_entropy(read, by_depth, batch)
        if self.objective == "sft":
            return {"loss": cross_entropy, "alignment": torch.zeros_like(cross_entropy), "cross_entropy": cross_entropy}
        alignment = sum(self._alignment(depth, at, batch) for depth, at in enumerate(by_depth)) / self.trie.depth
        alpha = self.settings.alpha
        total = alpha * alignment + (1 - alpha) * cross_entropy
        return {"loss": total, "alignment": alignment, "cross_entropy": cross_entropy}

    def _alignment(self, depth: int, logits: Tensor, batch: dict[str, Any]) -> Tensor:
        """The objective's term at one depth, averaged over users and, by weight, over their states."""
        over = position_logits if mask_of(self.settings) == "position" else children_logits
        q, allowed = over(logits, batch["states"][depth], self.trie, depth)
        p, counts = batch["log_p"][depth].float().clamp(min=terms.FORBIDDEN), batch["counts"][depth]
        trajectories = batch["counts"][0].sum((1, 2))[:, None].clamp(min=1)
        if self.objective == "seqkd":
            return terms.cross_entropy(q, counts / trajectories.unsqueeze(2), allowed).sum(1).mean()
        if self.objective == "treekd":
            drafted = depth < self.trie.depth - 1  # a round's bonus level spares the draft the last one
            weight = drafted * (1 if depth == 0 else 1 / trajectories)
        elif self.settings.sequences == "truth":
            weight = F.one_hot(batch["truth"][:, depth, 0], q.shape[1])
        else:
            weight = counts.sum(2) / trajectories
        return (self._distance(p, q, allowed) * weight).sum(1).mean()

    def _distance(self, p: Tensor, q: Tensor, allowed: Tensor) -> Tensor:
        """How far the draft is from the target in each state [B, M], as the objective sees it."""
        s = self.settings
        if self.objective in ("wordkd", "treekd"):
            return terms.forward_kl(p, q, allowed)
        if self.objective == "tvdkd":
            return terms.total_variation(p, q, allowed)
        if self.objective == "atspeed_r":
            return terms.atspeed_r(p, q, allowed, temperature=s.temperature)
        form = {"temperature": s.temperature, "softmax_of": s.softmax_of, "density": s.density}
        return terms.atspeed_s(p, q, allowed, k=s.top or self.beam_width, **form)

    def _cross_entropy(self, read: Tensor, by_depth: list[Tensor], batch: dict[str, Any]) -> Tensor:
        """Next-token cross-entropy over the full vocabulary: the true item's tokens and, if asked for, the prompt's."""
        truth = batch["truth"]
        item = [at.gather(1, _rows(truth[:, d, :1], at.shape[2])) for d, at in enumerate(by_depth)]
        states = [s.gather(1, truth[:, d, :1]) for d, s in enumerate(batch["states"])]
        children = [self.trie.children(s, d).tokens.squeeze(1) for d, s in enumerate(states)]
        labels = [tokens.gather(1, truth[:, d, 1:]) for d, tokens in enumerate(children)]
        rows, targets = torch.cat(item, 1), torch.cat(labels, 1)
        if self.loss_on_prompt:
            following = torch.where(batch["mask"][:, :-1], batch["prompts"][:, 1:], IGNORED)
            rows, targets = torch.cat([read, rows], 1), torch.cat([following, targets], 1)
        each = F.cross_entropy(rows.transpose(1, 2), targets, ignore_index=IGNORED, reduction="none")
        return (each.sum(1) / (targets != IGNORED).sum(1)).mean()  # by user, or a batch's parts would not add up


def align(
    *, prepared: Path, base: Path, trajectories: Sequence[Path], valid: Path, objective: str, settings: Any, seed: int,
    model: Path, losses: Path, threads: int,
) -> None:  # fmt: skip
    """Train the draft in `base` by one objective on recorded trajectories; writes model and losses, atomically.

    `seed` decides the order of batches.
    """
    inputs = SearchInputs.of(prepared, settings, constraint="trie", threads=threads)
    trie = inputs.trie.to("cpu")
    own, training = settings.alignment.objectives[objective], settings.alignment.training
    shown = {"over": mask_of(own), "beams": objective == "treekd"}
    train, width = _samples(inputs, trie, trajectories, "train", **shown)
    validation, _ = _samples(inputs, trie, [valid], "valid", **shown)
    alignment = Alignment(objective, own, width, inputs.trie, trie, inputs.builder.pad_id, training.loss_on_prompt)
    draft = models.load(base, dtype="float32", device=inputs.device)
    task = Task(train, validation, alignment.collate, alignment.loss, alignment.valid_loss)
    task.depends_on = [objective, repr(own), settings.decoding.normalise]
    if training.assessed_users:
        task.assess = _assessment(inputs, valid, width, settings)
    if training.keep == "accepted":
        task.merit = operator.itemgetter("accepted")
    files = {"model": model, "losses": losses}
    fit_and_save(draft, task, training, seed=seed, device=inputs.device, name=objective, **files)


def mask_of(objective: Any) -> Mask:
    """The mask that the settings of an objective choose, if it has a choice."""
    return getattr(objective, "mask", "children")


def _samples(
    inputs: SearchInputs, trie: Trie, shards: Sequence[Path], split: str, **shown: Any
) -> tuple[list[Sample], int]:
    """The samples of all `shards`, and the trajectories a user (K); `shown` are options of Shard.trees."""
    asked = history_and_targets(inputs.data.users, split)
    histories = dict(zip(asked["user"], asked["history"], strict=True))
    samples, widths = [], set()
    for path in shards:
        shard = Shard.load(path)
        widths.add(shard.paths.shape[1])
        for user, tree, log_p in shard.trees(trie, **shown):
            if user not in histories:
                raise SpecbeamError(
                    f"{path}: user {user} has no {split} prompt here: recorded for other data? Record again"
                )
            samples.append(Sample(inputs.builder(histories[user]), tree, log_p))
    if len(widths) != 1:
        raise SpecbeamError(f"shards with {sorted(widths)} trajectories a user: expected one width, record them again")
    return samples, widths.pop()


def _assessment(inputs: SearchInputs, valid: Path, width: int, settings: Any) -> Assessment:
    """Of as many validation users as the settings say, evenly spread, with N twice K."""
    shard, users = Shard.load(valid), settings.alignment.training.assessed_users
    chosen = np.linspace(0, len(shard.users) - 1, min(users, len(shard.users))).astype(int)
    asked = history_and_targets(inputs.data.users, "valid")
    histories = dict(zip(asked["user"], asked["history"], strict=True))
    prompts = [inputs.builder(histories[user]) for user in shard.users[chosen]]
    return Assessment(
        prompts, shard.beams[chosen], shard.paths[chosen, :, -1], 2 * width, inputs.trie, settings.decoding.normalise,
        inputs.builder.pad_id,
    )  # fmt: skip


def _rows(positions: Tensor, width: int) -> Tensor:
    """int64 [B, m] as an index for gathering whole rows [B, m, width]."""
    return positions.unsqueeze(-1).expand(-1, -1, width)


def _stack(arrays: Sequence[np.ndarray], value: float) -> Tensor:
    padded = np.full((len(arrays), max(len(a) for a in arrays), arrays[0].shape[1]), value, dtype=np.float32)
    for i, array in enumerate(arrays):
        padded[i, : len(array)] = array
    return torch.from_numpy(padded)
