"""A data set's folder of a finished run, such as results/default/synthetic: what lies where, and its settings."""

from dataclasses import dataclass
from pathlib import Path

from specbeam import settings
from specbeam.data import ITEMS
from specbeam.data.item_keys import ItemKeys
from specbeam.errors import SpecbeamError
from specbeam.files import read_yaml
from specbeam.provenance_file import how_made

DEFAULT_OBJECTIVE = "atspeed_s"
"""The draft that is taken when none is asked for, if the run has it."""
NO_DRAFT = "none"


@dataclass(frozen=True)
class FinishedRun:
    """The parts of a finished run that a search needs. Make it with `of`."""

    folder: Path
    settings: settings.Settings
    """Those of seed, device, prompt, decoding, the two models and the drafts' seeds; all others are the defaults."""

    @classmethod
    def of(cls, folder: Path | str) -> "FinishedRun":
        """Raises SpecbeamError, naming what is missing, for a folder that holds no finished run.

        Also where its target was trained on data of another preparation, as their provenance says: a run that is being
        made again, or was interrupted there, has a target of other items than its catalogue names.
        """
        folder = Path(folder)
        config = folder.resolve().parent / "config.yaml"
        for part in (folder / "prepared", folder / "target" / "model", config):
            if not part.exists():
                raise SpecbeamError(
                    f"{folder}: expected a data set's folder of a finished run, such as results/default/synthetic; "
                    f"{part} is missing"
                )
        prepared = how_made(folder / "prepared").get("start")
        read = how_made(folder / "target" / "model").get("prepared")
        if prepared and read and prepared != read:  # rather than which is later: clocks are set back
            raise SpecbeamError(
                f"{folder}: expected a finished run, its target was trained on data prepared at {read}, which were "
                f"prepared again at {prepared}: it is being made again, or was interrupted; call snakemake on its "
                "config once more"
            )
        values = read_yaml(config)
        # the other sections may be of an older version, and nothing here depends on them
        try:
            parts = {name: values[name] for name in ("seed", "device", "prompt", "decoding")}
            parts |= {"target": {"model": values["target"]["model"]}}
            parts |= {"draft": {name: values["draft"][name] for name in ("model", "seeds") if name in values["draft"]}}
        except (KeyError, TypeError) as error:
            raise SpecbeamError(
                f"{config}: expected the resolved settings of a run, as Snakemake writes them; there is something "
                f"wrong at {error}; run the config again, or take the file from a copy"
            ) from error
        return cls(folder, settings.parse(parts, source=str(config)))

    @property
    def prepared(self) -> Path:
        """The prepared data set."""
        return self.folder / "prepared"

    def item_keys(self) -> ItemKeys | None:
        """What the user's own files call the items; None for data that have no keys."""
        return ItemKeys.read(self.prepared / ITEMS)

    @property
    def target(self) -> Path:
        """The target model."""
        return self.folder / "target" / "model"

    @property
    def drafts(self) -> dict[str, Path]:
        """The aligned draft models of the first of the run's seeds, by objective."""
        places = sorted(self.folder.glob(f"drafts/*/seed-{self.settings.draft.seeds[0]}/model"))
        return {place.parents[1].name: place for place in places if place.parents[1].name != "base"}

    def draft(self, objective: str | None) -> Path | None:
        """The draft of `objective`; for None that of atspeed_s, or the first there is; None for "none".

        Raises SpecbeamError for an objective that the run has no draft of.
        """
        there = self.drafts
        if objective is None:
            objective = DEFAULT_OBJECTIVE if DEFAULT_OBJECTIVE in there else next(iter(there), NO_DRAFT)
        if objective == NO_DRAFT:
            return None
        if objective not in there:
            raise SpecbeamError(
                f"{self.folder}: no draft {objective!r}; expected one of {', '.join(there) or 'none trained yet'}, "
                f"or {NO_DRAFT} for plain beam search"
            )
        return there[objective]
