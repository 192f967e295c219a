"""Items and their identifiers as token ids: what a model can recommend.

An identifier is a sequence of tokens; they need not be equally long. Items that share one COLLIDE, and all of them are
kept: the identifier stands for each of its items. Nothing here needs a model, or torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Integral
from typing import Any

import pandas as pd

from specbeam import item_tables
from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError

DIGITS = 19
"""Of the largest token id; Python refuses to read numbers of thousands of them."""


@dataclass(frozen=True)
class Items:
    """A catalogue. Make it with `of`, `of_table` or `of_catalogue`, which validate."""

    identifiers: list[tuple[int, ...]]
    """The distinct identifiers, in the order in which they first came; a ROW is a position here."""
    bearers: list[tuple[Any, ...]]
    """The ids of the items that bear each of `identifiers`, in the order in which they came."""

    @classmethod
    def of(cls, identifiers: Mapping[Any, Sequence[int]] | Sequence[Sequence[int]]) -> "Items":
        """From {item id: token ids}, or from one sequence of token ids an item, whose id is then its position.

        Arrays and tensors [items, L] are taken too. Item ids are whatever can be a key. Raises SpecbeamError, naming
        the item, for what is no sequence of token ids, and if there is no item.
        """
        named = identifiers.items() if isinstance(identifiers, Mapping) else enumerate(plain(identifiers))
        return cls._collected(((f"item {_short(item)}", item, tokens) for item, tokens in named), "items")

    @classmethod
    def of_table(cls, table: Any, *, item: str = "item", tokens: str | Sequence[str] = "tokens") -> "Items":
        """From a table with one row an item: a DataFrame, or the path of a .csv, .parquet or .jsonl file.

        `item` is the column of item ids. `tokens` is the column of identifiers, lists of token ids or text like
        "12 55 7"; or it lists several columns of one token each, the last of which may be empty where an identifier is
        shorter. In a csv file ids are numbers if all of them are whole numbers, without leading zeros, else text as
        it stands. Raises SpecbeamError, naming file and line (or row, from 1), for anything else, and for an item that
        occurs twice.
        """
        if not tokens:
            raise SpecbeamError("tokens: expected the name of a column, or of several, got none")
        source, rows = item_tables.read(table, [item, *([tokens] if isinstance(tokens, str) else tokens)])
        named = (
            (where, _id(key, where), _of_cell(cells[0]) if isinstance(tokens, str) else _of_cells(cells, where))
            for where, (key, *cells) in rows
        )
        return cls._collected(named, source)

    @classmethod
    def of_catalogue(cls, catalogue: Catalogue, tokenizer: Any) -> "Items":
        """From this project's catalogue of token strings, by the numbers that a transformers tokenizer gives them.

        Raises SpecbeamError for a tokenizer that lacks one of the tokens.
        """
        numbers = tokenizer.get_vocab()
        if missing := [token for token in catalogue.tokens if token not in numbers]:
            raise SpecbeamError(
                f"expected a tokenizer that knows all item tokens, it lacks {len(missing)}, {missing[0]} among them"
            )
        return cls.of({item: [numbers[token] for token in tokens] for item, tokens in catalogue.identifiers.items()})

    def renamed(self, names: Mapping[Any, Any] | Sequence[Any]) -> "Items":
        """The same items, each called `names[item]`."""
        return Items(self.identifiers, [tuple(names[item] for item in items) for items in self.bearers])

    @classmethod
    def _collected(cls, named: Iterable[tuple[str, Any, Any]], source: str) -> "Items":
        """From (where it stands, item id, tokens) of each item."""
        bearers: dict[tuple[int, ...], list[Any]] = {}
        seen = set()
        for where, item, tokens in named:
            if item in seen:
                raise SpecbeamError(f"{where}: item {_short(item)} has an identifier already; keep one of them")
            seen.add(item)
            bearers.setdefault(_checked(tokens, where), []).append(item)
        if not bearers:
            raise SpecbeamError(f"{source}: expected at least one item with an identifier, got none")
        return cls(list(bearers), [tuple(items) for items in bearers.values()])

    def __len__(self) -> int:
        """Number of items."""
        return len(self._row_of)

    @property
    def collide(self) -> bool:
        """Whether any items share an identifier."""
        return len(self) > len(self.identifiers)

    def __contains__(self, item: Any) -> bool:
        """Whether `item` has an identifier."""
        return item in self._row_of

    def tokens_of(self, item: Any) -> tuple[int, ...]:
        """The identifier of `item`; raises SpecbeamError for an item that there is not."""
        return self.identifiers[self.row_of(item)]

    def row_of(self, item: Any) -> int:
        """The row of its identifier; raises SpecbeamError for an item that there is not."""
        try:
            return self._row_of[item]
        except KeyError:
            raise SpecbeamError(
                f"item {_short(item)}: expected an item of the catalogue, it has no identifier"
            ) from None

    @cached_property
    def _row_of(self) -> dict[Any, int]:
        return {item: row for row, items in enumerate(self.bearers) for item in items}


def plain(values: Any) -> Any:
    """Lists of Python's own numbers, from arrays and tensors too."""
    return values.tolist() if hasattr(values, "tolist") else values


def _checked(tokens: Any, where: str) -> tuple[int, ...]:
    tokens = plain(tokens)
    if isinstance(tokens, list | tuple) and tokens and all(map(_is_token, tokens)):
        return tuple(map(int, tokens))
    raise SpecbeamError(f"{where}: expected an identifier of token ids, such as [12, 55, 7], got {_short(tokens)}")


def _is_token(value: Any) -> bool:
    whole = type(value) is int or (isinstance(value, Integral) and not isinstance(value, bool))
    return whole and 0 <= value < 2**63


def _id(key: Any, where: str) -> Any:
    if _empty(key) or not pd.api.types.is_scalar(key):
        raise SpecbeamError(f"{where}: expected an item id, found {'none' if _empty(key) else _short(key)}")
    return key


def _empty(cell: Any) -> bool:
    return not cell if isinstance(cell, str) else pd.api.types.is_scalar(cell) and pd.isna(cell)


def _number(cell: Any) -> Any:
    """The token id that a cell holds as text, or as a float (what empty cells make of a column of numbers)."""
    written = isinstance(cell, str) and cell.isdecimal() and len(cell) <= DIGITS
    return int(cell) if written or (isinstance(cell, float) and cell.is_integer()) else cell


def _of_cell(cell: Any) -> Any:
    """The identifier that one cell holds, as a list or as text."""
    return [_number(word) for word in cell.split()] if isinstance(cell, str) else cell


def _of_cells(cells: Sequence[Any], where: str) -> list[Any]:
    """The identifier that several cells hold, one token each."""
    present = [not _empty(cell) for cell in cells]
    if not all(present[: sum(present)]):
        raise SpecbeamError(f"{where}: expected empty cells behind the identifier only, got {_short(cells)}")
    return [_number(cell) for cell in cells[: sum(present)]]


def _short(value: Any) -> str:
    try:
        return repr(value)[:200]
    except ValueError:  # a number of thousands of digits
        return f"something of the type {type(value).__name__} that is too long to show"
