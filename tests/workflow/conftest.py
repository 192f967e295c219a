"""Copies of the checkout: a fresh one for each test, and one with a finished run."""

from pathlib import Path

import pytest

from checkouts import Checkout, copied


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh checkout, without results."""
    return copied(tmp_path)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the smoke config has run to its end. Tests leave it as it is."""
    place = copied(tmp_path_factory.mktemp("finished"))
    run = place.snakemake()
    assert run.returncode == 0, run.stdout
    return place
