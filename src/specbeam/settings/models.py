"""Settings of models and of their training."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from specbeam.settings.base import Count, Fraction, Positive, Section


class LoraSettings(Section):
    """Low-rank adapters on a pretrained target."""

    rank: Count = 8
    alpha: Positive = 16
    dropout: Fraction = 0.05
    modules: list[str] = ["q_proj", "v_proj"]


class ModelSettings(Section):
    """A causal language model: loaded from `base`, or a Llama built from scratch with the sizes below."""

    base: str | None = None
    """Hub name or folder to start from; null builds a new Llama."""
    revision: str | None = None
    """Commit of the hub model; required for hub names, so that a run can be repeated."""
    hidden_size: Count = 128
    layers: Count = 4
    heads: Count = 4
    intermediate_size: Count = 384
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Attention dropout while training."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Precision of the weights in decoding."""
    lora: LoraSettings | None = None
    """Train low-rank adapters and the new item rows instead of all weights; merged before decoding."""

    @model_validator(mode="after")
    def _consistent(self) -> "ModelSettings":
        if self.base and (sizes := [name for name in SIZES if name in self.model_fields_set]):
            raise ValueError(f"base brings its own {', '.join(sizes)}: remove {'it' if len(sizes) == 1 else 'them'}")
        if self.revision and not self.base:
            raise ValueError("revision is a commit of a pretrained model: set base, or remove revision")
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be an even multiple of heads, got {self.hidden_size} and {self.heads}")
        if self.lora and not self.base:
            raise ValueError("lora adapts a pretrained model: set base, or remove lora")
        if self.base and not Path(self.base).exists() and not self.revision:
            raise ValueError(
                f"base {self.base!r} is no folder here; for a hub model, set revision to a commit, to pin it"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused_sizes(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the sizes that `base` brings itself: what is dumped can be read back."""
        return {name: value for name, value in dump(self).items() if not (self.base and name in SIZES)}


SIZES = ("hidden_size", "layers", "heads", "intermediate_size", "dropout")
"""Settings of a new model; a pretrained one has its own."""


class DraftModelSettings(ModelSettings):
    """The draft: a small causal language model with the target's tokenizer."""

    hidden_size: Count = 64
    layers: Count = 2
    intermediate_size: Count = 128

    @model_validator(mode="after")
    def _whole(self) -> "DraftModelSettings":
        if self.lora:
            raise ValueError("lora is for the target: alignment trains all weights of the draft; remove lora")
        return self


class TrainingSettings(Section):
    """How a model is trained."""

    loss_on_prompt: bool = True
    """Whether the history's tokens are targets too (the authors' code: yes)."""
    epochs: Count = 10
    learning_rate: Positive = 1e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    batch_size: Count = 64
    """Users (windows) an optimiser step."""
    micro_batch_size: Count = 64
    """Users a forward pass; smaller than batch_size means gradient accumulation."""
    warmup: Fraction = 0.05
    """Share of all steps with a rising learning rate; a cosine follows."""
    patience: Count = 5
    """Epochs without a better validation loss before training stops; the best epoch is kept."""
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Autocast precision of training."""


class LanguageModelSettings(TrainingSettings):
    """How a model learns to write the next item."""

    samples: Literal["sequence", "last_item"] = "sequence"
    """`sequence`: every position of a user's training items, in windows; `last_item`: the paper's one sample a user."""

    @model_validator(mode="after")
    def _trains_what_it_says(self) -> "LanguageModelSettings":
        if self.samples == "sequence" and not self.loss_on_prompt:
            raise ValueError("samples: sequence trains on every position: set loss_on_prompt: true, or last_item")
        return self


class DraftTrainingSettings(LanguageModelSettings):
    """How the draft that all objectives start from learns."""

    distil: bool = False
    """Learn the target's distributions along whole sequences instead of the sequences themselves; the target must then
    be trained first."""

    @model_validator(mode="after")
    def _distils_sequences(self) -> "DraftTrainingSettings":
        if self.distil and self.samples != "sequence":
            raise ValueError("distil learns from every item of a sequence: set samples: sequence, or distil: false")
        return self


class AlignmentTrainingSettings(TrainingSettings):
    """How a draft is aligned."""

    epochs: Count = 5
    batch_size: Count = 32
    """Users an optimiser step."""
    micro_batch_size: Count = 32
    """Users a forward pass; smaller than batch_size means gradient accumulation."""
