"""The search: beam search over a token tree, in rounds that a draft may help.

Source: AtSpeed (Lin et al., ICLR 2025), section 3; docs/method.md. A round drafts some levels below the target's beams,
reads beams and drafted tree in ONE pass of the target, and advances by every level that verification accepts and one
more, the bonus level, which the same pass yields. With nothing drafted it advances by the bonus level alone: that is
plain beam search, so the reference and the fast way are one loop.

Each prompt of a batch has its own tree, acceptance and finish. Where prompts stand at different levels, all draft as
widely as the widest of them, unless they are to be kept apart. The host waits for the device once a round, to learn how
far each prompt came; plain beam search never waits.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from specbeam.decoding.beams import Beams, Candidates, expand, top_k
from specbeam.decoding.counters import Counters
from specbeam.decoding.drafters import Drafter
from specbeam.decoding.filters import Filters
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Reader, Scorer
from specbeam.decoding.rules import Rule
from specbeam.decoding.tree import TokenTree

Timer = Callable[[str], AbstractContextManager[None]]


def untimed(_: str) -> AbstractContextManager[None]:
    """The timer of ordinary runs: none."""
    return nullcontext()


def looking_is_free(device: torch.device) -> bool:
    """Whether the host may look at a tensor without waiting for a device; then work that came to nothing is skipped."""
    return device.type == "cpu"


@dataclass
class DraftedLevel:
    """One level that the draft wrote: N sequences, and how it scored all candidates (W parents, C children each)."""

    beams: Beams
    """The N sequences, best first, with their nodes."""
    scores: Tensor
    """float32 [B, W, C]: the draft's scores of all candidates."""
    place: Tensor
    """int64 [B, W, C]: which of the N each candidate is, -1 if it has no node."""
    needed: Tensor | None = None
    """int64 [B], if the search is traced: the width that would have done, above N if none; 0 or None: not verified."""


@dataclass
class Round:
    """What one round did, of a search that is traced."""

    drafted: list[DraftedLevel]
    chosen: list[Beams] = field(default_factory=list)
    """By the rule and the target's scores, the K continuations at each level that was verified, and at the bonus level:
    of each prompt as many as it had levels accepted, and one more; what follows means nothing."""


@dataclass
class Prompt:
    """What the host knows of one prompt's search."""

    row: int
    """Its place in the batch that was asked for."""
    level: int = 0
    """Tokens written."""
    unread: int = 1
    """Tokens at the end of its beams that the draft's model has not read."""
    accepted: list[int] = field(default_factory=list)
    """Levels accepted in each round."""
    draft_calls: int = 0
    """Passes of the draft that it needs; counted if prompts are kept apart, like `nodes`."""
    nodes: int = 0
    """Nodes of its tree that the target read."""

    def advance(self, accepted: int, read: int) -> None:
        """A round is over: `accepted` levels and the bonus level stand, of which the draft read the first `read`.

        With `read` below 0 it did not even read the beams that the round began with.
        """
        self.level += accepted + 1
        self.unread = accepted + 1 - min(accepted, read) if read >= 0 else self.unread + accepted + 1
        self.accepted.append(accepted)


