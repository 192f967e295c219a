"""What each stage of the pipeline depends on: its settings and its code.

Snakemake reruns a job when its params change, and knows nothing of library code. So every rule passes two params: the
settings that its stage declares (`stage_values`) and a digest of the modules that it uses (specbeam.digest). What a
stage does not declare it cannot read either: `StageSettings` refuses it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from specbeam.errors import SpecbeamError
from specbeam.files import parse_json
from specbeam.settings import DraftModelSettings, IdentifierSettings, Section, Settings, load, told


@dataclass(frozen=True)
class Stage:
    """One kind of job: the module whose code it runs, and the settings (dotted paths) it reads."""

    module: str
    reads: tuple[str, ...] = ()


FIGURES = (
    "speedup", "pareto", "accepted", "levels", "calls", "trees", "recall", "phases", "agreement", "loss", "trie",
    "example",
)  # fmt: skip
"""Figures of a run; each is drawn by the module of its name in specbeam.figures."""

VARIED = ("train_draft", "align", "evaluate")
"""Stages that variants of a run (ablations) may repeat, in order."""

_RECORD = (
    "device",
    "prompt",
    "decoding.normalise",
    "target.model.dtype",
    "trajectories.beam_width",
    "trajectories.logits",
)
_IDENTIFIERS = "own_data.{dataset}.identifiers"
_COMPARE = ("seed", "device", "prompt", "decoding", "target.model.dtype", "draft.model.dtype")

STAGES: dict[str, Stage] = {
    # What a download yields is fixed by its checksums, so the registry counts and the code that fetches does not.
    "download": Stage("specbeam.data.registry"),
    "generate": Stage("specbeam.data.synthetic", ("seed", "synthetic")),
    "read_interactions": Stage(
        "specbeam.interactions.read",
        tuple(f"own_data.{{dataset}}.{part}" for part in ("interactions", "items", "filters", "split")),
    ),
    "embed_items": Stage("specbeam.identifiers.embeddings", ("device", f"{_IDENTIFIERS}.embeddings")),
    "identify_items": Stage(
        "specbeam.identifiers.identify",
        tuple(f"{_IDENTIFIERS}.{name}" for name in IdentifierSettings.model_fields if name != "embeddings"),
    ),
    "prepare": Stage("specbeam.data.prepare", ("target.model.base", "target.model.revision")),
    # Of the target, training reads model.dtype for LoRA alone; it is declared for all, rather than by condition.
    "train_target": Stage("specbeam.target.train", ("seed", "device", "prompt", "target")),
    "infer_target": Stage(
        "specbeam.target.infer",
        (
            "seed",
            "device",
            "prompt",
            "decoding.constraint",
            "decoding.normalise",
            "target.model.dtype",
            "measurement.beam_widths",
        ),
    ),
    "rate_baselines": Stage("specbeam.baselines.rate", ("seed", "device", "measurement.beam_widths", "baselines")),
    "record": Stage("specbeam.trajectories.record", ("seed", *_RECORD, "trajectories.users")),
    "record_validation": Stage("specbeam.trajectories.record", _RECORD),
    "train_draft": Stage(
        "specbeam.target.draft",
        (
            "device",
            "prompt",
            "target.model.dtype",
            "draft.training",
            *(f"draft.model.{name}" for name in DraftModelSettings.model_fields if name != "dtype"),
        ),
    ),
    "align": Stage(
        "specbeam.alignment.train",
        ("device", "prompt", "decoding.normalise", "alignment.training", "alignment.objectives.{objective}"),
    ),
    "evaluate": Stage(
        "specbeam.measurement.evaluate",
        (
            *_COMPARE,
            "measurement.beam_widths",
            "measurement.draft_beam_widths",
            "measurement.plans",
            "measurement.verifications",
            "measurement.users",
            "measurement.tree_nodes",
            "measurement.tree_users",
        ),
    ),
    "time": Stage(
        "specbeam.measurement.timing",
        (
            *_COMPARE,
            "measurement.draft_beam_widths",
            "measurement.verifications",
            "measurement.timing_users",
            "measurement.repeats",
            "threads.timing",
        ),
    ),
    "record_search": Stage(
        "specbeam.measurement.explained",
        (
            "seed",
            "device",
            "prompt",
            "decoding.constraint",
            "decoding.normalise",
            "decoding.draft_length",
            "target.model.dtype",
            "draft.model.dtype",
            "measurement.beam_widths",
            "measurement.draft_beam_widths",
        ),
    ),
    **{name: Stage(f"specbeam.figures.{name}") for name in FIGURES},
    "ablations": Stage("specbeam.figures.ablations"),
    "coding": Stage("specbeam.figures.coding"),
    "summarise": Stage("specbeam.figures.summary"),
    "page": Stage("specbeam.page.write"),
}
"""Every stage by name. `{objective}` stands for the one objective that a job aligns, `{dataset}` for its data set."""


def stage_values(
    settings: Settings, stage: str, *, objective: str | None = None, dataset: str | None = None
) -> dict[str, Any]:
    """Pick the settings that `stage` declares, as a plain nested dict with defaults filled in.

    `objective` names the one whose own settings an alignment job reads, SpecbeamError if the run does not align it;
    `dataset` the data set whose own settings (own_data) its reading reads.
    """
    if objective is not None and objective not in settings.alignment.objectives:
        aligned = ", ".join(settings.alignment.objectives)
        raise SpecbeamError(
            f"objective {objective!r} is not part of this run, which aligns {aligned}; "
            "add it to alignment.objectives in the config"
        )
    values: dict[str, Any] = {}
    for path in _reads(stage, objective=objective, dataset=dataset):
        *parents, last = path.split(".")
        source, into = settings.plain, values
        for part in parents:
            source, into = source[part] or {}, into.setdefault(part, {})  # a section may be null
        if last in source:  # sizes are left out where a base brings its own
            into[last] = source[last]
    return values


def differs(run: Settings, variant: Settings, stage: str, objective: str) -> bool:
    """Whether `variant` needs a job of its own for `stage`, since that or a stage before it reads other settings.

    `stage` is one of VARIED; else the variant takes what its run has made.
    """
    needed = VARIED[: VARIED.index(stage) + 1]
    return any(
        stage_values(run, name, objective=objective) != stage_values(variant, name, objective=objective)
        for name in needed
    )


class StageSettings:
    """The settings one stage may read; attribute access as on Settings, limited to what the stage declares.

    `values` is a nested dict as `stage_values` returns it, or a whole config; `stage` one of STAGES. Raises
    SpecbeamError for unknown or bad values. Reading an undeclared setting raises RuntimeError: declare it in STAGES, so
    that a change of it reruns the stage.
    """

    def __init__(
        self, stage: str, values: Mapping[str, Any], *, objective: str | None = None, dataset: str | None = None
    ) -> None:
        self._view = _View(stage, _reads(stage, objective=objective, dataset=dataset), "", _sections(values))

    @classmethod
    def read(cls, stage: str, text: str, **of: str | None) -> "StageSettings":
        """Read JSON if `text` starts with a brace, else the config file of that name, which is validated whole.

        `of` are the objective and the data set, as for StageSettings.
        """
        if not text.lstrip().startswith("{"):
            return cls(stage, load(Path(text)).model_dump(mode="json"), **of)
        return cls(stage, parse_json(text, source="settings"), **of)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._view, name)


class _View:
    """A settings section of which only the declared paths can be read."""

    def __init__(self, stage: str, reads: tuple[str, ...], prefix: str, section: Any) -> None:
        self._stage, self._reads, self._prefix, self._section = stage, reads, prefix, section

    def __getattr__(self, name: str) -> Any:
        if name not in type(self._section).model_fields:
            raise AttributeError(f"no setting {self._prefix}{name}")
        path = self._prefix + name
        if any(path == read or path.startswith(f"{read}.") for read in self._reads):
            return getattr(self._section, name)
        deeper = [read.removeprefix(f"{path}.") for read in self._reads if read.startswith(f"{path}.")]
        if not deeper:
            raise RuntimeError(
                f"stage {self._stage!r} reads the setting {path}, which specbeam.stages.STAGES does not declare for "
                f"it; declared: {', '.join(self._reads) or 'none'}. Declare it there, so that a change reruns the stage"
            )
        inner = getattr(self._section, name)
        if inner is None:
            return None
        if isinstance(inner, dict):
            names = dict.fromkeys(read.partition(".")[0] for read in deeper)
            return {
                key: inner[key] if key in deeper else _View(self._stage, self._reads, f"{path}.{key}.", inner[key])
                for key in names
                if key in inner
            }
        return _View(self._stage, self._reads, f"{path}.", inner)

    def model_dump(self, *, mode: str = "python") -> dict[str, Any]:
        """Like pydantic's: the readable settings as a nested dict."""
        dumped = {}
        for name in type(self._section).model_fields:
            try:
                value = getattr(self, name)
            except RuntimeError:  # not declared: the dump shows what can be read
                continue
            dumped[name] = _dump(value, mode)
        return dumped


def _dump(value: Any, mode: str) -> Any:
    if isinstance(value, BaseModel | _View):
        return value.model_dump(mode=mode)
    if isinstance(value, dict):
        return {key: _dump(inner, mode) for key, inner in value.items()}
    return value


def _reads(stage: str, **of: str | None) -> tuple[str, ...]:
    """Paths that `stage` declares, with placeholders filled in from `of`, or dropped where it has none."""
    if stage not in STAGES:
        raise SpecbeamError(f"unknown stage {stage!r}; there are {', '.join(STAGES)}")
    given = {name: value for name, value in of.items() if value is not None}
    missing = [f"{{{name}}}" for name in of if name not in given]
    return tuple(path.format(**given) for path in STAGES[stage].reads if not any(name in path for name in missing))


_Sections = create_model(
    "_Sections",
    __base__=Section,
    **{name: (field.annotation, field) for name, field in Settings.model_fields.items()},
)
"""Settings without the checks across sections, since a stage's values hold only some of them."""


def _sections(values: Mapping[str, Any]) -> Section:
    try:
        return _Sections.model_validate(values)
    except ValidationError as error:
        raise SpecbeamError(f"settings of a stage: {told(error)}") from None
