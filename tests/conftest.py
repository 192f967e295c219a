"""What several tests share: the mirror of the real data sets, and a tiny synthetic one."""

import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from specbeam.data.prepare import prepare
from specbeam.data.synthetic import generate
from specbeam.settings import ModelSettings, SyntheticSettings

os.environ.setdefault("OMP_NUM_THREADS", "1")  # threads that spin for one another made tiny models 80 times slower
hypothesis.settings.register_profile("specbeam", deadline=None)  # a busy machine is no failure
hypothesis.settings.load_profile("specbeam")

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data"


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
