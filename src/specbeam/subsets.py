"""Which items a list may name: a part of the catalogue, made once, less a few that one request leaves out."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from transformers import PreTrainedModel

from specbeam.decoding.filters import Filters, Part
from specbeam.errors import SpecbeamError
from specbeam.items import Items, plain
from specbeam.trie import Trie

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Subset:
    """A part of one recommender's catalogue, for any number of its lists. Make it with `Recommender.subset`."""

    items: frozenset[Any]
    part: Part = field(repr=False)


Only = Subset | Collection[Any] | Sequence[Subset | Collection[Any] | None] | None
"""A subset or its item ids, for all prompts; or a list with one of them a prompt. None: the whole catalogue."""
Without = Collection[Any] | Sequence[Collection[Any] | None] | None
"""Item ids for all prompts, or a list with a list or set of them a prompt. None: nothing is left out."""


@dataclass(frozen=True)
class Filter:
    """What one list may name."""

    only: Subset | None
    without: frozenset[Any]

    def allows(self, item: Any) -> bool:
        """Whether the list may name `item`."""
        return item not in self.without and (self.only is None or item in self.only.items)


class Shelf:
    """A catalogue with its trie, and the filters over them."""

    def __init__(self, items: Items, trie: Trie) -> None:
        self.items, self.trie = items, trie

    @classmethod
    def of(cls, items: Any, models: Sequence[PreTrainedModel], *, end: int | None) -> "Shelf":
        """From Items, or what Items.of takes, on the models' device.

        `end` is written behind every identifier. Raises SpecbeamError for tokens that one of the models does not know.
        """
        items = items if isinstance(items, Items) else Items.of(items)
        trie = Trie.of(items.identifiers, end=end).to(models[0].device)
        for model in models:
            if trie.vocabulary > (known := model.get_input_embeddings().num_embeddings):
                raise SpecbeamError(
                    f"items: they use token ids up to {trie.vocabulary - 1}, {type(model).__name__} knows {known} "
                    "tokens; they do not belong together"
                )
        return cls(items, trie)

    def subset(self, items: Collection[Any]) -> Subset:
        """The part of the catalogue that is `items`; SpecbeamError for an item that it does not have."""
        chosen = _ids(items, "only")
        rows = np.unique(np.fromiter(map(self.items.row_of, chosen), dtype=np.int64))
        return Subset(chosen, Part.of(self.trie, rows))

    def left_out(self, without: Without, prompts: int) -> list[frozenset[Any]]:
        """The item ids that each prompt's list leaves out."""
        return _each(without, prompts, "without", lambda some: frozenset() if some is None else _ids(some, "without"))

    def filters(self, only: Only, without: Without, prompts: int) -> list[Filter]:
        """The filter of each prompt. Raises SpecbeamError for items and subsets of another catalogue."""
        subsets = _each(only, prompts, "only", self._subset)
        return [Filter(*each) for each in zip(subsets, self.left_out(without, prompts), strict=True)]

    def of_search(self, filters: Sequence[Filter]) -> Filters | None:
        """The same for the search of a batch; None if nothing is filtered."""
        if not any(filter.only is not None or filter.without for filter in filters):
            return None
        parts = [filter.only.part if filter.only is not None else self._whole for filter in filters]
        return Filters.of(parts, [self._emptied(filter) for filter in filters])

    @cached_property
    def _whole(self) -> Part:
        return Part.of(self.trie)

    def _emptied(self, filter: Filter) -> list[int]:
        """The identifiers of the filter's part whose items are all left out: where items collide, one left will do."""
        rows, emptied = {self.items.row_of(item) for item in filter.without}, []
        if filter.only is None and not self.items.collide:
            return list(rows)
        only = None if filter.only is None else filter.only.items
        for row in rows:
            offered = [item for item in self.items.bearers[row] if only is None or item in only]
            if offered and filter.without.issuperset(offered):
                emptied.append(row)
        return emptied

    def _subset(self, some: Subset | Collection[Any] | None) -> Subset | None:
        if not isinstance(some, Subset):
            return None if some is None else self.subset(some)
        if some.part.trie is not self.trie:
            raise SpecbeamError("only: this subset is of another catalogue; make it by this recommender's subset")
        return some


def _ids(some: Any, name: str) -> frozenset[Any]:
    try:
        if not isinstance(some, str):
            return frozenset(plain(some))
    except TypeError:  # neither a collection nor of what can be a key
        pass
    raise SpecbeamError(f"{name}: expected a collection of item ids, such as [5, 9], got {repr(some)[:200]}")


_ONE = Subset | list | set | frozenset | None
"""What is for one prompt, where a list has one a prompt; a tuple can be an item id."""


def _each(value: Any, prompts: int, name: str, make: Callable[[Any], Made]) -> list[Made]:
    """What `make` makes of `value`, which is for all prompts, or of its parts, one a prompt."""
    value = plain(value)
    parts = list(map(plain, value)) if isinstance(value, list | tuple) else []
    if not any(isinstance(part, _ONE) for part in parts):
        return [make(value)] * prompts
    if len(parts) != prompts or not all(isinstance(part, _ONE) for part in parts):
        raise SpecbeamError(
            f"{name}: expected item ids for all prompts, or a list or set of them for each of {prompts}, got "
            f"{repr(value)[:200]}"
        )
    return [make(part) for part in parts]
