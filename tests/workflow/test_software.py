"""Under `--sdm conda` and `--sdm apptainer` jobs run by the interpreter that these provide, with the checkout's code.

Neither is on every machine, so stand-ins answer what Snakemake asks of them: an environment is a venv that borrows this
one's packages (not this project) and notes who starts its interpreter; an image is a file that names such a venv.
"""

import os
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

IMAGE = "workflow/envs/specbeam.sif"
CONDA = """#!/bin/bash
case "$*" in
    "info --json") echo '{{"conda_prefix": "{folder}", "platform": "linux-64"}}' ;;
    "--version") echo "conda 25.1.0" ;;
    "clean -y --tarballs") ;;
    "config --get channel_priority --json") echo '{{"get": {{"channel_priority": "strict"}}}}' ;;
    "env create --quiet --no-default-packages --file "*" --prefix "*)
        ! grep -e '-e \\.' "$6" && cp -r "{folder}/software" "$8" ;;
    *) echo "the stand-in knows no: conda $*" >&2; exit 2 ;;
esac
"""
ACTIVATE = 'export PATH="$1/bin:$PATH"\n'
APPTAINER = """#!/bin/bash
if [ "$1" = --version ]; then echo "apptainer version 1.3.6"; exit; fi
[ "$1" = exec ] || exit 2
shift
while [[ "$1" == --* ]]; do shift 2; done
PATH="$(cat "$1")/bin:/usr/bin:/bin" "${{@:2}}" &
wait $!
"""
NOTE = "import os, sys; open({noted!r}, 'a').write(sys.prefix + os.linesep)\n"


@pytest.fixture
def software(tmp_path_factory):
    """A folder with the programs in bin/, the environment in software/, and in `noted` who has run by it."""
    folder = tmp_path_factory.mktemp("software")
    venv.create(folder / "software", symlinks=True)
    packages = sysconfig.get_path("purelib")
    (own,) = (folder / "software").glob("lib/python*/site-packages")
    (own / "stand_in.pth").write_text(NOTE.format(noted=str(folder / "noted")) + f"{packages}\n")
    (folder / "bin").mkdir()
    for name, text in {"conda": CONDA, "activate": ACTIVATE, "apptainer": APPTAINER}.items():
        (folder / "bin" / name).write_text(text.format(folder=folder))
        (folder / "bin" / name).chmod(0o755)
    return folder


@pytest.mark.parametrize("way", ["conda", "apptainer"])
def test_jobs_run_by_the_interpreter_that_was_chosen_and_what_they_made_holds_for_the_others(checkout, software, way):
    image = checkout.folder / IMAGE
    image.write_text(f"{software}/software\n")
    path = f"{software}/bin:{os.environ['PATH']}"
    done = checkout.snakemake("download", "--sdm", way, PATH=path)
    assert done.returncode == 0, done.stdout

    ran = {Path(prefix) for prefix in (software / "noted").read_text().splitlines()}
    made = [folder for folder in (checkout.folder / ".snakemake/conda").glob("*") if folder.is_dir()]
    assert ran == {"conda": set(made), "apptainer": {software / "software"}}[way]
    assert len(ran) == 1
    assert Path(sys.prefix) not in ran
    assert (checkout.folder / "results/smoke/synthetic/raw.provenance.json").exists()

    image.unlink()
    assert checkout.planned("download") == {}


def test_a_missing_image_is_named_with_the_command_that_builds_it(checkout, software):
    refused = checkout.snakemake("download", "--sdm", "apptainer", PATH=f"{software}/bin:{os.environ['PATH']}")
    assert refused.returncode == 1
    build = f"apptainer build {IMAGE} workflow/envs/specbeam.def"
    assert f"expected the image {IMAGE}; build it: {build}" in refused.stdout
