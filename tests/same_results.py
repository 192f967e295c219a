"""Whether two runs of one config, of which one was disturbed, have the same results."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pandas.testing import assert_frame_equal

from specbeam.comparison.report import equal_files
from specbeam.measurement import records

TELLING_TIME = (
    r"(.*/)?(logs|benchmarks)/.*", r".*\.provenance\.json", r".*/measurement/timing/.*",
    r".*/figures/(speedup|pareto|phases)\..*", r"(.*/)?summary\..*", r"index\.html", r"parts/.*\.html",
)  # fmt: skip
"""Results that hold times, and so are never the same twice."""


def files(folder: Path) -> dict[str, Path]:
    """All files of a run's folder, by their names in it."""
    return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}


def differing(whole: Path, other: Path) -> set[str]:
    """Names of files that both runs have, that tell no times, and that are not equal."""
    found = files(other)
    both = [name for name in files(whole) if name in found and not any(re.fullmatch(p, name) for p in TELLING_TIME)]
    return {name for name in both if not equal_files(whole / name, other / name)}


def assert_same(whole: Path, other: Path) -> None:
    """Both runs have the same files, and the same content but for times."""
    assert files(other).keys() == files(whole).keys()
    assert differing(whole, other) == set()
    for first, second in zip(_timed(whole), _timed(other), strict=True):
        assert_frame_equal(first, second, check_exact=True)


def _timed(folder: Path) -> Iterator[pd.DataFrame]:
    """Records of timed lists, without the seconds."""
    for path in sorted(folder.rglob("measurement/timing/*.parquet")):
        yield records.read([path], "timing").drop(columns=["seconds", *records.PHASES], errors="ignore")
