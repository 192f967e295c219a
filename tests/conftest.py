"""What several tests share: the mirror of the real data sets, and a tiny synthetic one."""

import os
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from bad_input import COUNTS
from specbeam.data.prepare import prepare
from specbeam.data.synthetic import generate
from specbeam.settings import ModelSettings, SyntheticSettings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that spin for one another made tiny models 80 times slower
hypothesis.settings.register_profile("specbeam", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("specbeam")

ALONE = Path(__file__).parent / "cluster"
"""Tests that share one Slurm, whose ports are those of the machine."""
BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(tryfirst=True)  # before those who share the tests look at their groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Where several processes share the tests, those of a file go to one of them, since they share fixtures."""
    for item in items:
        group = ALONE if item.path.is_relative_to(ALONE) else item.path
        item.add_marker(pytest.mark.xdist_group(str(group.relative_to(ALONE.parent))))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process that shares the tests says how many cases of bad input it tried."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["bad_input"] = [[*key, count] for key, count in COUNTS.items()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """The main process adds them up."""
    tried = getattr(node, "workeroutput", {}).get("bad_input", [])
    COUNTS.update(Counter({(reader, end): count for reader, end, count in tried}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many cases of bad input were tried."""
    if COUNTS:
        terminalreporter.section(f"bad input: {COUNTS.total()} cases")
        for reader in sorted({reader for reader, _ in COUNTS}):
            terminalreporter.line(f"{reader}: {COUNTS[reader, 'read']} read, {COUNTS[reader, 'refused']} refused")


@pytest.fixture(scope="session")
def mirror() -> Path:
    """Folder with the real data sets: SPECBEAM_TEST_MIRROR, or ../shared/data beside the checkout.

    Without it the tests on real data are skipped with a warning, or fail if SPECBEAM_REQUIRE_MIRROR=1.
    """
    folder = Path(os.environ.get("SPECBEAM_TEST_MIRROR") or BESIDE_THE_CHECKOUT)
    if not (folder / "beauty" / "sequential_train.txt").is_file():
        message = f"no mirror of the real data at {folder}: set SPECBEAM_TEST_MIRROR to one"
        if os.environ.get("SPECBEAM_REQUIRE_MIRROR") == "1":
            pytest.fail(message)
        warnings.warn(f"tests on real data are SKIPPED: {message}", stacklevel=1)
        pytest.skip(message)
    return folder


@dataclass(frozen=True)
class TinyDataset:
    """Folders of a small synthetic data set."""

    raw: Path
    prepared: Path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> TinyDataset:
    """A synthetic data set of 150 users and 120 items, prepared for a model from scratch."""
    folder = tmp_path_factory.mktemp("tiny")
    settings = SyntheticSettings(users=150, items=120, clusters=6, mean_length=8)
    generate(settings=settings, seed=7, destination=folder / "raw")
    prepare(raw=folder / "raw", prepared=folder / "prepared", model=ModelSettings())
    return TinyDataset(raw=folder / "raw", prepared=folder / "prepared")
