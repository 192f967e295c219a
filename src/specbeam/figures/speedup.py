"""Walltime speedup (WS@K) by beam width, against both baselines: a row of panels each, one panel a verification.

WS@K is the ratio of total times over users, each user's time being the median over repeats (docs/method.md, "What is
measured"); the interval resamples users. The bound is what the saved target calls allow, were all passes of the target
alike and all else free: the calls of plain beam search over those of the draft that takes the fewest. The grey marks
beside `generate` are the paper's, on other hardware and models: a reference, not a comparison.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator

from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style
from specbeam.figures.bootstrap import ratio_of_sums
from specbeam.measurement import records

_ELSEWHERE = "7B, A5000"
PUBLISHED = {
    "plain": ("tree attention alone", "_", {1: 1.00, 3: 1.02, 5: 1.07, 10: 1.24, 20: 1.67}),
    "strict": ("AtSpeed-S, strict", "x", {1: 2.33, 3: 1.97, 5: 1.84, 10: 1.87, 20: 1.82}),
    "relaxed": ("AtSpeed-R, relaxed", "+", {1: 2.05, 3: 1.94, 5: 1.94, 10: 2.16, 20: 2.47}),
}
"""Read off the chart in arXiv 2410.05165 (Beauty, LLaMA-7B with a 68M draft, RTX A5000), to about 0.01."""

METHOD = ["method", "objective", "verification", "N"]
_TITLES = {"plain": "plain beam search", "generate": "transformers' generate"}


def data(timing: pd.DataFrame) -> pd.DataFrame:
    """Speedups from timing records: one row a (baseline, method, objective, verification, K, N).

    `speedup` is the ratio of totals with its 95 % interval `low` to `high`, `median_ratio` the median over users of
    their own ratios, `seconds` and `baseline_seconds` means a list, `target_calls` and `baseline_target_calls` too,
    `bound` the ratio of the latter. Raises SpecbeamError when a baseline is missing or was timed on other users.
    """
    style.one_dataset(timing)
    timed = timing[timing["timed"]]
    each = timed.groupby(["K", *METHOD, "user"])
    medians = pd.DataFrame({"seconds": each["seconds"].median(), "target_calls": each["target_calls"].mean()})
    rows = []
    for baseline in _TITLES:
        for beam_width in sorted(timed["K"].unique()):
            try:
                reference = medians.loc[(beam_width, baseline, "", "", 0)]
            except KeyError:
                raise SpecbeamError(f"no timed rows of method {baseline!r} at K={beam_width}; time it again") from None
            for method, lists in medians.loc[beam_width].groupby(level=METHOD):
                if method[0] != baseline:
                    lists = lists.droplevel(METHOD)
                    rows.append(_row(baseline, beam_width, dict(zip(METHOD, method, strict=True)), reference, lists))
    columns = ["baseline", *METHOD[:3], "K", "N"]
    return pd.DataFrame(rows).sort_values(columns, kind="stable", ignore_index=True)


def _row(baseline: str, beam_width: int, method: dict, reference: pd.DataFrame, lists: pd.DataFrame) -> dict:
    if not reference.index.equals(lists.index):
        raise SpecbeamError(
            f"K={beam_width}: {method} and the baseline {baseline!r} were timed on different users "
            f"({len(lists)} and {len(reference)}); time them in one job"
        )
    speedup, low, high = ratio_of_sums(reference["seconds"], lists["seconds"])
    means, own = lists.mean(), reference.mean()
    return {
        "baseline": baseline,
        "method": method["method"],
        "objective": method["objective"],
        "verification": method["verification"],
        "K": beam_width,
        "N": method["N"],
        "users": len(lists),
        "speedup": speedup,
        "low": low,
        "high": high,
        "median_ratio": float((reference["seconds"] / lists["seconds"]).median()),
        "seconds": float(means["seconds"]),
        "baseline_seconds": float(own["seconds"]),
        "target_calls": float(means["target_calls"]),
        "baseline_target_calls": float(own["target_calls"]),
        "bound": float(own["target_calls"] / means["target_calls"]),
    }


@style.styled
def draw(speedups: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at the largest draft width in it."""
    speculative = speedups[speedups["method"] == "speculative"]
    if speculative.empty:
        raise SpecbeamError("the timing records hold no speculative decoding; time at least one objective")
    widest = speculative[speculative["N"] == speculative["N"].max()]
    beam_widths = sorted(speedups["K"].unique())
    verifications = [name for name in style.LINES if name in set(widest["verification"])]
    width = style.DOUBLE if len(verifications) > 1 else style.SINGLE
    figure, grid = style.panels(
        rows=2, columns=len(verifications), width=width, height=4.4, sharex=True, sharey="row"
    )  # fmt: skip
    for at, axes in enumerate(grid):
        baseline, verification = list(_TITLES)[at // len(verifications)], verifications[at % len(verifications)]
        part = widest[(widest["baseline"] == baseline) & (widest["verification"] == verification)]
        _references(axes, speedups, part, beam_widths)
        _lines(axes, part, beam_widths)
        _ratio_axis(axes)
        if at < len(verifications):
            axes.set_title(f"{verification}, N = {widest['N'].max()}", loc="left")
        else:
            style.width_axis(axes, beam_widths)
        if at % len(verifications) == 0:
            axes.set_ylabel(f"WS@K, times faster than\n{_TITLES[baseline]}")
    handles = style.objective_handles(widest["objective"]) + _reference_handles(verifications, beam_widths)
    style.legend(figure, handles, columns=4 if len(verifications) > 1 else 1)
    return figure


def _lines(axes: Axes, speedups: pd.DataFrame, beam_widths: list[int]) -> None:
    objectives = style.in_order(speedups["objective"])
    for index, objective in enumerate(objectives):
        part = speedups[speedups["objective"] == objective].sort_values("K")
        places = part["K"].map(beam_widths.index) + style.dodged(index, len(objectives))
        errors = style.bars(part, "speedup")
        axes.errorbar(places, part["speedup"], errors, elinewidth=0.6, **style.look(objective))


_EQUAL = {"color": style.INK, "lw": 0.8}
_BOUND = {"color": style.INK, "lw": 0.8, "ls": ":"}
_PLAIN = {"color": "#BBBBBB", "lw": 2.4, "marker": "_", "ms": 9, "mew": 2.4, "zorder": 1}


def _references(axes: Axes, speedups: pd.DataFrame, part: pd.DataFrame, beam_widths: list[int]) -> None:
    """What a speedup is held against: 1, the bound of the calls, plain beam search, and the published values."""
    axes.axhline(1, **_EQUAL)
    baseline, verification = part[["baseline", "verification"]].iloc[0]
    if baseline == "plain":
        best = part.groupby("K")["bound"].max()
        axes.plot(best.index.map(beam_widths.index), best, **_BOUND)
        return
    plain = speedups[(speedups["baseline"] == "generate") & (speedups["method"] == "plain")].sort_values("K")
    axes.plot(plain["K"].map(beam_widths.index), plain["speedup"], **_PLAIN)
    for name in ("plain", verification):
        if name in PUBLISHED:
            _, marker, values = PUBLISHED[name]
            shared = [width for width in beam_widths if width in values]
            axes.plot([*map(beam_widths.index, shared)], [values[width] for width in shared], **_published(marker))


def _published(marker: str) -> dict[str, object]:
    return {"color": style.INK, "marker": marker, "ms": 4.5, "mew": 0.8, "ls": "", "zorder": 4}


def _reference_handles(verifications: list[str], beam_widths: list[int]) -> list[Line2D]:
    handles = [
        Line2D([], [], label="as fast as the baseline", **_EQUAL),
        Line2D([], [], label="bound: calls of plain / fewest calls", **_BOUND),
        Line2D([], [], label="plain beam search", **_PLAIN),
    ]
    for name, (label, marker, values) in PUBLISHED.items():
        if name in ("plain", *verifications) and set(values) & set(beam_widths):
            handles.append(Line2D([], [], label=f"published: {label} ({_ELSEWHERE})", **_published(marker)))
    return handles


def _ratio_axis(axes: Axes) -> None:
    """A scale on which twice and half as fast, which it always shows, are equally far from 1."""
    axes.set_yscale("log", base=2)
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.45), max(high, 2.2))
    axes.yaxis.set_major_locator(LogLocator(base=2))
    axes.yaxis.set_major_formatter("{x:g}x")
    axes.yaxis.set_minor_locator(NullLocator())


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read timing records and write `output`.png, .svg, .csv and .txt."""
    inputs = list(inputs)
    timing = records.read(inputs, "timing")
    speedups, repeats = data(timing), timing.loc[timing["timed"], "repeat"].nunique()
    caption = captions.join(
        "Walltime speedup of speculative decoding by beam width K, against plain beam search of this engine (above) "
        "and against transformers' generate with the same constraint (below): total time of the baseline over total "
        f"time of the method, each user's time the median of {captions.counted(repeats, 'repeat')}.",
        captions.sample(timing),
        "Dotted: the bound that target calls set, those of plain beam search over those of the draft with the fewest.",
        f"Published values are of other models and hardware ({_ELSEWHERE}; arXiv 2410.05165), for reference only.",
        captions.measured(timing, inputs),
    )
    style.save(draw(speedups), speedups, output, caption)
