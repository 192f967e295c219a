"""Typed settings: one class a stage, unknown keys refused, every range checked.

A config file is one complete run; what it leaves out takes the default written here. This module imports neither torch
nor transformers, so that the Snakefile and `specbeam --help` stay fast.
"""

from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import AfterValidator, Field, ValidationError, ValidationInfo, field_validator, model_validator

from specbeam.errors import SpecbeamError
from specbeam.files import read_yaml
from specbeam.settings import mistakes
from specbeam.settings.ablations import Ablations, overridden
from specbeam.settings.base import Count, Section, Seed, SomeDistinct
from specbeam.settings.baselines import BaselineSettings, SasrecSettings
from specbeam.settings.data import SourceSettings, SyntheticSettings
from specbeam.settings.identifiers import EmbeddingSettings, IdentifierSettings, RqVaeSettings
from specbeam.settings.interactions import InteractionSettings, ItemSettings, SplitSettings
from specbeam.settings.measurement import DecodingSettings, MeasurementSettings, Verification
from specbeam.settings.models import (
    AlignmentTrainingSettings,
    DraftModelSettings,
    DraftTrainingSettings,
    LanguageModelSettings,
    LoraSettings,
    ModelSettings,
    NeighbourSettings,
    TrainingSettings,
)
from specbeam.settings.objectives import (
    Objective,
    Objectives,
    ObjectiveSettings,
    RelaxedAlignmentSettings,
    SomeObjectives,
    needing_positions,
)
from specbeam.settings.own_data import BUILT_IN, Name, OwnData, OwnDataSettings
from specbeam.settings.resources import ResourceSettings, ThreadSettings

__all__ = [
    "BUILT_IN",
    "DraftModelSettings",
    "EmbeddingSettings",
    "IdentifierSettings",
    "InteractionSettings",
    "ItemSettings",
    "LanguageModelSettings",
    "LoraSettings",
    "ModelSettings",
    "NeighbourSettings",
    "Objective",
    "ObjectiveSettings",
    "OwnDataSettings",
    "RelaxedAlignmentSettings",
    "RqVaeSettings",
    "SasrecSettings",
    "Section",
    "Settings",
    "SplitSettings",
    "SyntheticSettings",
    "TrainingSettings",
    "Verification",
    "load",
    "parse",
    "told",
    "variants",
]


class PromptSettings(Section):
    """How a user's history is put to the models."""

    style: Literal["compact", "natural"] = "compact"
    """`compact`: the history's item tokens alone; `natural`: the paper's instruction around them, for a model that
    knows English."""
    history: Annotated[int, Field(ge=1, le=200)] = 20
    """Most recent items in a prompt."""


class TargetSettings(Section):
    """The target: the large model whose lists are wanted, and its training."""

    model: ModelSettings = ModelSettings()
    training: LanguageModelSettings = LanguageModelSettings()


class TrajectorySettings(Section):
    """What is recorded of the target for the alignment."""

    beam_width: Count = 20
    """The target's sequences recorded a prompt (K)."""
    shards: Count = 2
    """Files, and jobs, that the training prompts are split into."""
    logits: Literal["children", "position"] = "children"
    """Recorded after each prefix: the logits of the tokens that the trie allows there, or of all tokens of that
    position, which objectives with `mask: position` need."""
    users: Annotated[int, Field(ge=1)] | None = None
    """At most so many training prompts; null takes all."""


class DraftSettings(Section):
    """The draft that all objectives start from, and its training."""

    model: DraftModelSettings = DraftModelSettings()
    training: DraftTrainingSettings = DraftTrainingSettings()
    seeds: SomeDistinct[Seed] = [1]
    """Drafts are trained, aligned and evaluated once with each of these; only the first is timed."""


class AlignmentSettings(Section):
    """Which drafts are aligned, and how."""

    objectives: SomeObjectives = {name: settings() for name, settings in get_type_hints(Objectives).items()}
    """Which drafts to align, each with its own settings."""
    training: AlignmentTrainingSettings = AlignmentTrainingSettings()


def _free(name: str) -> str:
    if name == "downloads":
        raise ValueError("results/downloads holds the downloaded data sets of all runs: choose another name")
    return name


