"""What of a data set decides how much there is to compute."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter

from specbeam.data.prepared import STATISTICS
from specbeam.errors import SpecbeamError
from specbeam.figures.tables import read_csv
from specbeam.settings import Settings

TEMPLATE, BETWEEN = 80, 2
"""Tokens of the paper's instruction, and between two of its items, for Llama's tokenizer: Beauty's prompts then have
118 tokens, where 120 to 133 were seen with the authors' code."""


@dataclass(frozen=True)
class Facts:
    """Counts of a prepared data set."""

    users: int
    train: int
    """Training prompts: users with two training items or more."""
    valid: int
    test: int
    items: int
    """Distinct identifiers."""
    interactions: int
    """In training."""
    alphabets: tuple[int, ...]
    """Distinct tokens at each position of an identifier."""
    prefixes: tuple[int, ...]
    """Distinct prefixes of length 1, 2, ..."""

    @classmethod
    def of(cls, prepared: Path) -> "Facts":
        """Those of a folder that `specbeam prepare` wrote; SpecbeamError if it holds no statistics."""
        path = Path(prepared) / STATISTICS
        if not path.is_file():
            raise SpecbeamError(f"{path}: expected the statistics of a prepared data set; run snakemake prepare")
        table = read_csv(path, ("statistic", "value"), missing="expected statistics")
        try:
            return cls._of(table.set_index("statistic")["value"].astype(float))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise SpecbeamError(f"{path}: damaged ({error!r:.200}); delete the folder and prepare again") from error

    @classmethod
    def _of(cls, values: pd.Series) -> "Facts":
        levels = range(1, sum(name.startswith("distinct_tokens_") for name in values.index) + 1)
        return cls(
            users=int(values["users"]),
            train=int(values["users"] - values["users_with_one_training_interaction"]),
            valid=int(values["users_with_valid_target"]),
            test=int(values["users_with_test_target"]),
            items=int(values["distinct_identifiers"]),
            interactions=int(values["interactions_train"]),
            alphabets=tuple(int(values[f"distinct_tokens_{level}"]) for level in levels),
            prefixes=tuple(int(values[f"distinct_prefixes_{level}"]) for level in levels),
        )

    @classmethod
    def load(cls, values: dict[str, Any]) -> "Facts":
        """From what `asdict` gives, by way of JSON; pydantic's ValidationError for anything else."""
        return TypeAdapter(cls).validate_python(values)

    def dump(self) -> dict[str, Any]:
        """As JSON knows it."""
        return asdict(self)

    @property
    def length(self) -> int:
        """L: tokens of an identifier."""
        return len(self.alphabets)

    @property
    def tokens(self) -> int:
        """Item tokens in the vocabulary."""
        return sum(self.alphabets)

    def children(self) -> list[float]:
        """Mean continuations of a prefix of length 0, 1, ..., L - 1."""
        return [after / before for before, after in zip((1, *self.prefixes), self.prefixes, strict=False)]

    def times(self, *, users: float = 1, items: float = 1) -> "Facts":
        """That many times the users and the items, from the same code book.

        Users keep their number of items. A prefix gets `items` times the continuations, until every code of the largest
        alphabet follows it.
        """
        codes, identifiers, prefixes, before = max(self.alphabets), self.items * items, [], 1.0
        for children in self.children():
            before = min(before * min(children * items, codes), identifiers)
            prefixes.append(round(before))
        counted = ("users", "train", "valid", "test", "interactions")
        return replace(
            self,
            **{name: round(getattr(self, name) * users) for name in counted},
            items=prefixes[-1],
            prefixes=tuple(prefixes),
            alphabets=tuple(min(codes, round(alphabet * items)) for alphabet in self.alphabets),
        )

    def prompt(self, settings: Settings) -> float:
        """Tokens of a mean prompt."""
        items = min(settings.prompt.history, self.interactions / self.users)
        if settings.prompt.style == "natural":
            return TEMPLATE + items * (self.length + BETWEEN)
        return 1 + items * self.length
