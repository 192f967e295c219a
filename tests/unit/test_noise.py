"""Noise depends on seed, prompt, prefix and purpose, on nothing else, and looks like noise (fixed seeds)."""

import math

import pytest
import torch
from torch import Tensor

from specbeam.decoding import noise

DRAWS = 100_000
COUNTER = torch.arange(DRAWS)


def some_states() -> Tensor:
    """States as a search makes them: prefixes that differ in one token, tokens that follow one another."""
    return noise.mix(noise.mix(torch.tensor(7), COUNTER // 100), COUNTER % 100)


def correlation(one: Tensor, other: Tensor) -> float:
    return torch.corrcoef(torch.stack([one, other]))[0, 1].item()


def python_mix(state: int, value: int) -> int:
    """splitmix64 in whole numbers, as it is published."""
    whole = 1 << 64
    mixed = (state ^ ((value * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) % whole)) + 0x9E3779B97F4A7C15
    mixed = ((mixed % whole ^ (mixed % whole) >> 30) * 0xBF58476D1CE4E5B9) % whole
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) % whole
    return mixed ^ mixed >> 31


@pytest.mark.parametrize(("state", "value"), [(0, 0), (1, 2), (2**63 - 1, 5), (-1, -1), (-(2**63), 2**63 - 1)])
def test_wrapping_int64_arithmetic_is_that_of_64_unsigned_bits(state: int, value: int) -> None:
    for given in (value, torch.tensor(value)):
        assert noise.mix(torch.tensor(state), given).item() % 2**64 == python_mix(state % 2**64, value % 2**64)


def test_uniform_draws_are_uniform_inside_zero_and_one() -> None:
    drawn = noise.uniform(some_states())
    assert drawn.dtype == torch.float64
    assert 0 < drawn.min() < drawn.max() < 1
    assert drawn.mean().item() == pytest.approx(1 / 2, abs=4 / math.sqrt(12 * DRAWS))
    assert drawn.var().item() == pytest.approx(1 / 12, rel=0.01)
    steps = (COUNTER + 1) / DRAWS
    assert (drawn.sort().values - steps).abs().max() < 1.95 / math.sqrt(DRAWS)  # Kolmogorov and Smirnov, p = 0.001


def test_even_the_outermost_states_draw_inside_zero_and_one() -> None:
    outermost = torch.tensor([0, -1, 2**63 - 1, -(2**63)])
    drawn = noise.uniform(outermost)
    assert ((drawn > 0) & (drawn < 1)).all()
    assert noise.gumbel(outermost).isfinite().all()


def test_gumbel_draws_have_the_mean_and_variance_of_gumbels_distribution() -> None:
    drawn = noise.gumbel(some_states())
    assert drawn.mean().item() == pytest.approx(0.57722, abs=4 * 1.2825 / math.sqrt(DRAWS))
    assert drawn.var().item() == pytest.approx(math.pi**2 / 6, rel=0.03)


def test_every_bit_of_state_or_value_flips_about_half_of_the_bits_of_the_result() -> None:
    states = some_states()[:2000]
    bits = torch.tensor([1 << bit for bit in range(63)] + [-(1 << 63)])
    for changed in (noise.mix(states[:, None] ^ bits, 5), noise.mix(states[:, None], bits ^ 5)):
        flipped = (changed ^ noise.mix(states[:, None], 5)).unsqueeze(-1) & bits != 0
        assert flipped.float().mean().item() == pytest.approx(0.5, abs=0.001)
        assert flipped.float().mean((0, 2)).sub(0.5).abs().max() < 0.01  # no bit of the input is weak
        assert flipped.float().mean((0, 1)).sub(0.5).abs().max() < 0.01  # no bit of the result is


@pytest.mark.parametrize("shift", [1, 2, 100])
def test_neighbouring_prefixes_tokens_and_purposes_draw_unrelated_noise(shift: int) -> None:
    state = some_states()
    assert state.unique().numel() == DRAWS
    drawn = noise.uniform(state)
    assert abs(correlation(drawn[shift:], drawn[:-shift])) < 4 / math.sqrt(DRAWS)
    assert abs(correlation(noise.uniform(noise.mix(state, 1)), noise.uniform(noise.mix(state, 1 + shift)))) < 0.0127


def test_seeds_and_prompts_that_differ_by_one_draw_unrelated_noise() -> None:
    prompts = torch.stack([COUNTER, COUNTER + 1, COUNTER % 160], 1)
    stream = noise.streams(prompts, torch.ones_like(prompts, dtype=torch.bool))
    one, other = (noise.uniform(noise.mix(stream, seed)) for seed in (0, 1))
    assert abs(correlation(one, other)) < 4 / math.sqrt(DRAWS)
    assert abs(correlation(one[1:], one[:-1])) < 4 / math.sqrt(DRAWS)
    assert stream.unique().numel() == DRAWS


def test_a_prompts_stream_does_not_depend_on_its_padding_but_on_the_order_of_its_tokens() -> None:
    prompt = torch.tensor([[5, 7, 7, 9]])
    bare = noise.streams(prompt, torch.ones(1, 4, dtype=torch.bool))
    for filler in (0, 5, 159):
        padded = torch.nn.functional.pad(prompt, (3, 0), value=filler)
        assert torch.equal(noise.streams(padded, torch.arange(7)[None] >= 3), bare)
    others = torch.tensor([[7, 5, 7, 9], [5, 7, 9, 7], [5, 7, 7, 8]])
    assert not (noise.streams(others, torch.ones(3, 4, dtype=torch.bool)) == bare).any()
    assert noise.streams(prompt[:, 1:], torch.ones(1, 3, dtype=torch.bool)) != bare


def test_a_prefix_is_told_by_the_tokens_written_alone() -> None:
    stream, sequences = torch.tensor([3, 3, 4]), torch.tensor([[[5, 6, 7]], [[5, 6, 8]], [[5, 6, 7]]])
    states = {levels: noise.prefixes(sequences, torch.full((3,), levels), stream)[:, 0].tolist() for levels in range(4)}
    assert states[0] == stream.tolist()
    assert states[2][0] == states[2][1] != states[2][2]  # the same two tokens after the same prompt
    assert len({*states[1], *states[2], *states[3]}) == 2 + 2 + 3
