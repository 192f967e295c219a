"""How large a config's models are, from its settings alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from specbeam import files
from specbeam.errors import SpecbeamError
from specbeam.settings import DraftModelSettings, ModelSettings

SPECIAL = 4
"""Tokens of a new tokenizer that name no item: start, end, padding, unknown."""
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 1, "int4": 0.5}


@dataclass(frozen=True)
class Network:
    """A Llama by its sizes; key and value have as many heads as the query."""

    hidden: int
    layers: int
    intermediate: int
    vocabulary: int

    @property
    def read(self) -> int:
        """Weights that a token passes through: all but the embedding, which is a look-up. 2 FLOPs each."""
        return self.layers * (4 * self.hidden**2 + 3 * self.hidden * self.intermediate) + self.hidden * self.vocabulary

    @property
    def weights(self) -> int:
        """All weights but the norms, which are few."""
        return self.read + self.hidden * self.vocabulary


PUBLISHED = {
    "huggyllama/llama-7b": Network(4096, 32, 11008, 32000),
    "JackFram/llama-68m": Network(768, 2, 3072, 32000),
}
"""Hub models of the ready-made configs, from their config.json."""


def network(settings: ModelSettings, *, tokens: int, target: Network | None = None) -> Network:
    """The model that `settings` describe, with `tokens` item tokens; `target` is what a draft may be cut from.

    Raises SpecbeamError for a hub model that is not one of PUBLISHED and for a folder without config.json.
    """
    if isinstance(settings, DraftModelSettings) and settings.from_target and target:
        return Network(target.hidden, len(settings.from_target), target.intermediate, target.vocabulary)
    if settings.base is None:
        return Network(settings.hidden_size, settings.layers, settings.intermediate_size, tokens + SPECIAL)
    base = PUBLISHED.get(settings.base) or _of_folder(Path(settings.base))
    return Network(base.hidden, base.layers, base.intermediate, base.vocabulary + tokens)


def _of_folder(folder: Path) -> Network:
    if not folder.is_dir():
        raise SpecbeamError(
            f"{folder}: expected a folder, or one of {', '.join(PUBLISHED)}: how large others of the hub are is not "
            "known here; download it, and set base to its folder"
        )
    config: dict[str, Any] = files.read_json(folder / "config.json")
    names = ("hidden_size", "num_hidden_layers", "intermediate_size", "vocab_size")
    config = config if isinstance(config, dict) else {}
    if missing := [name for name in names if not isinstance(config.get(name), int) or config[name] < 1]:
        raise SpecbeamError(f"{folder / 'config.json'}: expected the sizes of a Llama, without {', '.join(missing)}")
    return Network(*(config[name] for name in names))
