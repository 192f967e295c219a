"""From a user's history to the prompt that the next item's identifier follows.

`compact`: a start token and the history's item tokens, nothing else. `natural`: the paper's instruction around them
(AtSpeed, authors' code at commit 93bc886), for models that know English.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError

NATURAL_TEMPLATE = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request."
    "\n\n### Instruction:\n"
    "The user has interacted with items {history} in chronological order. "
    "Can you predict the next possible item that the user may expect?"
    "\n\n### Response:"
)


class PromptBuilder:
    """Builds prompts (lists of token ids) from histories (lists of item ids, oldest first).

    Every prompt ends exactly where the next item's first token goes. It is not padded: pad with `pad_id`.
    """

    def __init__(
        self, *, style: Literal["compact", "natural"], history: int, tokenizer: Any, catalogue: Catalogue
    ) -> None:
        """`history` is the number of most recent items that a prompt holds; `tokenizer` is a transformers tokenizer
        that knows every token of `catalogue` (specbeam.data.prepare makes one).

        Raises SpecbeamError if the tokenizer lacks an item token, has no token to start or to pad with, or, for
        `natural`, does not know English text.
        """
        self._natural = style == "natural"
        self._history = history
        self._tokenizer = tokenizer
        self._catalogue = catalogue
        self.identifiers: np.ndarray = _identifier_ids(tokenizer, catalogue)
        """int64 [distinct identifiers, L]: the token ids of `catalogue.distinct`."""
        self.pad_id: int = _first_known(tokenizer, "pad_token_id", "eos_token_id")
        self.start_id: int = _first_known(tokenizer, "bos_token_id", "eos_token_id")
        """First token of a compact prompt: the tokenizer's begin-of-sequence, or end-of-text where it has none."""
        ids_of_row = self.identifiers.tolist()
        self._ids_of_item = {item: ids_of_row[row] for item, row in catalogue.row_of.items()}
        if self._natural:
            self._check_text()

    def __call__(self, items: Sequence[int]) -> list[int]:
        """Token ids of the prompt for a history of `items` (oldest first; only the last `history` are used).

        Raises SpecbeamError for an item without an identifier, and for an empty history in the natural style.
        """
        recent = items[-self._history :]
        if self._natural:
            return self._natural_prompt(recent)
        prompt = [self.start_id]
        for item in recent:
            prompt += self.item_tokens(item)
        return prompt

    def item_tokens(self, item: int) -> list[int]:
        """The L token ids of an item's identifier; raises SpecbeamError if it has none. Do not change the list."""
        try:
            return self._ids_of_item[item]
        except KeyError:
            raise SpecbeamError(f"item {item}: expected an item of the catalogue, it has no identifier") from None

    def text(self, items: Sequence[int]) -> str:
        """The natural-language prompt as text."""
        recent = self._catalogue.rows(items[-self._history :])
        history = ", ".join("".join(self._catalogue.distinct[row]) for row in recent)
        return NATURAL_TEMPLATE.format(history=history)

    def _natural_prompt(self, items: Sequence[int]) -> list[int]:
        if len(items) == 0:
            raise SpecbeamError("a natural prompt needs at least one item of history, got none")
        # No special tokens from the tokenizer: some append an end token, after which no item could follow.
        ids = self._tokenizer(self.text(items), add_special_tokens=False)["input_ids"]
        begin = self._tokenizer.bos_token_id
        return list(ids) if begin is None else [begin, *ids]

    def _check_text(self) -> None:
        unknown = self._tokenizer.unk_token_id
        ids = self._tokenizer(NATURAL_TEMPLATE.format(history=""), add_special_tokens=False)["input_ids"]
        if not ids or (unknown is not None and unknown in ids):
            raise SpecbeamError(
                "prompt.style natural: the tokenizer does not know English text; set target.model.base and "
                "draft.model.base to a pretrained model, or use prompt.style compact"
            )


def _identifier_ids(tokenizer: Any, catalogue: Catalogue) -> np.ndarray:
    vocabulary = tokenizer.get_vocab()
    missing = [token for token in catalogue.tokens if token not in vocabulary]
    if missing:
        raise SpecbeamError(
            f"expected a tokenizer that knows the catalogue's {len(catalogue.tokens)} item tokens; it lacks "
            f"{len(missing)}, {missing[0]} among them: it was made for another catalogue, so prepare the data again"
        )
    if len({vocabulary[token] for token in catalogue.tokens}) < len(catalogue.tokens):
        raise SpecbeamError("expected a tokenizer with a number of its own for each item token; prepare the data again")
    return np.array([[vocabulary[token] for token in identifier] for identifier in catalogue.distinct], dtype=np.int64)


def _first_known(tokenizer: Any, *names: str) -> int:
    for name in names:
        if (value := getattr(tokenizer, name, None)) is not None:
            return value
    raise SpecbeamError(f"expected a tokenizer with {' or '.join(names)}, it has none; choose another model.base")
