# What jobs run in: the environment of Snakemake; under `--sdm conda`, the one that Snakemake makes of
# workflow/envs/specbeam.yml; under `--sdm apptainer`, the image of workflow/envs/specbeam.def. The last two hold packages
# alone, and jobs take the code from this checkout. Without `--sdm`, the directives `conda` and `container` do nothing.

import os
import shlex
import sys
from pathlib import Path

from snakemake.settings.types import DeploymentMethod

IMAGE = "workflow/envs/specbeam.sif"
SDM = set(workflow.deployment_settings.deployment_method)


container: IMAGE


if DeploymentMethod.APPTAINER in SDM and not Path(IMAGE).exists():
    raise WorkflowError(
        f"--sdm apptainer: expected the image {IMAGE}; build it: apptainer build {IMAGE} workflow/envs/specbeam.def"
    )

# Whatever PATH says, or, under `--sdm`, as the environment's says.
python = [sys.executable]
if SDM & {DeploymentMethod.CONDA, DeploymentMethod.APPTAINER}:
    python = ["env", "PYTHONNOUSERSITE=1", f"PYTHONPATH={Path(workflow.basedir) / 'src'}", "python"]
command = shlex.join([*python, "-m", "specbeam"])
process = os.getpid()  # that jobs end with

# Rules call `specbeam`.
shell.prefix('set -euo pipefail; specbeam() {{ SPECBEAM_PARENT={process} exec {command} "$@"; }}; ')
