"""Typed settings: one class a stage, unknown keys refused, every range checked.

A config file is one complete run; what it leaves out takes the default written here. This module imports neither torch
nor transformers, so that the Snakefile and `specbeam --help` stay fast.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from specbeam.errors import SpecbeamError

Objective = Literal["sft", "seqkd", "wordkd", "tvdkd", "atspeed_s", "atspeed_r"]
Verification = Literal["strict", "relaxed"]
DatasetName = Literal["synthetic", "beauty", "games"]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Temperature = Annotated[float, Field(ge=1e-3)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Base of all settings: immutable, unknown keys refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class SourceSettings(Section):
    mirror: str | None = None
    """Folder or URL to download from instead of the pinned address; same layout, same checksums. The environment
    variable SPECBEAM_MIRROR overrides it."""


class SyntheticSettings(Section):
    """The embedded catalogue and users (specbeam.data.synthetic)."""

    users: Count = 2500
    items: Count = 3000
    clusters: Count = 24
    """Latent interest groups; the first identifier token is mostly a group's."""
    mean_length: Annotated[float, Field(ge=4)] = 9.0
    """Mean interactions a user, before the split."""
    popularity_exponent: Annotated[float, Field(ge=0)] = 0.9
    """Zipf exponent of item popularity inside a group."""
    persistence: Fraction = 0.75
    """Chance that the next item follows from the last one rather than from the user's interests at large."""


class PromptSettings(Section):
    style: Literal["compact", "natural"] = "compact"
    """`compact`: the history's item tokens alone; `natural`: the paper's instruction around them, for a model that
    knows English."""
    history: Annotated[int, Field(ge=1, le=200)] = 20
    """Most recent items in a prompt."""


class LoraSettings(Section):
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
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size must be an even multiple of heads, got {self.hidden_size} and {self.heads}")
        if self.lora and not self.base:
            raise ValueError("lora adapts a pretrained model: set base, or remove lora")
        if self.base and not Path(self.base).exists() and not self.revision:
            raise ValueError(
                f"base {self.base!r} is no folder here; for a hub model, set revision to a commit, to pin it"
            )
        return self


class TrainingSettings(Section):
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
    samples: Literal["sequence", "last_item"] = "sequence"
    """`sequence`: every position of a user's training items, in windows; `last_item`: the paper's one sample a user."""

    @model_validator(mode="after")
    def _trains_what_it_says(self) -> "LanguageModelSettings":
        if self.samples == "sequence" and not self.loss_on_prompt:
            raise ValueError("samples: sequence trains on every position: set loss_on_prompt: true, or last_item")
        return self


class TargetSettings(Section):
    model: ModelSettings = ModelSettings()
    training: LanguageModelSettings = LanguageModelSettings()


class TrajectorySettings(Section):
    beam_width: Count = 20
    """The target's sequences recorded a prompt (K)."""
    shards: Count = 2
    """Files, and jobs, that the training prompts are split into."""
    users: Annotated[int, Field(ge=1)] | None = None
    """At most so many training prompts; null takes all."""


class DraftSettings(Section):
    """The draft and the language-model training that all objectives start from."""

    model: ModelSettings = ModelSettings(hidden_size=64, layers=2, intermediate_size=128)
    training: LanguageModelSettings = LanguageModelSettings()


class ObjectiveSettings(Section):
    alpha: Fraction = 0.7
    """loss = alpha * alignment + (1 - alpha) * cross-entropy; ignored by sft."""
    temperature: Temperature = 1.0
    """Divides the logits inside atspeed_s and atspeed_r."""
    softmax_of: Literal["logits", "probabilities"] = "logits"
    """`probabilities` is the authors' form of atspeed_s: softmax(probabilities / temperature)."""
    density: Literal["draft", "target", "off"] = "draft"
    """atspeed_s, the term p~_K H(q~): p~_K as the target's share of the draft's K-th child, or as the target's own K-th
    largest probability, or no such term."""


class AlignmentSettings(Section):
    objectives: dict[Objective, ObjectiveSettings] = {
        name: ObjectiveSettings() for name in ("sft", "seqkd", "wordkd", "tvdkd", "atspeed_s", "atspeed_r")
    }
    """Which drafts to align, each with its own settings."""
    training: TrainingSettings = TrainingSettings(epochs=5, batch_size=32, micro_batch_size=32)


