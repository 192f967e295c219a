"""Settings of decoding, and of what is measured of it."""

from typing import Literal

from specbeam.settings.base import Count, Section, SomeDistinct, Temperature

Verification = Literal["strict", "relaxed", "relaxed-ranked", "coupled"]
DraftPlan = Literal["flat", "completed"]


class DecodingSettings(Section):
    """How lists are searched."""

    constraint: Literal["trie", "position"] = "trie"
    """`trie`: only real items; `position`: any token seen at that position (for comparison)."""
    normalise: Literal["children", "vocabulary"] = "children"
    """Softmax over the tokens that the constraint allows, or over the full vocabulary before the constraint."""
    draft_length: Count = 3
    """Levels drafted a round (gamma)."""
    temperature: Temperature = 1.0
    """Of the sampling in relaxed and coupled verification."""


class MeasurementSettings(Section):
    """What is measured, and on how many test users."""

    beam_widths: SomeDistinct[Count] = [1, 3, 5, 10, 20]
    """K: target beams, and recommended items."""
    draft_beam_widths: SomeDistinct[Count] = [40]
    """N: drafted sequences a level. N below K can accept no level, so such a pair is not measured."""
    plans: SomeDistinct[DraftPlan] = ["flat"]
    """`flat`: N sequences at every drafted level, as in the paper; `completed`: at the deepest level that is drafted
    all children of the level above, by the trie and without a pass of the draft (not for relaxed, which samples).
    Timed is `flat` alone."""
    verifications: SomeDistinct[Verification] = ["strict", "relaxed"]
    """How drafted levels are accepted (docs/method.md); `strict` and `coupled` are lossless."""
    users: Count | None = None
    """Test users for acceptance and recall of the drafts; null takes all."""
    tree_nodes: SomeDistinct[Count] = [60, 120, 240, 480]
    """Sizes of drafted trees to compare at the largest K, shaped flat and by what the draft needed; as many validation
    users as `tree_users` shape them."""
    tree_users: Count = 100
    """Test users for the comparison of trees."""
    timing_users: Count = 20
    """Test users whose lists are timed, interleaved over all methods."""
    repeats: Count = 3
    """Timed repeats a list; the median counts."""
