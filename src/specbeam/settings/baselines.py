"""Settings of the recommenders that a target has to beat."""

import itertools
from typing import Annotated, Any

from pydantic import Field, model_validator

from specbeam.settings.base import Count, Fraction, Section, SomeDistinct
from specbeam.settings.models import TrainingSettings


class SasrecSettings(TrainingSettings):
    """SASRec (specbeam.baselines.sasrec), and its training."""

    hidden_size: Count = 64
    """Width of the model."""
    layers: Count = 2
    """Blocks of attention and feed-forward."""
    heads: Count = 1
    """Attention heads."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """Of embeddings, attention and feed-forward while training."""
    history: Count = 50
    """Most recent items that it reads."""
    epochs: Count = 60
    """Passes over the training users, at most."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Of AdamW, on matrices."""
    batch_size: Count = 128
    """Users an optimiser step."""
    micro_batch_size: Count = 128
    """Users a forward pass; smaller than batch_size means gradient accumulation."""
    search: dict[str, SomeDistinct[Any]] = {}
    """Values to try, by name of a setting above, in place of its one value: `{dropout: [0.2, 0.5]}`. Every combination
    is trained, and the one with the best NDCG@10 on validation users recommends."""

    def candidates(self) -> list["SasrecSettings"]:
        """The settings of every combination in `search`, none of which searches further."""
        if not self.search:
            return [self]
        own = self.model_dump(exclude={"search"})
        combinations = itertools.product(*self.search.values())
        return [SasrecSettings(**own | dict(zip(self.search, values, strict=True))) for values in combinations]

    @model_validator(mode="after")
    def _searches_settings_of_its_own(self) -> "SasrecSettings":
        if unknown := self.search.keys() - (type(self).model_fields.keys() - {"search"}):
            raise ValueError(f"search: expected names of SASRec's settings, got {', '.join(sorted(unknown))}")
        if self.search:
            self.candidates()  # each must be valid
        return self

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
