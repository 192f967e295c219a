"""What `specbeam` tells about configs, stages and finished runs, as text."""

import json
from collections.abc import Iterator
from pathlib import Path

from specbeam.digest import code_digest
from specbeam.errors import SpecbeamError
from specbeam.files import read_text
from specbeam.settings import DraftModelSettings, ModelSettings, Settings, load
from specbeam.stages import STAGES


def schema() -> str:
    """JSON schema of config files, generated from the typed settings."""
    described = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Settings.model_json_schema()}
    return json.dumps(described, indent=2)


def plan(config: Path) -> Iterator[str]:
    """Lines that say what a config would run. SpecbeamError if it is not valid."""
    run = load(config)
    facts = {
        "run": f"{run.run}, to results/{run.run}/",
        "data sets": ", ".join(run.datasets),
        "target": _model(run.target.model),
        "draft": _model(run.draft.model),
        "objectives": ", ".join(run.alignment.objectives),
        "draft seeds": ", ".join(map(str, run.draft.seeds)),
        "K": ", ".join(map(str, run.measurement.beam_widths)),
        "N": ", ".join(map(str, run.measurement.draft_beam_widths)),
        "verification": ", ".join(run.measurement.verifications),
        "ablations": ", ".join(run.ablations) or "none",
        "to run it": f"snakemake --cores all --configfile {config}",
    }
    yield from (f"{name:<13} {text}" for name, text in facts.items())


def result(config: Path) -> Iterator[str]:
    """Table of a finished run, a data set at a time, and where its figures are. SpecbeamError if it is not finished."""
    run = load(config)
    for dataset in run.datasets:
        folder = Path("results") / run.run / dataset
        table = folder / "summary.txt"
        if not table.is_file():
            raise SpecbeamError(
                f"{table}: expected the table of a finished run here; run snakemake --cores all --configfile {config}"
            )
        yield read_text(table, expected="a table").rstrip()
        yield f"\nFigures: {folder / 'figures'}/  (png, svg, the data as csv, and a caption)"
    page = Path("results") / run.run / "index.html"
    if page.is_file():  # not where single data sets were asked for
        yield f"All of it on one page: {page}"


def digests() -> Iterator[str]:
    """A line a stage: its code digest and the settings it reads."""
    for name, stage in STAGES.items():
        yield f"{name:<18} {code_digest(stage.module)}  {', '.join(stage.reads)}".rstrip()


def _model(model: ModelSettings) -> str:
    if model.base:
        return f"{model.base}{' with LoRA' if model.lora else ''}"
    if isinstance(model, DraftModelSettings) and model.from_target:
        return f"layers {', '.join(map(str, model.from_target))} of the target"
    return f"a new Llama, {model.layers} layers of {model.hidden_size}"
