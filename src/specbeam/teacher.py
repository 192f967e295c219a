"""The target's trajectories: its K best identifiers for a prompt and its probabilities along them, as one tree a user.

Trajectories share prefixes, so a user's are a tree of trie states: the root, then the distinct prefixes of length 1 to
L - 1. The true item's prefixes are in it too. One pass of a model over prompt and tree reads every node once, however
many trajectories run through it. A shard file holds the trajectories of some users; the tree is rebuilt from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.tree import ROOT, TokenTree
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.trie import Trie


@dataclass(frozen=True)
class TeacherTree:
    """The trajectories of one user. Lists have one entry a depth, 0 (the root alone) to L - 1."""

    states: list[np.ndarray]
    """int64 [m]: the trie states of that depth, ascending."""
    parents: list[np.ndarray]
    """int64 [m]: each state's parent as a position among the states one depth up."""
    counts: list[np.ndarray]
    """float32 [m, C]: trajectories that take each child; C is the trie's width there."""
    truth: np.ndarray
    """int64 [L, 2]: at each depth the true item's position among the states, and its child's column."""

    @classmethod
    def of(cls, paths: np.ndarray, truth: np.ndarray, trie: Trie) -> "TeacherTree":
        """From the states [K, L] after each token of the trajectories and [L] of the true item's; `trie` on the CPU."""
        first_edge, parent_of = trie.first_edge.numpy(), trie.parents.numpy()
        states, parents = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
        for depth in range(1, trie.depth):
            states.append(np.unique(np.append(paths[:, depth - 1], truth[depth - 1])))
            parents.append(np.searchsorted(states[-2], parent_of[states[-1]]))
        counts, true = [], []
        for depth, (at, width) in enumerate(zip(states, trie.widths, strict=True)):
            after = np.append(paths[:, depth], truth[depth])
            before = parent_of[after]
            position, column = np.searchsorted(at, before), after - 1 - first_edge[before]
            taken = np.zeros((len(at), width), dtype=np.float32)
            np.add.at(taken, (position[:-1], column[:-1]), 1)
            counts.append(taken)
            true.append((position[-1], column[-1]))
        return cls(states, parents, counts, np.array(true))


@dataclass(frozen=True)
class TreeBatch:
    """Several users' trees as tensors, padded depth by depth."""

    states: list[Tensor]
    """int64 [B, M]: trie states, `trie.dead` at padding."""
    tokens: list[Tensor]
    """int64 [B, M]: the token that leads to each state (0 at padding and at the root)."""
    parents: list[Tensor]

    @classmethod
    def of(cls, trees: Sequence[TeacherTree], trie: Trie, device: torch.device | str) -> "TreeBatch":
        """Pad `trees` on `device`; `trie` lies on the CPU."""
        states = [_padded([tree.states[d] for tree in trees], trie.dead) for d in range(trie.depth)]
        parents = [_padded([tree.parents[d] for tree in trees], 0) for d in range(trie.depth)]
        edges = [(s - 1).clamp(0, len(trie.tokens) - 1) for s in states]  # state s > 0 ends edge s - 1
        real = [(s > 0) & (s < trie.dead) for s in states]
        tokens = [torch.where(r, trie.tokens[e], 0) for r, e in zip(real, edges, strict=True)]
        return cls(*([x.to(device) for x in level] for level in (states, tokens, parents)))

    def attach(self, tree: TokenTree) -> list[Tensor]:
        """Attach every depth to `tree`; returns the nodes [B, M] by depth."""
        nodes = [torch.full_like(self.states[0], ROOT)]
        for tokens, parents in zip(self.tokens[1:], self.parents[1:], strict=True):
            nodes.append(tree.attach(tokens, nodes[-1].gather(1, parents)))
        return nodes


def children_logits(logits: Tensor, states: Tensor, trie: Trie, depth: int) -> tuple[Tensor, Tensor]:
    """The logits [B, M, C] of each state's children, out of `logits` [B, M, vocabulary]; bool [B, M, C]: a child?"""
    children = trie.children(states, depth)
    return logits.gather(2, children.tokens), children.allowed


