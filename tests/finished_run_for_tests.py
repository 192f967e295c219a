"""A finished run whose models were never trained, for tests of what reads one."""

import shutil
from pathlib import Path

import yaml

from specbeam import models
from specbeam.data import prepared
from specbeam.settings import DraftModelSettings, ModelSettings, Settings


def make_run(folder: Path, prepared_data: Path) -> None:
    """Fill the data set's `folder` (results/<run>/<data set>) around `prepared_data`: a target and two drafts."""
    shutil.copytree(prepared_data, folder / "prepared")
    tokenizer = prepared.load(folder / "prepared").tokenizer
    sizes = {"hidden_size": 32, "layers": 1, "heads": 2, "intermediate_size": 64}
    models.save(models.create(ModelSettings(**sizes), tokenizer, seed=1), folder / "target" / "model")
    for seed, name in enumerate(("base", "sft", "atspeed_s"), start=2):
        draft = models.create(DraftModelSettings(**sizes), tokenizer, seed=seed)
        models.save(draft, folder / "drafts" / name / "seed-1" / "model")
    config = Settings().model_dump(mode="json") | {"run": "mine", "device": "cpu", "of an older version": 1}
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(config))
