"""Settings of models and of their training."""

import os
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from specbeam.settings.base import Count, Fraction, Positive, Section, SomeDistinct


def _whole_commit(revision: str) -> str:
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError("expected all 40 digits of a commit, since branches and tags move and are not cached for good")
    return revision


class LoraSettings(Section):
    """Low-rank adapters on a pretrained target."""

    rank: Count = 8
    """Rank of the adapters."""
    alpha: Positive = 16
    """Adapters are scaled by alpha / rank."""
    dropout: Fraction = 0.05
    """Of the adapters while training."""
    modules: list[str] = ["q_proj", "v_proj"]
    """Layers that get adapters, by the names they have in the model."""
    rows: Literal["new", "all"] = "new"
    """Rows of the embedding and of the head that are trained beside the adapters: those of the `new` item tokens, or
    `all`, at 16 bytes a weight."""


class ModelSettings(Section):
    """A causal language model: loaded from `base`, or a Llama built from scratch with the sizes below."""

    base: str | None = None
    """Hub name or folder to start from; null builds a new Llama."""
    revision: Annotated[str, AfterValidator(_whole_commit)] | None = None
    """Commit of the hub model, all 40 digits; required for hub names, so that a run can be repeated."""
    hidden_size: Count = 128
    """Width of a new Llama; an even multiple of heads."""
    layers: Count = 4
    """Its layers."""
    heads: Count = 4
    """Its attention heads."""
    intermediate_size: Count = 384
    """Width of its feed-forward blocks."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Attention dropout while training."""
    dtype: Literal["float32", "bfloat16", "float16", "int8", "int4"] = "float32"
    """Precision of the weights in decoding; int8 and int4 need the package bitsandbytes."""
    lora: LoraSettings | None = None
    """Train low-rank adapters and the new item rows instead of all weights; merged before decoding."""
    quantize: Literal["int8", "int4"] | None = None
    """Hold the base in few bits while adapters train, which needs the package bitsandbytes. They are merged into the
    base in `dtype`; null holds it in `dtype` all along."""

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
        if self.quantize and not self.lora:
            raise ValueError("quantize is for a base that adapters train on: set lora; for decoding, set dtype")
        if self.base and not os.path.exists(self.base) and not self.revision:  # noqa: PTH110 - Path's fails on long names
            raise ValueError(
                f"base {self.base!r:.200} is no folder here; for a hub model, set revision to a commit, to pin it"
            )
        return self

    @model_serializer(mode="wrap")
    def _without_unused_sizes(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the sizes of a model that brings its own: what is dumped can be read back."""
        return {name: value for name, value in dump(self).items() if self._is_new() or name not in SIZES}

    def _is_new(self) -> bool:
        return self.base is None


SIZES = ("hidden_size", "layers", "heads", "intermediate_size", "dropout")
"""Settings of a new model; a pretrained one has its own."""


class DraftModelSettings(ModelSettings):
    """The draft: a small causal language model with the target's tokenizer."""

    hidden_size: Count = 64
    """Width of a new Llama; an even multiple of heads."""
    layers: Count = 2
    """Its layers."""
    intermediate_size: Count = 128
    """Width of its feed-forward blocks."""
    from_target: SomeDistinct[Annotated[int, Field(ge=0)]] | None = None
    """Layers of the target, counted from 0, that the draft starts from, in this order, with the target's embedding,
    final norm, head and sizes; the target must then be trained first. Null: from `base`, or a new Llama."""

    @model_validator(mode="after")
    def _whole(self) -> "DraftModelSettings":
        if self.lora:
            raise ValueError("lora is for the target: alignment trains all weights of the draft; remove lora")
        return self

    @model_validator(mode="after")
    def _has_one_origin(self) -> "DraftModelSettings":
        given = [name for name in SIZES if name in self.model_fields_set]
        if self.from_target and (without_effect := [*(["base"] if self.base else []), *given]):
            raise ValueError(f"from_target takes weights and sizes from the target: remove {', '.join(without_effect)}")
        return self

    def _is_new(self) -> bool:
        return self.base is None and self.from_target is None


class TrainingSettings(Section):
    """How a model is trained."""

    epochs: Count = 10
    """Passes over the training data, at most."""
    learning_rate: Positive = 1e-3
    """Its largest value, after the warm-up."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    """Of AdamW, on matrices."""
    batch_size: Count = 64
    """Users (windows) an optimiser step."""
    micro_batch_size: Count = 64
    """Users a forward pass of each process; smaller than its share of batch_size means gradient accumulation."""
    warmup: Fraction = 0.05
    """Share of all steps with a rising learning rate; a cosine follows."""
    patience: Count = 5
    """Epochs without a better validation loss before training stops; the best epoch is kept."""
    precision: Literal["float32", "bfloat16", "float16"] = "bfloat16"
    """Autocast precision of training."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, more time."""
    processes: Count = 1
    """Processes that share every batch: one a GPU, or on CPUs with the job's threads divided."""
    checkpoint_minutes: Annotated[float, Field(ge=0)] = 10
    """Minutes between checkpoints inside an epoch, from which a killed job goes on; every epoch ends with one. Set it
    before: another value runs finished trainings again."""


class NeighbourSettings(Section):
    """Walks from item to item that a model is trained on, besides users' own items (specbeam.target.neighbours)."""

    share: Fraction = 0.6
    """Chance that an item of a walk is drawn from co-occurrence scores rather than the user's own next one."""
    decay: Fraction = 0.8
    """Weight of an item of the walk, relative to the next more recent one, in the scores of what follows."""
    sharpness: Positive = 2.0
    """Items are drawn by their scores to this power."""
    candidates: Count = 64
    """Items with the highest scores that can be drawn."""
    items: Annotated[int, Field(ge=2)] = 13
    """A batch's walks go on to a length drawn from 2 to this number; users' own items are all in, if they are more."""


class LanguageModelSettings(TrainingSettings):
    """How a model learns to write the next item."""

    loss_on_prompt: bool = True
    """Whether the history's tokens are targets too (the authors' code: yes)."""
    samples: Literal["sequence", "last_item"] = "sequence"
    """`sequence`: every position of a user's training items, in windows; `last_item`: the paper's one sample a user."""
    neighbours: NeighbourSettings | None = None
    """Train on users' items as walks that co-occurrence continues and labels; null: on users' items alone."""

    @model_validator(mode="after")
    def _walks_along_sequences(self) -> "LanguageModelSettings":
        if self.neighbours and self.samples != "sequence":
            raise ValueError("neighbours walks along whole sequences: set samples: sequence, or neighbours: null")
        return self

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
        if self.distil and self.neighbours:
            raise ValueError("distil learns from the target alone: set neighbours: null, or distil: false")
        return self


class AlignmentTrainingSettings(TrainingSettings):
    """How a draft is aligned."""

    loss_on_prompt: bool = True
    """Whether the history's tokens are targets too (the authors' code: yes)."""
    epochs: Count = 5
    """Passes over the recorded prompts, at most."""
    batch_size: Count = 32
    """Users an optimiser step."""
    micro_batch_size: Count = 32
    """Users a forward pass; smaller than batch_size means gradient accumulation."""
    assessed_users: Annotated[int, Field(ge=0)] = 200
    """Validation users whose lists are drafted after every epoch, to see how many levels would be accepted, strictly,
    with N twice the recorded beams. 0: none."""
    keep: Literal["valid_loss", "accepted"] = "valid_loss"
    """The epoch that is kept: of the least validation loss, or of the most accepted levels."""

    @model_validator(mode="after")
    def _keeps_what_it_measures(self) -> "AlignmentTrainingSettings":
        if self.keep == "accepted" and not self.assessed_users:
            raise ValueError("keep: accepted needs users to measure it on: set assessed_users above 0")
        return self
