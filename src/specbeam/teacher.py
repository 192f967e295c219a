"""The target's trajectories: its beams for a prompt and its probabilities along them, as one tree a user.

Trajectories share prefixes, so a user's are a tree of trie states: the root, then the distinct prefixes of length 1 to
L - 1. The beams that the target's search dropped on its way, and the true item's prefixes, are in it too. One pass of a
model over prompt and tree reads every node once, however many trajectories run through it. A shard file holds the
trajectories of some users; the tree is rebuilt from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from specbeam import sealed
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.tree import ROOT, TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

Mask = Literal["children", "position"]
"""Which tokens a distribution after a prefix is over: those that the trie allows there, or all that any identifier has
at that position (the authors' masks, which admit items that do not exist)."""

FORMAT = "specbeam trajectories 3"


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
    def of(cls, paths: np.ndarray, truth: np.ndarray, trie: Trie, *, beams: np.ndarray | None = None) -> "TeacherTree":
        """From trie states: [K, L] after each token of the trajectories, [L] of the true item's; `trie` on the CPU.

        And, if they are to be in it, the search's `beams` at each level but the last, [L - 1, W]; -1 stands for none.
        """
        beams = np.full((trie.depth - 1, 0), -1) if beams is None else beams
        first_edge, parent_of = trie.first_edge.numpy(), trie.parents.numpy()
        states, parents = [np.zeros(1, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
        for depth in range(1, trie.depth):
            dropped = beams[depth - 1][beams[depth - 1] >= 0]
            states.append(np.unique(np.concatenate([paths[:, depth - 1], truth[depth - 1 : depth], dropped])))
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


def position_logits(logits: Tensor, states: Tensor, trie: Trie, depth: int) -> tuple[Tensor, Tensor]:
    """The same over all tokens of that position: [B, M, W] and, the same for all tokens of a state, bool [B, M, W]."""
    at = logits[..., trie.tokens_at[depth]]
    return at, (states < trie.dead).unsqueeze(-1).expand_as(at)


@torch.no_grad()  # not inference mode, which would taint what the trie keeps for training
def probabilities(
    scorer: Scorer, prompts: Tensor, mask: Tensor, trees: Sequence[TeacherTree], cpu_trie: Trie,
    *, over: Mask = "children",
) -> list[np.ndarray]:  # fmt: skip
    """For each tree the log-probabilities after all its states, depth after depth, as one flat float16 array.

    After a state, those of its children, or, `over` "position", of all tokens of that position. `scorer` is made with
    `normalise: children`; `cpu_trie` is its trie on the CPU.
    """
    trie = scorer.trie
    batch, tree = TreeBatch.of(trees, cpu_trie, prompts.device), TokenTree(prompts, trie.depth - 1, mask)
    nodes = batch.attach(tree)
    logits = Reader(scorer, tree).read(torch.cat(nodes, 1)).split([at.shape[1] for at in nodes], 1)
    flat: list[list[np.ndarray]] = [[] for _ in trees]
    for depth, (at, states) in enumerate(zip(logits, batch.states, strict=True)):
        if over == "position":
            values = at[..., torch.searchsorted(trie.alphabet, trie.tokens_at[depth])]
            allowed = (states < trie.dead).unsqueeze(-1).expand_as(values)
        else:
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
    beams: np.ndarray
    """int32 [U, L - 1, K]: trie states of the search's beams at each level but the last, best first; -1 for none."""
    log_p: np.ndarray
    """float16 [values]: for user after user what `probabilities` gives."""
    offsets: np.ndarray
    """int64 [U + 1]: where each user's values start in log_p."""
    over: Mask = "children"
    """Which tokens log_p is over."""

    def save(self, path: Path) -> None:
        """Write a safetensors file, atomically."""
        arrays = {name: value for name, value in vars(self).items() if name != "over"}
        tensors = {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in arrays.items()}
        sealed.write(path, tensors, {"format": FORMAT, "over": self.over})

    @classmethod
    def load(cls, path: Path) -> "Shard":
        """Read a shard; raises SpecbeamError naming the file if it is missing, damaged or of another kind."""
        if not Path(path).exists():
            raise SpecbeamError(f"{path}: expected recorded trajectories here, found none; record them first")
        try:
            tensors, texts = sealed.read(path)
        except SpecbeamError as error:
            raise SpecbeamError(f"{path}: not a shard of trajectories ({error}); delete it and record again") from error
        if texts.get("format") != FORMAT:
            raise SpecbeamError(
                f"{path}: not a shard of trajectories: expected format {FORMAT!r}, found {texts.get('format')!r}; "
                "delete it and record again"
            )
        names = {field.name for field in fields(cls)} - {"over"}
        if tensors.keys() != names or texts.get("over") not in get_args(Mask):
            raise SpecbeamError(
                f"{path}: not a shard of trajectories: expected {', '.join(sorted(names))}, found "
                f"{', '.join(sorted(tensors))[:300]}, over {texts.get('over')}; delete it and record again"
            )
        return cls(**{name: tensor.numpy() for name, tensor in tensors.items()}, over=texts["over"])

    def trees(
        self, trie: Trie, *, over: Mask = "children", beams: bool = True
    ) -> list[tuple[int, TeacherTree, list[np.ndarray]]]:
        """Every user, tree, and log-probabilities float16 [m, C] by depth, -inf at padding; `trie` on the CPU.

        Without `beams` the trees hold trajectories and true items alone, not the beams that the search dropped.
        With `over` "position" [m, W], over all tokens of that position; raises SpecbeamError if those were not
        recorded. From them the children's are taken as they are, not normalised again.
        """
        if over == "position" and self.over != over:
            raise SpecbeamError(
                "these trajectories hold the target's logits of the trie's children alone: record them with "
                "trajectories.logits: position"
            )
        rebuilt = []
        for i, user in enumerate(self.users):
            paths, dropped = self.paths[i][self.paths[i, :, -1] >= 0].astype(np.int64), self.beams[i].astype(np.int64)
            truth, values = self.truth[i].astype(np.int64), self.log_p[self.offsets[i] : self.offsets[i + 1]]
            tree = TeacherTree.of(paths, truth, trie, beams=dropped)
            levels = self._by_depth(values, tree, trie, over)
            if not beams:
                recorded, tree = tree, TeacherTree.of(paths, truth, trie)
                pairs = zip(levels, recorded.states, tree.states, strict=True)
                levels = [level[np.isin(states, kept)] for level, states, kept in pairs]
            rebuilt.append((int(user), tree, levels))
        return rebuilt

    def _by_depth(self, values: np.ndarray, tree: TeacherTree, trie: Trie, over: Mask) -> list[np.ndarray]:
        """One user's `values` as float16 [m, C] (or [m, W], `over` positions) by depth."""
        first_edge, start, levels = trie.first_edge.numpy(), 0, []
        for depth, (states, width) in enumerate(zip(tree.states, trie.widths, strict=True)):
            first = first_edge[states, None]
            exists = np.arange(width) < first_edge[states + 1, None] - first
            size = exists.sum() if self.over == "children" else len(states) * len(trie.tokens_at[depth])
            stored, start = values[start : start + size], start + size
            if over == "position":
                levels.append(stored.reshape(len(states), -1))
                continue
            children = np.full(exists.shape, -np.inf, dtype=np.float16)
            if self.over == "position":
                edges = (first + np.arange(width))[exists]
                tokens = trie.tokens.numpy()[edges]
                columns = np.searchsorted(trie.tokens_at[depth].numpy(), tokens)
                stored = stored.reshape(len(states), -1)[np.nonzero(exists)[0], columns]
            children[exists] = stored
            levels.append(children)
        return levels


def _padded(rows: Sequence[np.ndarray], value: int) -> Tensor:
    padded = np.full((len(rows), max(len(row) for row in rows)), value, dtype=np.int64)
    for i, row in enumerate(rows):
        padded[i, : len(row)] = row
    return torch.from_numpy(padded)
