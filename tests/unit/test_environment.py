"""pyproject.toml is the source of the pins; what else names versions agrees with it."""

import re
import tomllib
from pathlib import Path

import yaml

import specbeam

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())


def test_conda_users_get_the_pins_of_pyproject():
    listed = next(part["pip"] for part in CONDA["dependencies"] if isinstance(part, dict))
    assert listed == [*PROJECT["dependencies"], "-e ."]


def test_conda_users_get_the_python_that_pyproject_asks_for():
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    assert "python=3.11" in CONDA["dependencies"]


def test_every_dependency_is_pinned_exactly():
    for requirement in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["test"]]:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", requirement), requirement


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == specbeam.__version__
