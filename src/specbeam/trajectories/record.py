"""Recording what the target recommends to training (or validation) users, and with which probabilities, in shards."""

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from specbeam.data.sequences import history_and_targets
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.reader import Scorer
from specbeam.teacher import Shard, TeacherTree, probabilities

log = logging.getLogger(__name__)

BATCH = 16


def record(
    *, prepared: Path, model: Path, output: Path, split: str, shard: int, shards: int, settings: Any, threads: int
) -> None:
    """Beam search of the target over part `shard` of `shards` of the users of `split`, written to `output`, atomically.

    Trajectories follow the trie, whatever constraint the measurements use. Logs users a second and bytes a user.
    """
    inputs = SearchInputs.of(prepared, settings, constraint="trie", threads=threads)
    normalise, target = settings.decoding.normalise, inputs.model(model, settings.target.model.dtype)
    searched = Scorer.of(target, inputs.trie, normalise=normalise)
    teacher = Scorer.of(target, inputs.trie, normalise="children")
    asked = history_and_targets(inputs.data.users, split)
    if split == "train" and settings.trajectories.users is not None:
        asked = asked.sample(min(len(asked), settings.trajectories.users), random_state=settings.seed).sort_index()
    asked = asked.iloc[shard::shards]
    histories = list(asked["history"])
    true_rows = np.array([inputs.data.catalogue.row_of[targets[0]] for targets in asked["targets"]], dtype=np.int64)
    width, depth, trie = settings.trajectories.beam_width, inputs.trie.depth, inputs.trie.to("cpu")
    over = settings.trajectories.logits
    truth = trie.walk(torch.from_numpy(inputs.builder.identifiers[true_rows])).numpy()
    paths = np.full((len(asked), width, depth), -1, dtype=np.int32)
    beams = np.full((len(asked), depth - 1, width), -1, dtype=np.int32)
    scores = np.full((len(asked), width), -np.inf, dtype=np.float32)
    start = time.perf_counter()

    def work(chosen: np.ndarray, prompts: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
        levels: list[torch.Tensor] = []
        found = search(searched, prompts, beam_width=width, mask=mask, levels=levels)
        for level, states in enumerate(levels):
            beams[chosen, level, : states.shape[1]] = states.masked_fill(states == trie.dead, -1).cpu().numpy()
        found_paths = inputs.trie.walk(found.sequences).cpu().numpy()
        exists = found.scores.isfinite().cpu().numpy()
        trees = [
            TeacherTree.of(own[real], truth[i], trie, beams=beams[i].astype(np.int64))
            for own, real, i in zip(found_paths, exists, chosen, strict=True)
        ]
        paths[chosen, : exists.shape[1]] = np.where(exists[..., None], found_paths, -1)
        scores[chosen, : exists.shape[1]] = found.scores.cpu().numpy()
        return probabilities(teacher, prompts, mask, trees, trie, over=over)

    values = inputs.in_batches(work, histories, BATCH, name=f"trajectories, {split}")
    offsets = np.cumsum([0, *(len(v) for v in values)])
    log_p = np.concatenate(values) if values else np.empty(0, np.float16)
    users = asked["user"].to_numpy(np.int64, copy=True)
    Shard(users, paths, scores, truth.astype(np.int32), beams, log_p, offsets, over).save(output)
    seconds, size = time.perf_counter() - start, output.stat().st_size
    log.info(
        "%d %s users, %.1f users a second, %d bytes a user",
        len(asked), split, len(asked) / seconds, size // max(1, len(asked)),
    )  # fmt: skip
