"""Walltime speedup (WS@K) by beam width, against both baselines.

WS@K is the ratio of total times over users, each user's time being the median over repeats (docs/method.md, "What is
measured"); the interval resamples users. The grey points beside `generate` are the paper's, on other hardware and
models (LLaMA-7B with a 68M draft, RTX A5000): a reference, not a comparison.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from specbeam.errors import SpecbeamError
from specbeam.figures import style
from specbeam.figures.bootstrap import ratio_of_sums
from specbeam.measurement import records

PUBLISHED = {
    "strict": ("published AtSpeed-S, strict (7B, A5000)", "x", {1: 2.33, 3: 1.97, 5: 1.84, 10: 1.87, 20: 1.82}),
    "relaxed": ("published AtSpeed-R, relaxed (7B, A5000)", "+", {1: 2.05, 3: 1.94, 5: 1.94, 10: 2.16, 20: 2.47}),
}
"""Read off the chart in arXiv 2410.05165 (Beauty), to about 0.01."""

METHOD = ["method", "objective", "verification", "N"]
_TITLES = {"plain": "against this engine's plain beam search", "generate": "against transformers' generate"}


def data(timing: pd.DataFrame) -> pd.DataFrame:
    """Speedups from timing records: one row a (baseline, method, objective, verification, K, N).

    `speedup` is the ratio of totals with its 95 % interval `low` to `high`, `median_ratio` the median over users of
    their own ratios, `seconds` and `baseline_seconds` means a list. Raises SpecbeamError when a baseline is missing or
    was timed on other users.
    """
    style.one_dataset(timing)
    timed = timing[timing["timed"]]
    medians = timed.groupby(["K", *METHOD, "user"])["seconds"].median()
    rows = []
    for baseline in _TITLES:
        for beam_width in sorted(timed["K"].unique()):
            try:
                reference = medians.loc[(beam_width, baseline, "", "", 0)]
            except KeyError:
                raise SpecbeamError(f"no timed rows of method {baseline!r} at K={beam_width}; time it again") from None
            for method, seconds in medians.loc[beam_width].groupby(level=METHOD):
                if method[0] != baseline:
                    seconds = seconds.droplevel(METHOD)
                    rows.append(_row(baseline, beam_width, dict(zip(METHOD, method, strict=True)), reference, seconds))
    columns = ["baseline", *METHOD[:3], "K", "N"]
    return pd.DataFrame(rows).sort_values(columns, kind="stable", ignore_index=True)


def _row(baseline: str, beam_width: int, method: dict, reference: pd.Series, seconds: pd.Series) -> dict:
    if not reference.index.equals(seconds.index):
        raise SpecbeamError(
            f"K={beam_width}: {method} and the baseline {baseline!r} were timed on different users "
            f"({len(seconds)} and {len(reference)}); time them in one job"
        )
    speedup, low, high = ratio_of_sums(reference, seconds)
    return {
        "baseline": baseline,
        "method": method["method"],
        "objective": method["objective"],
        "verification": method["verification"],
        "K": beam_width,
        "N": method["N"],
        "users": len(seconds),
        "speedup": speedup,
        "low": low,
        "high": high,
        "median_ratio": float((reference / seconds).median()),
        "seconds": float(seconds.mean()),
        "baseline_seconds": float(reference.mean()),
    }


@style.styled
def draw(speedups: pd.DataFrame) -> Figure:
    """Draw the frame of `data`, at the largest draft width in it."""
    speculative = speedups[speedups["method"] == "speculative"]
    if speculative.empty:
        raise SpecbeamError("the timing records hold no speculative decoding; time at least one objective")
    beam_widths = sorted(speedups["K"].unique())
    figure, both = style.panels(columns=2, width=style.DOUBLE, height=3.1)
    widest = speculative["N"].max()
    for axes, baseline in zip(both, _TITLES, strict=True):
        _lines(axes, speculative[(speculative["baseline"] == baseline) & (speculative["N"] == widest)], beam_widths)
        axes.axhline(1, color=style.INK, lw=0.8)
        axes.set_title(_TITLES[baseline], loc="left")
        style.width_axis(axes, beam_widths)
    both[0].set_ylabel("walltime speedup WS@K")
    extra = _plain(both[1], speedups, beam_widths) + _published(both[1], speculative, beam_widths)
    both[1].set_ylim(bottom=0)
    handles = style.objective_handles(speculative["objective"])
    handles += style.verification_handles(speculative["verification"], draft_beam_width=widest) + extra
    style.legend(figure, handles, columns=4)
    return figure


def _lines(axes: Axes, speedups: pd.DataFrame, beam_widths: list[int]) -> None:
    objectives = style.in_order(speedups["objective"])
    for index, objective in enumerate(objectives):
        for verification, line in style.LINES.items():
            mask = (speedups["objective"] == objective) & (speedups["verification"] == verification)
            part = speedups[mask].sort_values("K")
            if part.empty:
                continue
            places = part["K"].map(beam_widths.index) + style.dodged(index, len(objectives))
            errors = style.bars(part, "speedup")
            axes.errorbar(places, part["speedup"], errors, ls=line, elinewidth=0.6, **style.look(objective))


def _plain(axes: Axes, speedups: pd.DataFrame, beam_widths: list[int]) -> list[Line2D]:
    part = speedups[(speedups["baseline"] == "generate") & (speedups["method"] == "plain")].sort_values("K")
    places = part["K"].map(beam_widths.index)
    options = {"color": "#BBBBBB", "lw": 2.4, "marker": "_", "ms": 9, "mew": 2.4, "zorder": 1}
    return axes.plot(places, part["speedup"], label="plain beam search", **options)


def _published(axes: Axes, speculative: pd.DataFrame, beam_widths: list[int]) -> list[Line2D]:
    handles = []
    for verification, (name, marker, values) in PUBLISHED.items():
        shared = [width for width in beam_widths if width in values]
        if shared and verification in set(speculative["verification"]):
            places = [beam_widths.index(width) for width in shared]
            options = {"color": style.GREY, "marker": marker, "ms": 4.5, "mew": 0.9, "ls": "", "zorder": 1}
            handles += axes.plot(places, [values[width] for width in shared], label=name, **options)
    return handles


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read timing records and write `output`.png, .svg and .csv."""
    speedups = data(records.read(inputs, "timing"))
    style.save(draw(speedups), speedups, output)
