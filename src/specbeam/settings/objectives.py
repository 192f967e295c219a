"""Settings of the alignment objectives: each takes only those that it uses."""

from typing import Annotated, Literal, get_type_hints

from pydantic import AfterValidator, ConfigDict, Field
from typing_extensions import TypedDict  # pydantic cannot use typing's before Python 3.12

from specbeam.settings.base import Count, Fraction, Section, Temperature

Objective = Literal["sft", "seqkd", "wordkd", "tvdkd", "atspeed_s", "atspeed_r", "treekd"]


class SftSettings(Section):
    """sft, the draft's own language-model loss, has nothing to set."""


class DistillationSettings(Section):
    """seqkd: distillation of the target."""

    alpha: Fraction = 0.7
    """loss = alpha * alignment + (1 - alpha) * cross-entropy."""


class TokenDistillationSettings(DistillationSettings):
    """wordkd, tvdkd: distillation of the target's distributions after each token of some sequences."""

    sequences: Literal["truth", "trajectories"] = "truth"
    """The user's true item, or the target's own K best."""
    mask: Literal["children", "position"] = "children"
    """Distributions over the tokens that the trie allows after the prefix, or over all tokens of that position (the
    authors' masks), which needs `trajectories.logits: position`."""


class RelaxedAlignmentSettings(TokenDistillationSettings):
    """atspeed_r: alignment for relaxed verification."""

    sequences: Literal["truth", "trajectories"] = "trajectories"
    """The user's true item, or the target's own K best."""
    temperature: Temperature = 1.0
    """Divides the logits inside the objective."""


class ObjectiveSettings(RelaxedAlignmentSettings):
    """atspeed_s, alignment for strict verification: all settings that an objective can have."""

    top: Count | None = None
    """Tokens in S_q, the draft's likeliest after a prefix that the term is over; null: as many as trajectories (the
    paper's K)."""
    softmax_of: Literal["logits", "probabilities"] = "logits"
    """`probabilities` is the authors' form: softmax(probabilities / temperature)."""
    density: Literal["draft", "target", "off"] = "draft"
    """The term p~_K H(q~): p~_K as the target's share of the draft's K-th child, or as the target's own K-th largest
    probability, or no such term."""


class TreeDistillationSettings(DistillationSettings):
    """treekd: distillation of the target in every recorded state."""

    alpha: Fraction = 1.0
    """loss = alpha * alignment + (1 - alpha) * cross-entropy."""


class Objectives(TypedDict, total=False):
    """Objectives by name; each takes only the settings that it uses."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    sft: SftSettings
    seqkd: DistillationSettings
    wordkd: TokenDistillationSettings
    tvdkd: TokenDistillationSettings
    atspeed_s: ObjectiveSettings
    atspeed_r: RelaxedAlignmentSettings
    treekd: TreeDistillationSettings


def needing_positions(objectives: Objectives) -> list[str]:
    """Names of the objectives whose `mask` is position."""
    return [name for name, own in objectives.items() if getattr(own, "mask", "") == "position"]


def _some(objectives: Objectives) -> Objectives:
    if not objectives:
        raise ValueError(f"expected at least one of {', '.join(get_type_hints(Objectives))}")
    return objectives


SomeObjectives = Annotated[Objectives, Field(json_schema_extra={"minProperties": 1}), AfterValidator(_some)]
