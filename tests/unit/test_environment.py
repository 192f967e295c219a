"""pyproject.toml is the source of the pins; what else names versions agrees with it."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

import specbeam

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
USERS, JOBS = (yaml.safe_load((ROOT / file).read_text()) for file in ("environment.yml", "workflow/envs/specbeam.yml"))
RECIPE = (ROOT / "workflow/envs/specbeam.def").read_text()
SECTIONS = dict(re.findall(r"^%(\w+)\n((?:    .+\n)+)", RECIPE, flags=re.MULTILINE))


def test_conda_users_get_the_project_with_its_pins_and_jobs_under_conda_the_pins_alone():
    # Snakemake makes the second from a copy of the file elsewhere, where `-e .` would name another folder.
    *users, by_pip = USERS["dependencies"]
    *jobs, pins = JOBS["dependencies"]
    assert users == jobs
    assert by_pip == {"pip": ["-e .[slurm]"]}
    assert pins == {"pip": PROJECT["dependencies"]}


def test_conda_and_the_image_have_the_python_that_pyproject_asks_for():
    assert PROJECT["requires-python"] == ">=3.11,<3.12"
    assert "python=3.11" in JOBS["dependencies"]
    assert re.search(r"^From: python:3\.11-", RECIPE, flags=re.MULTILINE)


def test_the_image_installs_the_pins_of_the_pyproject_that_it_copies(tmp_path):
    source, destination = SECTIONS["files"].split()
    (tmp_path / Path(destination).name).write_bytes((ROOT / source).read_bytes())
    before, _, after = SECTIONS["post"].partition(f"cd {Path(destination).parent}\n")
    read, install = after.strip().splitlines()
    subprocess.run(["sh", "-ec", read], cwd=tmp_path, check=True)
    (made,) = set(tmp_path.iterdir()) - {tmp_path / Path(destination).name}
    assert made.read_text().splitlines() == PROJECT["dependencies"]
    assert install.split() == ["python", "-m", "pip", "install", "--no-cache-dir", "--requirement", made.name]
    assert "git" in before.split()  # records name the commit


@pytest.mark.parametrize("file", ["workflow/rules/software.smk", ".gitignore", "docs/cluster.md"])
def test_the_image_is_where_the_rules_look_for_it(file):
    built, recipe = re.search(r"apptainer build (\S+) (\S+)$", RECIPE, flags=re.MULTILINE).groups()
    assert (ROOT / recipe).read_text() == RECIPE
    assert built in (ROOT / file).read_text().replace("*.sif", Path(built).name)


def test_every_dependency_is_pinned_exactly():
    extras = PROJECT["optional-dependencies"]
    for requirement in [*PROJECT["dependencies"], *(each for extra in extras.values() for each in extra)]:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", requirement), requirement


def test_the_citation_names_this_version():
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == specbeam.__version__