class Settings(Section):
    """Everything a run depends on."""

    run: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"), AfterValidator(_free)] = "default"
    """Name of the run: results go to `results/<run>/`."""
    seed: Seed = 1
    """Of the target, its trajectories, sampled users and sampled lists; drafts have their own, `draft.seeds`."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run; `auto`: on the GPU if there is one."""
    own_data: OwnData = {}
    """Data sets of your own: name -> where it comes from."""
    datasets: SomeDistinct[Name] = ["synthetic"]
    """Data sets that `snakemake` without a target computes: synthetic, beauty, games, and those of `own_data`. Each of
    these also has a target of its own name."""
    source: SourceSettings = SourceSettings()
    synthetic: SyntheticSettings = SyntheticSettings()
    prompt: PromptSettings = PromptSettings()
    target: TargetSettings = TargetSettings()
    baselines: BaselineSettings = BaselineSettings()
    trajectories: TrajectorySettings = TrajectorySettings()
    draft: DraftSettings = DraftSettings()
    alignment: AlignmentSettings = AlignmentSettings()
    decoding: DecodingSettings = DecodingSettings()
    measurement: MeasurementSettings = MeasurementSettings()
    threads: ThreadSettings = ThreadSettings()
    resources: ResourceSettings = ResourceSettings()
    ablations: Ablations = {}
    """Variants of this run for `snakemake ablations`: name -> label -> dotted settings -> their values."""

    @field_validator("own_data")
    @classmethod
    def _own_data_have_their_own_names_and_an_origin(cls, own_data: OwnData) -> OwnData:
        for name, own in own_data.items():
            if name in BUILT_IN:
                raise ValueError(f"{name} is the name of a built-in data set: choose another")
            own.check_origin(name)
        return own_data

    @field_validator("datasets")
    @classmethod
    def _data_sets_are_known(cls, datasets: list[str], info: ValidationInfo) -> list[str]:
        there = [*BUILT_IN, *info.data.get("own_data", datasets)]  # bad ones are told of by themselves
        if unknown := [name for name in datasets if name not in there]:
            raise ValueError(f"expected names among {', '.join(there)}, or others described in own_data: {unknown[0]}")
        return datasets

    @model_validator(mode="after")
    def _share_a_tokenizer(self) -> "Settings":
        if self.draft.model.base and not self.target.model.base:
            raise ValueError(
                "draft.model.base: the draft shares the target's tokenizer, so set target.model.base to a model of the "
                "same family, or remove draft.model.base"
            )
        return self

    @model_validator(mode="after")
    def _drafts_are_cut_from_layers_that_exist(self) -> "Settings":
        layers, cut = self.target.model.layers, self.draft.model.from_target
        if cut and not self.target.model.base and max(cut) >= layers:
            raise ValueError(f"draft.model.from_target: {cut} of a target that has layers 0 to {layers - 1}")
        return self

    @model_validator(mode="after")
    def _every_k_has_an_n(self) -> "Settings":
        k, n = max(self.measurement.beam_widths), max(self.measurement.draft_beam_widths)
        if n < k:
            raise ValueError(
                f"measurement: {n}, the largest of draft_beam_widths (N), is below {k} of beam_widths (K), and N below "
                f"K can accept no level: add an N of at least {k}, or remove that K"
            )
        return self

    @model_validator(mode="after")
    def _trees_hold_the_beams(self) -> "Settings":
        k, nodes = max(self.measurement.beam_widths), min(self.measurement.tree_nodes)
        if nodes < k:
            raise ValueError(
                f"measurement.tree_nodes: a tree of {nodes} nodes cannot hold {k} beams, the largest of beam_widths: "
                "allow more nodes"
            )
        return self

    @model_validator(mode="after")
    def _relaxed_has_a_flat_plan(self) -> "Settings":
        measured = self.measurement
        if "flat" not in measured.plans and set(measured.verifications) & {"relaxed", "relaxed-ranked"}:
            raise ValueError(
                "measurement.plans: relaxed verification samples from the draft model, so it needs the plan flat: add "
                "that, or remove relaxed and relaxed-ranked from verifications"
            )
        return self

    @model_validator(mode="after")
    def _masks_are_recorded(self) -> "Settings":
        if self.trajectories.logits == "children" and (names := needing_positions(self.alignment.objectives)):
            raise ValueError(f"alignment.objectives.{names[0]}: mask: position needs trajectories.logits: position")
        return self

    @model_validator(mode="after")
    def _distributions_are_over_children(self) -> "Settings":
        if self.decoding.normalise == "children":
            return self
        only = "a distribution over items, which only decoding.normalise: children gives; set that, or"
        if "coupled" in self.measurement.verifications:
            raise ValueError(f"measurement.verifications: coupled samples from {only} remove coupled")
        if self.target.training.neighbours or self.draft.training.neighbours:
            raise ValueError(f"training.neighbours trains {only} leave neighbours out")
        if self.draft.training.distil:
            raise ValueError(f"draft.training.distil trains {only} leave distil out")
        return self

    @model_validator(mode="after")
    def _natural_prompts_fit(self) -> "Settings":
        if self.prompt.style == "natural":
            for name, model, training in (
                ("target", self.target.model, self.target.training),
                ("draft", self.draft.model, self.draft.training),
            ):
                if not model.base and not (name == "draft" and self.draft.model.from_target):
                    raise ValueError(
                        f"prompt.style natural needs a text tokenizer: set {name}.model.base, or use compact"
                    )
                if training.samples == "sequence":
                    raise ValueError(
                        f"prompt.style natural has one item a sample: set {name}.training.samples: last_item"
                    )
        return self

    @property
    def all_datasets(self) -> list[str]:
        """Names of the data sets that can be computed."""
        return [*BUILT_IN, *self.own_data]


def parse(values: dict[str, Any], *, source: str = "config") -> Settings:
    """Validate a plain dict (parsed YAML or JSON) into Settings.

    Raises SpecbeamError with one line a problem, five at most: the key, the value that came, and what is allowed.
    """
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        raise SpecbeamError(f"{source}: {told(error)}") from None
    variants(settings, source=source)  # all of them are configs too
    return settings


def variants(run: Settings, *, source: str = "config") -> dict[tuple[str, str], Settings]:
    """Settings of each variant, by ablation and label. SpecbeamError that names the variant if they are not valid."""
    values, objectives = run.model_dump(mode="json", exclude_unset=True), list(run.alignment.objectives)
    values.pop("ablations", None)
    found = {}
    for name, labels in run.ablations.items():
        for label, overrides in labels.items():
            where = f"{source}: ablations.{name}.{label}"
            found[name, label] = parse(overridden(values, overrides, objectives, source=where), source=where)
    return found


def load(path: Path) -> Settings:
    """Read and validate a YAML config file; raises SpecbeamError naming the file."""
    if not Path(path).exists():
        raise SpecbeamError(f"{path}: no such config file; the ready-made ones are in config/")
    return parse(read_yaml(path), source=str(path))


def told(error: ValidationError) -> str:
    """How many of pydantic's errors there are, and a line on each of the first: the key, what is wrong, what came."""
    return f"{error.error_count()} bad setting(s){mistakes.listed(error, within=Settings)}"
