"""A finished run with records, tables, two figures and provenance, but no models, for tests of what shows one."""

from pathlib import Path
from typing import Any

import yaml

import generated_records as generated
from specbeam import files
from specbeam.figures import accepted, speedup, summary
from specbeam.settings import Settings

OBJECTIVES = ("sft", "atspeed_s")
CAPTION = "Levels that verification accepts, <b> & all."
JOBS = {
    "target/model": {"stage": "train_target", "options": {"prepared": "p", "model": "m"}},
    "drafts/sft/seed-1/model": {"stage": "align", "options": {"objective": "sft", "seed": 1}},
    "measurement/evaluation/sft/seed-1": {"stage": "evaluate", "options": {"objective": "sft", "draft_seed": 1}},
    "figures/accepted": {"stage": "accepted", "options": {"figure": "accepted"}},
}


def make_shown_run(folder: Path, *, datasets: tuple[str, ...] = ("synthetic",), **known: Any) -> Path:
    """Fill `folder`, a run of `datasets`. `known` replaces what provenance says of every job."""
    for dataset in datasets:
        place = generated.write_run(folder / dataset, objectives=OBJECTIVES, beam_widths=(5, 20), seeds=(1, 2))
        evaluation = sorted(place.glob("measurement/evaluation/*/*.parquet"))
        timing = sorted(place.glob("measurement/timing/*.parquet"))
        rankings = [place / name / "ranking.csv" for name in ("target", "baselines")]
        summary.summarise(inputs=[*evaluation, *timing, *rankings], output=place / "summary.csv", run="shown")
        accepted.plot(inputs=evaluation, output=place / "figures" / "accepted")
        speedup.plot(inputs=timing, output=place / "figures" / "speedup")
        (place / "figures" / "accepted.txt").write_text(CAPTION)
        for number, (path, job) in enumerate(JOBS.items()):
            files.write_json(place / f"{path}.provenance.json", _provenance(number, job) | known)
    config = Settings().model_dump(mode="json") | {"run": "shown", "datasets": list(datasets)}
    config["alignment"]["objectives"] = {name: {} for name in OBJECTIVES}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def _provenance(number: int, job: dict[str, Any]) -> dict[str, Any]:
    return generated.PROVENANCE | job | {"start": f"2026-01-02T03:04:{number:02d}+00:00"}
