"""Items and their identifiers: every item is named by a fixed number of tokens, such as `<a_47><b_103><c_234><d_99>`.

Several items may bear one identifier (they COLLIDE). What a model can name are the distinct identifiers, so models,
lists and metrics speak of ROWS of `Catalogue.distinct`; a recommended row stands for every item that bears it.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from specbeam.errors import SpecbeamError
from specbeam.files import read_json, write_json

TOKEN = re.compile(r"<[^<>\s]+>")
"""What an identifier token looks like: angle brackets around anything but brackets and spaces."""

HALF = re.compile(r"[\ud800-\udfff]")
"""Code points that JSON can hold, and no file or tokenizer."""

SPECIAL_TOKENS = ("<pad>", "<bos>", "<eos>", "<unk>")
"""Names that a tokenizer needs for itself; no identifier may use them."""


@dataclass(frozen=True)
class Catalogue:
    """All items of a data set with their identifiers. Build it with `of` or `load`, which validate."""

    identifiers: dict[int, tuple[str, ...]]
    """Item id (0-based) -> its identifier tokens, ordered by item id."""

    @classmethod
    def of(cls, identifiers: Mapping[Any, Sequence[str]], *, source: str = "identifiers") -> "Catalogue":
        """Validate `identifiers` (item id -> tokens; ids may be strings, as in JSON) into a Catalogue.

        Raises SpecbeamError, which begins with `source` and names the item, unless there is an item, every id is a
        whole number of at least 0 and every identifier has the same number of well-formed tokens.
        """
        if not isinstance(identifiers, Mapping) or not identifiers:
            raise SpecbeamError(f'{source}: expected {{"0": ["<a_1>", ...], ...}} with at least one item, got none')
        checked: dict[int, tuple[str, ...]] = {}
        for key, tokens in identifiers.items():
            item = _item_id(key, source=source)
            if item in checked:
                raise SpecbeamError(f"{source}: item {item} is listed twice ({key!r} again); keep one of them")
            checked[item] = _well_formed(tokens, where=f"{source}: item {item}")
        _check_lengths(checked, source=source)
        return cls(dict(sorted(checked.items())))

    @classmethod
    def load(cls, path: Path) -> "Catalogue":
        """Read and validate a JSON file of identifiers; raises SpecbeamError naming the file and the item."""
        return cls.of(read_json(path), source=str(path))

    def save(self, path: Path) -> None:
        """Write the JSON file that `load` reads, atomically, one line an item."""
        write_json(path, {str(item): list(tokens) for item, tokens in self.identifiers.items()})

    @cached_property
    def identifier_length(self) -> int:
        """Tokens in an identifier (L)."""
        return len(next(iter(self.identifiers.values())))

    @cached_property
    def distinct(self) -> tuple[tuple[str, ...], ...]:
        """The distinct identifiers in string order; their positions here are the ROWS used everywhere else."""
        return tuple(sorted(set(self.identifiers.values())))

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The distinct tokens of all positions, in string order.

        A tokenizer numbers them in this order, so that the rows of `distinct` are sorted as token ids too.
        """
        return tuple(sorted({token for identifier in self.distinct for token in identifier}))

    @cached_property
    def row_of(self) -> dict[int, int]:
        """Item -> its row in `distinct`."""
        rows = {identifier: row for row, identifier in enumerate(self.distinct)}
        return {item: rows[identifier] for item, identifier in self.identifiers.items()}

    def items_of(self, row: int) -> tuple[int, ...]:
        """The items that bear the identifier of `row`, ascending: one, or more where items collide."""
        return self._items_of_rows[row]

    @cached_property
    def collisions(self) -> dict[int, tuple[int, ...]]:
        """The rows with more than one item, with their items."""
        return {row: items for row, items in enumerate(self._items_of_rows) if len(items) > 1}

    def rows(self, items: Iterable[int]) -> list[int]:
        """The rows of `items`, in their order; raises SpecbeamError for an item without an identifier."""
        try:
            return [self.row_of[item] for item in items]
        except KeyError as error:
            raise SpecbeamError(
                f"item {error.args[0]}: expected an identifier in the catalogue, found none; was it made from "
                "other raw files? Prepare the data set again"
            ) from None

    @cached_property
    def _items_of_rows(self) -> tuple[tuple[int, ...], ...]:
        items = defaultdict(list)
        for item, row in self.row_of.items():
            items[row].append(item)
        return tuple(tuple(items[row]) for row in range(len(self.distinct)))


def _item_id(key: Any, *, source: str) -> int:
    if isinstance(key, int) and not isinstance(key, bool):
        item = key
    elif isinstance(key, str) and re.fullmatch(r"[0-9]{1,18}", key):
        item = int(key)
    else:
        item = -1
    if item < 0:
        raise SpecbeamError(f"{source}: expected whole item ids from 0 on, got {_short(key)} (at most 18 digits)")
    return item


def _well_formed(tokens: Any, *, where: str) -> tuple[str, ...]:
    if isinstance(tokens, str) or not isinstance(tokens, Sequence) or not tokens:
        raise SpecbeamError(f'{where}: expected a list of tokens like ["<a_1>", "<b_2>"], got {_short(tokens)}')
    for position, token in enumerate(tokens, start=1):
        if not isinstance(token, str) or not TOKEN.fullmatch(token):
            raise SpecbeamError(
                f"{where}: token {position} should look like <a_1> (no spaces inside), got {_short(token)}; rename it"
            )
        if HALF.search(token):
            raise SpecbeamError(f"{where}: token {position} is {_short(token)}, with half a character; rename it")
        if token in SPECIAL_TOKENS:
            raise SpecbeamError(f"{where}: token {position} is {token!r}, which the tokenizer needs itself; rename it")
    return tuple(tokens)


def _short(value: Any) -> str:
    """What came, for a message."""
    shown = repr(value)
    return shown if len(shown) <= 200 else f"{shown[:200]}..."


def _check_lengths(identifiers: Mapping[int, tuple[str, ...]], *, source: str) -> None:
    first_item, first = next(iter(identifiers.items()))
    for item, tokens in identifiers.items():
        if len(tokens) != len(first):
            raise SpecbeamError(
                f"{source}: expected the same number of tokens for every item; item {first_item} has {len(first)}, "
                f"item {item} has {len(tokens)} ({_short(''.join(tokens))})"
            )