class DecodingSettings(Section):
    constraint: Literal["trie", "position"] = "trie"
    """`trie`: only real items; `position`: any token seen at that position (for comparison)."""
    normalise: Literal["children", "vocabulary"] = "children"
    """Softmax over the tokens that the constraint allows, or over the full vocabulary before the constraint."""
    draft_length: Count = 3
    """Levels drafted a round (gamma)."""
    temperature: Temperature = 1.0
    """Of the sampling in relaxed verification."""


class MeasurementSettings(Section):
    beam_widths: Annotated[list[Count], Field(min_length=1)] = [1, 3, 5, 10, 20]
    """K: target beams, and recommended items."""
    draft_beam_widths: Annotated[list[Count], Field(min_length=1)] = [40]
    """N: drafted sequences a level."""
    verifications: Annotated[list[Verification], Field(min_length=1)] = ["strict", "relaxed"]
    users: Count | None = None
    """Test users for acceptance and recall of the drafts; null takes all."""
    timing_users: Count = 20
    """Test users whose lists are timed, interleaved over all methods."""
    repeats: Count = 3
    """Timed repeats a list; the median counts."""


class ThreadSettings(Section):
    """CPU threads (and Snakemake's cores) a job takes."""

    target: Count = 2
    trajectories: Count = 1
    draft: Count = 1
    evaluation: Count = 1
    timing: Count = 2


class Settings(Section):
    """Everything a run depends on."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "default"
    """Name of the run: results go to results/<run>/."""
    seed: Annotated[int, Field(ge=0)] = 1
    device: Literal["auto", "cpu", "cuda"] = "auto"
    datasets: Annotated[list[DatasetName], Field(min_length=1)] = ["synthetic"]
    """Data sets that `snakemake` without a target computes; each also has a target of its own name."""
    source: SourceSettings = SourceSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    prompt: PromptSettings = PromptSettings()
    target: TargetSettings = TargetSettings()
    trajectories: TrajectorySettings = TrajectorySettings()
    draft: DraftSettings = DraftSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    decoding: DecodingSettings = DecodingSettings()
    measurement: MeasurementSettings = MeasurementSettings()
    threads: ThreadSettings = ThreadSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.prompt.style == "natural":
            for name, model, training in (
                ("target", self.target.model, self.target.training),
                ("draft", self.draft.model, self.draft.training),
            ):
                if not model.base:
                    raise ValueError(
                        f"prompt.style natural needs a text tokenizer: set {name}.model.base, or use compact"
                    )
                if training.samples == "sequence":
                    raise ValueError(
                        f"prompt.style natural has one item a sample: set {name}.training.samples: last_item"
                    )
        return self


def parse(values: dict[str, Any], *, source: str = "config") -> Settings:
    """Validate a plain dict (parsed YAML or JSON) into Settings.

    Raises SpecbeamError with one line a problem: the key, the value that came, and what is allowed.
    """
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        problems = "\n".join(f"  {describe(problem)}" for problem in error.errors())
        raise SpecbeamError(f"{source}: {error.error_count()} bad setting(s)\n{problems}") from None


def load(path: Path) -> Settings:
    """Read and validate a YAML config file; raises SpecbeamError naming the file."""
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: no such config file; the ready-made ones are in config/") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SpecbeamError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise SpecbeamError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return parse(values, source=str(path))


def describe(problem: dict[str, Any]) -> str:
    """One line for the user on one of pydantic's errors: the key, what is wrong, what came."""
    key = ".".join(str(part) for part in problem["loc"]) or "(whole config)"
    if problem["type"] == "extra_forbidden":
        allowed = ", ".join(_keys_at(problem["loc"][:-1]))
        return f"{key}: unknown key; allowed here: {allowed}"
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], dict | BaseModel) else f", got {problem['input']!r}"
    return f"{key}: {message}{shown}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    """Names of the settings under `location`, for the message about an unknown key."""
    section: type[BaseModel] = Settings
    for part in location:
        if part not in section.model_fields:
            return list(ObjectiveSettings.model_fields)  # below alignment.objectives.<name>
        annotation = section.model_fields[part].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is None:
            return list(ObjectiveSettings.model_fields)
        section = inner
    return list(section.model_fields)
