"""Trajectories of a tiny target as shards, and its beams once more by plain passes."""

from collections.abc import Sequence

import numpy as np
import torch
from transformers import PreTrainedModel

from specbeam.decoding.inputs import left_padded
from specbeam.decoding.lists import search
from specbeam.decoding.reader import Scorer
from specbeam.teacher import Mask, Shard, TeacherTree, probabilities
from specbeam.trie import Trie


def recorded(
    target: PreTrainedModel, prompts: Sequence[list[int]], truth: np.ndarray, trie: Trie, *, width: int,
    over: Mask = "children", normalise: str = "children",
) -> Shard:  # fmt: skip
    """The `width` best items for users 100, 101, ..., who have `prompts` and true items `truth` int64 [U, L]."""
    padded, mask = left_padded(prompts, 0)
    scorer, levels = Scorer.of(target, trie, normalise=normalise), []
    found = search(scorer, padded, beam_width=width, mask=mask, levels=levels)
    paths, true = trie.walk(found.sequences).numpy(), trie.walk(torch.from_numpy(truth)).numpy()
    beams = np.full((len(prompts), trie.depth - 1, width), -1)
    for level, states in enumerate(levels):
        beams[:, level, : states.shape[1]] = np.where(states == trie.dead, -1, states)
    trees = [TeacherTree.of(*own, trie, beams=dropped) for *own, dropped in zip(paths, true, beams, strict=True)]
    teacher = Scorer.of(target, trie, normalise="children")
    values = probabilities(teacher, padded, mask, trees, trie, over=over)
    return Shard(
        users=np.arange(100, 100 + len(prompts)),
        paths=paths.astype(np.int32),
        scores=found.scores.numpy(),
        truth=true.astype(np.int32),
        beams=beams.astype(np.int32),
        log_p=np.concatenate(values),
        offsets=np.cumsum([0, *map(len, values)]),
        over=over,
    )


@torch.inference_mode()
def slow_beams(
    model: PreTrainedModel, prompt: Sequence[int], identifiers: np.ndarray, width: int
) -> list[list[tuple[int, ...]]]:
    """The best prefixes of each length 1, ..., L, best first, by one plain pass a prefix: no trie and no tree."""
    best: dict[tuple[int, ...], float] = {(): 0.0}
    levels = []
    for _ in range(identifiers.shape[1]):
        scores = {}
        for prefix, score in best.items():
            tokens = tokens_after(prefix, identifiers)
            log_p = model(torch.tensor([[*prompt, *prefix]])).logits[0, -1, tokens].log_softmax(0)
            scores |= {(*prefix, token): score + value for token, value in zip(tokens, log_p.tolist(), strict=True)}
        best = dict(sorted(scores.items(), key=lambda entry: -entry[1])[:width])
        levels.append(list(best))
    return levels


def tokens_after(prefix: Sequence[int], identifiers: np.ndarray, over: Mask = "children") -> list[int]:
    """The tokens, ascending, that some identifier has after `prefix`, or `over` "position" after so many tokens."""
    fits = (identifiers[:, : len(prefix)] == np.array(prefix, dtype=np.int64)).all(1)
    return sorted(set(identifiers[fits | (over == "position"), len(prefix)].tolist()))
