"""Where memory runs out: fewer prompts at once in decoding; in training a message that says what to change."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from specbeam.errors import SpecbeamError

log = logging.getLogger(__name__)
Made = TypeVar("Made")

IN_TRAINING = (
    "lower training.micro_batch_size, set training.gradient_checkpointing: true or training.precision: bfloat16, or "
    "use model.lora"
)
"""How a training needs less."""
_CPU = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch says in a plain RuntimeError where the machine's own memory runs out."""


def is_out(error: BaseException) -> bool:
    """Whether `error` says that memory ran out, a GPU's or the machine's."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _CPU)


@contextmanager
def explained(what: str, *, mend: str) -> Iterator[None]:
    """Raise SpecbeamError with `what` ran out of memory, and how to `mend` it, if that happens in the block."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out(error):
            raise
        first = str(error).partition("\n")[0][:300]
        raise SpecbeamError(f"{what}: expected it to fit into memory, ran out of it ({first}); {mend}") from None


def halving(
    work: Callable[[Any], list[Made]], rows: Sequence[Any], size: int, *, name: str
) -> Iterator[tuple[Any, list[Made]]]:
    """`work` on `size` of `rows` at once, and on half as many from where memory runs out.

    Yields some rows with the list that `work` makes of them. Raises SpecbeamError if a single row does not fit.
    """
    done = 0
    while done < len(rows):
        part = rows[done : done + size]
        if len(part) == 1:
            with explained(name, mend="choose a smaller K or N, a shorter history, another dtype, or a larger device"):
                made = work(part)
        elif (made := _fitting(work, part)) is None:
            size = len(part) // 2
            log.warning("%s: out of memory with %d prompts at once; going on with %d", name, len(part), size)
            continue
        done += len(part)
        yield part, made


def _fitting(work: Callable[[Any], list[Made]], part: Any) -> list[Made] | None:
    """What the work makes; None, with all that it held given back, if memory ran out."""
    try:
        return work(part)
    except (RuntimeError, MemoryError) as error:
        if not is_out(error):
            raise
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None