@torch.inference_mode()
def probabilities(
    scorer: Scorer, prompts: Tensor, mask: Tensor, trees: Sequence[TeacherTree], cpu_trie: Trie
) -> list[np.ndarray]:
    """For each tree the log-probabilities of all its states' children, depth after depth, as one flat float16 array.

    `scorer` is made with `normalise: children`; `cpu_trie` is its trie on the CPU.
    """
    trie = scorer.trie
    batch, tree = TreeBatch.of(trees, cpu_trie, prompts.device), TokenTree(prompts, trie.depth - 1, mask)
    nodes = batch.attach(tree)
    logits = Reader(scorer, tree).read(torch.cat(nodes, 1)).split([at.shape[1] for at in nodes], 1)
    flat: list[list[np.ndarray]] = [[] for _ in trees]
    for depth, (at, states) in enumerate(zip(logits, batch.states, strict=True)):
        edges, allowed = trie.edges(states, trie.widths[depth])
        values = at.gather(2, scorer.columns[edges])
        log_p = values.masked_fill(~allowed, -torch.inf).log_softmax(-1).half().cpu().numpy()
        for row, (own, keep) in enumerate(zip(log_p, allowed.cpu().numpy(), strict=True)):
            flat[row].append(own[keep])
    return [np.concatenate(parts) for parts in flat]


@dataclass(frozen=True)
class Shard:
    """Trajectories of U users, K a user, as stored."""

    users: np.ndarray
    """int64 [U]."""
    paths: np.ndarray
    """int32 [U, K, L]: trie states along each trajectory, best first; -1 where fewer than K items exist."""
    scores: np.ndarray
    """float32 [U, K]: accumulated log-probabilities."""
    truth: np.ndarray
    """int32 [U, L]: trie states along the true item."""
    log_p: np.ndarray
    """float16 [values]: for user after user what `probabilities` gives."""
    offsets: np.ndarray
    """int64 [U + 1]: where each user's values start in log_p."""

    def save(self, path: Path) -> None:
        """Write a safetensors file, atomically."""
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in vars(self).items()}
        with replacing(path) as temporary:
            save_file(tensors, temporary, metadata={"format": "specbeam trajectories 1"})

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Read a shard; raises SpecbeamError naming the file if it is missing, damaged or of another kind."""
        try:
            tensors = load_file(path)
            return cls(**{name: tensors[name].numpy() for name in cls.__dataclass_fields__})
        except FileNotFoundError:
            raise SpecbeamError(f"{path}: expected recorded trajectories here, found none; record them first") from None
        except (SafetensorError, KeyError) as error:
            raise SpecbeamError(f"{path}: not a shard of trajectories ({error}); delete it and record again") from error

    def trees(self, trie: Trie) -> list[tuple[int, TeacherTree, list[np.ndarray]]]:
        """Every user, tree, and log-probabilities float16 [m, C] by depth, -inf at padding; `trie` on the CPU."""
        first_edge, rebuilt = trie.first_edge.numpy(), []
        for i, user in enumerate(self.users):
            paths = self.paths[i][self.paths[i, :, -1] >= 0].astype(np.int64)
            tree = TeacherTree.of(paths, self.truth[i].astype(np.int64), trie)
            values, start, levels = self.log_p[self.offsets[i] : self.offsets[i + 1]], 0, []
            for states, width in zip(tree.states, trie.widths, strict=True):
                allowed = np.arange(width) < (first_edge[states + 1] - first_edge[states])[:, None]
                dense = np.full(allowed.shape, -np.inf, dtype=np.float16)
                dense[allowed] = values[start : start + allowed.sum()]
                start += allowed.sum()
                levels.append(dense)
            rebuilt.append((int(user), tree, levels))
        return rebuilt


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    padded = np.full((len(rows), max(len(row) for row in rows)), value, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return torch.from_numpy(padded)
