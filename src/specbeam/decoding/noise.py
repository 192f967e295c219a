"""Random numbers that depend on nothing but (seed, prompt, prefix, purpose): a counter-based generator.

So a draft and its target draw the SAME noise for the same sequence, a list does not depend on the batch or the round
in which it was made, and every device gives the same sample. The mixing function is splitmix64 (Steele, Lea and Flood,
"Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) in wrapping 64-bit arithmetic.
"""

import torch
from torch import Tensor


def _signed(value: int) -> int:
    """`value` modulo 2^64, as int64 holds it."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


_STEP, _FIRST, _SECOND = (_signed(x) for x in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def mix(state: Tensor, value: Tensor | int) -> Tensor:
    """A new int64 state from `state` and `value` int64: each bit of either flips about half of the result's bits."""
    counter = _signed(value * _FIRST + _STEP) if isinstance(value, int) else value * _FIRST + _STEP
    mixed = (state ^ counter) + _STEP
    mixed = (mixed ^ _shifted(mixed, 30)) * _FIRST
    mixed = (mixed ^ _shifted(mixed, 27)) * _SECOND
    return mixed ^ _shifted(mixed, 31)


def streams(prompts: Tensor, mask: Tensor) -> Tensor:
    """int64 [B]: one number for each prompt [B, P], whatever its padding."""
    position = mask.cumsum(1)
    return mix(mix(position, prompts), 0).masked_fill(~mask, 0).sum(1)


def prefixes(sequences: Tensor, levels: Tensor, stream: Tensor) -> Tensor:
    """int64 [B, W]: one number for each sequence [B, W, L] of `levels` [B] tokens after the prompts of `stream` [B]."""
    state = stream.unsqueeze(1).expand(sequences.shape[:2])
    for place, token in enumerate(sequences.unbind(2)):
        state = torch.where((place < levels).unsqueeze(1), mix(state, token), state)
    return state


def uniform(state: Tensor) -> Tensor:
    """float64 in (0, 1), 2^52 values, one for each int64 `state`."""
    return (_shifted(state, 12).double() + 0.5) * 2.0**-52


def gumbel(state: Tensor) -> Tensor:
    """float64: one draw from the standard Gumbel distribution for each int64 `state`."""
    return -(-uniform(state).log()).log()


def _shifted(value: Tensor, bits: int) -> Tensor:
    """Logical shift to the right; torch's own keeps the sign."""
    return (value >> bits) & ((1 << (64 - bits)) - 1)