class Search:
    """One search over a batch of prompts; see `search` in specbeam.decoding.lists for what the parts are."""

    def __init__(
        self, scorer: Scorer, tree: TokenTree, beam_width: int, rule: Rule, drafter: Drafter | None, plan: Plan,
        timer: Timer,
    ) -> None:  # fmt: skip
        self.scorer, self.trie, self.tree = scorer, scorer.trie, tree
        self.beam_width, self.rule, self.plan, self.timer = beam_width, rule, plan, timer
        self.target = Reader(scorer, tree)
        self.draft = drafter and drafter.start(tree)
        self.prior = drafter and drafter.prior
        self.live: list[Prompt] = []
        self.pool: Beams | None = None  # the K best identifiers that each live prompt has completed
        self.filters: Filters | None = None  # what each live prompt may be given, if not everything
        self.trace: list[Round] | None = None  # a list here gets every round
        self.apart = False  # no prompt drafts more because another one does, and each is counted by itself
        self.levels: list[Tensor] | None = None  # a list here gets the states [B, W] of the beams after every round

    def run(self, streams: Tensor) -> tuple[Beams, Counters]:
        """Round after round until every prompt has its list of K identifiers, unordered.

        `streams` int64 [B] tell the prompts' random noise apart.
        """
        self.live = prompts = [Prompt(row) for row in range(len(streams))]
        beams, fresh, found, order = Beams.root(streams, self.trie.depth), 0, None, []
        while True:
            beams = self._round(beams, fresh)
            going = [i for i, prompt in enumerate(self.live) if prompt.level < self.trie.depth]
            if len(going) < len(self.live):
                over = [i for i, prompt in enumerate(self.live) if prompt.level == self.trie.depth]
                order += [self.live[i].row for i in over]
                found = self.pool.keep(over) if found is None else found.above(self.pool.keep(over))
                if not going:
                    break
                beams = self._keep(going, beams)
            if self.levels is not None:
                self.levels.append(beams.states)
            fresh = self.tree.size
            beams.nodes = self.tree.attach(beams.tokens(), beams.nodes)
        self._close()
        found = found.keep(sorted(range(len(order)), key=order.__getitem__))
        accepted = [prompt.accepted for prompt in prompts]
        draft_calls = self.draft.calls if self.draft else 0
        each = [Counters(len(p.accepted), p.draft_calls, p.nodes, [p.accepted]) for p in prompts if self.apart]
        return found, Counters(self.target.calls, draft_calls, self.target.nodes_read, accepted, each)

    def _round(self, beams: Beams, fresh: int) -> Beams:
        """Draft below `beams`, read all nodes from `fresh` on in one pass, verify; returns the bonus level."""
        levels = [prompt.level for prompt in self.live]
        steps = self.plan.steps(levels, self.trie.depth) if self.draft else []
        by_model = self.plan.model_steps(levels, len(steps))
        drafted = []
        if steps:
            with self.timer("draft"):
                drafted = self._drafted(beams, steps, by_model)
        if self.apart:
            self._count([*([beams] if fresh else []), *(level.beams for level in drafted)])
        with self.timer("target"):
            nodes = torch.arange(fresh, self.tree.size, device=beams.nodes.device)
            logits = self.target.read(nodes.expand(len(levels), -1))
        if self.trace is not None:
            self.trace.append(Round(drafted))
        with self.timer("verify"):
            bonus, accepted = self._verify(logits, fresh, beams, drafted)
            for prompt, count in zip(self.live, accepted.tolist() if drafted else [0] * len(levels), strict=True):
                prompt.advance(count, by_model - 1)
        return bonus

    def _drafted(self, beams: Beams, steps: Sequence[int], by_model: int) -> list[DraftedLevel]:
        """A level of constrained beam search by the draft for each of the widths `steps`, below the target's beams.

        It starts from the target's scores. The last level gets nodes, but no pass of the draft: should it be verified,
        the next round's draft reads what stands of it.
        """
        drafted = []
        for step, width in enumerate(steps):
            drafter, unread = self.draft if step < by_model else self.prior, 1
            if step == 0:
                unread = max(prompt.unread for prompt in self.live)
            candidates = drafter.expand(beams, self._children(beams, step), self.rule.softmax_temperature, unread)
            keys = self.rule.keys(candidates)
            running = self._running(candidates, step)
            exists = running.exists()
            if looking_is_free(keys.device):
                width = max(1, min(width, int(exists.sum(1).max())))
            chosen = top_k(keys.masked_fill(~exists, -torch.inf), width)
            ranks = _ranks(chosen)
            if self.apart:
                beyond = ranks >= self._own_widths(step, ranks)
                running = running.without(torch.zeros_like(exists).scatter(1, chosen, beyond))
                ranks = ranks.masked_fill(beyond, -1)
            place = torch.full_like(keys, -1, dtype=torch.int64).scatter(1, chosen, ranks)
            beams = running.take(chosen, keys)
            beams.nodes = self.tree.attach(beams.tokens(), beams.nodes)
            shape = candidates.edges.shape
            drafted.append(DraftedLevel(beams, candidates.scores.view(shape), place.view(shape)))
        return drafted

    def _verify(
        self, logits: Tensor, fresh: int, beams: Beams, drafted: Sequence[DraftedLevel]
    ) -> tuple[Beams, Tensor]:
        """Level by level what goes on by the target's scores, up to and with the bonus level, for each prompt.

        `logits` [B, nodes, columns] are those of the nodes from `fresh` on. Returns the bonus levels, whose `nodes` are
        still their parents', and int64 [B]: the levels accepted before them.
        """
        bonus, alive = None, torch.ones_like(beams.levels, dtype=torch.bool)
        accepted, survivors = torch.zeros_like(beams.levels), _ranks(beams.nodes)  # places among the draft's parents
        for step, level in enumerate([*drafted, None]):
            rows = (beams.nodes - fresh).unsqueeze(-1).expand(-1, -1, logits.shape[2])
            children, temperature = self._children(beams, step), self.rule.softmax_temperature
            candidates = expand(logits.gather(1, rows), beams, self.scorer, children, temperature)
            if level is None:
                keys = self.rule.keys(candidates)
            else:
                parents = survivors.unsqueeze(-1).expand_as(candidates.edges)
                scores, place = (x.gather(1, parents).flatten(1) for x in (level.scores, level.place))
                keys, passed = self.rule.verify(candidates, scores, place >= 0)
                if self.trie.depth - 1 in self._levels(step):  # drafted only for prompts that are not so far
                    last = (beams.levels == self.trie.depth - 1).unsqueeze(1)
                    keys = torch.where(last, self.rule.keys(candidates), keys)
            self._collect(candidates, keys, alive, step)
            if self.trace is not None:
                self.trace[-1].chosen.append(candidates.take(top_k(keys, self.beam_width), keys))
            running = self._running(candidates, step)
            chosen = top_k(keys.masked_fill(~running.exists(), -torch.inf), self.beam_width)
            following = running.take(chosen, keys)
            if bonus is not None:  # there were at most as many continuations one level higher
                bonus = bonus.widened(chosen.shape[1], self.trie.dead).replaced(alive, following)
            else:
                bonus = following
            if level is None:
                break
            places = place.gather(1, chosen)
            if self.trace is not None:
                missing = torch.where(following.scores.isfinite(), places, 0).amin(1) < 0
                widest = torch.where(missing, level.beams.nodes.shape[1], places.amax(1)) + 1
                level.needed = torch.where(alive, widest, 0)
            fails = (~passed & running.exists()).gather(1, chosen).any(1)
            alive = alive & ~fails & (following.levels < self.trie.depth)
            if looking_is_free(alive.device) and not alive.any():
                break
            accepted = accepted + alive
            survivors = places.clamp(min=0)
            beams = replace(following, nodes=level.beams.nodes.gather(1, survivors))
        return bonus, accepted

    def _own_widths(self, step: int, like: Tensor) -> Tensor:
        """int64 [B, 1]: what each prompt's own plan drafts at a step; nothing at the last level of an identifier."""
        levels = [prompt.level + step + 1 for prompt in self.live]
        return like.new_tensor([[self.plan.width(level) if level < self.trie.depth else 0] for level in levels])

    def _count(self, read: Sequence[Beams]) -> None:
        """Add to each prompt the nodes of `read` that exist, and the passes of the draft that it alone would take."""
        nodes = [beams.scores.isfinite().sum(1) for beams in read] or [torch.zeros(len(self.live), dtype=torch.int64)]
        for prompt, count in zip(self.live, sum(nodes).tolist(), strict=True):
            prompt.nodes += count
            if self.draft:
                steps = self.plan.steps([prompt.level], self.trie.depth)
                prompt.draft_calls += self.plan.model_steps([prompt.level], len(steps))

    def _children(self, beams: Beams, step: int) -> tuple[Tensor, Tensor]:
        """The edges out of `beams`, which stand `step` levels below the round's start, and which of them go on."""
        with self.timer("constraint"):
            levels = self._levels(step)
            edges, exists = self.trie.edges(beams.states, max(self.trie.widths[level] for level in levels))
            return edges, self.filters.allow(edges, exists, levels) if self.filters else exists

    def _levels(self, step: int) -> list[int]:
        """The levels that the prompts stand at, `step` levels below the round's start; those past the end left out."""
        return [prompt.level + step for prompt in self.live if prompt.level + step < self.trie.depth]

    def _running(self, candidates: Candidates, step: int) -> Candidates:
        """The continuations that do not complete an identifier, and so go on."""
        if any(self.trie.ending[level] for level in self._levels(step)):
            return candidates.without(candidates.ends())
        return candidates

    def _collect(self, candidates: Candidates, keys: Tensor, alive: Tensor, step: int) -> None:
        """Put the identifiers that are complete, and among the K best continuations, into the pool."""
        if not any(self.trie.ending[level] for level in self._levels(step)):
            return
        best = top_k(keys, self.beam_width)
        complete = candidates.without(~(candidates.ends() & alive.unsqueeze(1))).take(best, keys)
        pool = complete if self.pool is None else self.pool.beside(complete)
        pool = pool.pick(top_k(pool.keys, self.beam_width))
        self.pool = pool.widened(self.beam_width, self.trie.dead)

    def _close(self) -> None:
        self.target.close()
        if self.draft:
            self.draft.close()

    def _keep(self, rows: list[int], beams: Beams) -> Beams:
        """Go on with the prompts `rows` alone."""
        index = torch.tensor(rows, device=beams.nodes.device)
        self.live = [self.live[row] for row in rows]
        self.pool, self.filters = self.pool.keep(index), self.filters and self.filters.keep(index)
        for part in (self.tree, self.target, self.draft):
            if part:
                part.keep(index)
        return beams.keep(index)


def _ranks(like: Tensor) -> Tensor:
    """int64 [B, n]: 0, 1, 2, ... in each row."""
    return torch.arange(like.shape[1], device=like.device).expand(like.shape)
