"""Dependencies are pinned, installed as pinned, fit together, and say under which licence they are."""

import subprocess
import sys
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from dependencies import PINNED, PROJECT, closure

EXTRAS = [Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra]
UNSAID = {"conda-inject"}
"""Besides Snakemake's interfaces: distributions whose metadata name no licence (their files do: MIT)."""


@pytest.mark.parametrize("requirement", [*PINNED, *EXTRAS], ids=str)
def test_every_dependency_is_pinned_to_one_version(requirement):
    assert [clause.operator for clause in requirement.specifier] == ["=="]
    assert "*" not in str(requirement.specifier)


@pytest.mark.parametrize("requirement", PINNED, ids=str)
def test_what_is_installed_is_what_is_pinned(requirement):
    assert requirement.specifier.contains(metadata.version(requirement.name))


def test_installed_versions_fit_together():
    done = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_every_distribution_that_is_brought_in_says_its_licence():
    silent = {found.name for found in closure() if not found.licence}
    assert {name for name in silent if not name.startswith("snakemake-interface-")} <= UNSAID
