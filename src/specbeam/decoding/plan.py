"""How wide and how deep to draft."""

from collections.abc import Sequence
from dataclasses import dataclass

from specbeam.errors import SpecbeamError


@dataclass(frozen=True)
class Plan:
    """Drafted nodes by level of the identifier.

    A round drafts the levels after the one that its beams stand at, as long as `widths` goes on, and never the last
    level of an identifier, which needs no forward pass of its own.
    """

    widths: tuple[int, ...] = ()
    """Nodes drafted at level 1, 2, ...; a width of 0, or none, ends the round's draft. Empty: do not speculate."""
    model_levels: int | None = None
    """Levels that the draft's model scores. The trie completes the deeper ones, in the order of a prior and without a
    pass of the model: give them the width that holds all continuations. None: all levels."""
    draft_length: int | None = None
    """Levels drafted a round (gamma), if that is to be fewer than `widths` has."""

    @classmethod
    def flat(cls, width: int, draft_length: int, depth: int) -> "Plan":
        """The paper's: N drafted sequences a level, gamma levels a round, for identifiers of `depth` tokens."""
        if draft_length < 1:
            raise SpecbeamError(f"draft length: expected 1 level or more, got {draft_length}")
        return cls((width,) * (depth - 1), draft_length=draft_length)

    @classmethod
    def completed(cls, width: int, draft_length: int, branching: Sequence[int]) -> "Plan":
        """Flat, but at the deepest level that can be drafted all children, by the trie and without a pass of the model.

        `branching` are the most children of any prefix, by depth (Trie.widths). A level drafted so is always accepted
        if the one above it is.
        """
        depth = len(branching)
        if depth < 2:
            return cls.flat(width, draft_length, depth)
        widths = (width,) * (depth - 2) + (width * branching[-2],)
        return cls(widths, model_levels=depth - 2, draft_length=draft_length)

    def steps(self, levels: Sequence[int], depth: int) -> list[int]:
        """Nodes to draft at each step of a round whose searches stand at `levels`, identifiers having `depth` tokens.

        Searches at different levels draft together, so the widest of them counts.
        """
        steps: list[int] = []
        while len(steps) < (self.draft_length or depth):
            reached = [level + len(steps) + 1 for level in levels]
            width = max((self.width(level) for level in reached if level < depth), default=0)
            if not width:
                break
            steps.append(width)
        return steps

    def width(self, level: int) -> int:
        """Nodes drafted at `level`; the first token has level 1."""
        return self.widths[level - 1] if level <= len(self.widths) else 0

    def model_steps(self, levels: Sequence[int], steps: int) -> int:
        """How many of a round's `steps` the draft's model scores."""
        return steps if self.model_levels is None else min(steps, max(0, self.model_levels - min(levels)))

    def check(self, beam_width: int) -> None:
        """Raise SpecbeamError for a plan that could never be accepted, or makes no sense."""
        if any(width < 0 for width in self.widths):
            raise SpecbeamError(f"draft widths: expected numbers of 0 or more, got {self.widths}")
        if narrow := [width for width in self.widths if 0 < width < beam_width]:
            raise SpecbeamError(
                f"draft width {narrow[0]} is below the beam width {beam_width}, so that no level could be accepted: "
                "draft at least as many sequences a level as there are beams"
            )
