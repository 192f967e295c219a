"""Settings of the recommenders that a target has to beat."""

from typing import Annotated

from pydantic import Field, model_validator

from specbeam.settings.base import Count, Fraction, Section
from specbeam.settings.models import TrainingSettings


class SasrecSettings(TrainingSettings):
    """SASRec (specbeam.baselines.sasrec), and its training."""

    hidden_size: Count = 64
    layers: Count = 2
    heads: Count = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    history: Count = 50
    """Most recent items that it reads."""
    epochs: Count = 60
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    batch_size: Count = 128
    """Users an optimiser step."""
    micro_batch_size: Count = 128
    """Users a forward pass; smaller than batch_size means gradient accumulation."""

    @model_validator(mode="after")
    def _is_small(self) -> "SasrecSettings":
        large = ("processes", "gradient_checkpointing", "checkpoint_minutes")
        if unused := [name for name in large if getattr(self, name) != type(self).model_fields[name].default]:
            raise ValueError(f"without effect on so small a model: remove {', '.join(unused)}")
        return self

    @model_validator(mode="after")
    def _divides(self) -> "SasrecSettings":
        if self.hidden_size % self.heads:
            raise ValueError(f"hidden_size must be a multiple of heads, got {self.hidden_size} and {self.heads}")
        return self


class BaselineSettings(Section):
    """Which recommenders a target is held against, besides popularity and last-item transitions."""

    decay: Fraction = 0.8
    """Co-occurrence: the weight of an item of the history relative to the next more recent one."""
    sasrec: SasrecSettings | None = None
    """SASRec, trained on the same training items; null leaves it out."""
