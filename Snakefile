# The pipeline, from downloads to figures. One config file is one run:
#
#     snakemake --cores all                                         the embedded default, config/config.yaml
#     snakemake --cores all --configfile config/beauty-small.yaml   another run
#     snakemake --list                                              what else can be asked for

import gc
import os
import re

from snakemake.exceptions import WorkflowError
from snakemake.utils import min_version
from specbeam.errors import SpecbeamError
from specbeam.files import read_yaml
from specbeam.settings import parse as validated

min_version("9.27")
# A plan is built of objects that all stay: looking for garbage among them took a seventh of the time (docs/scale.md).
gc.set_threshold(100_000)

# Snakemake would merge a --configfile into this one, so that its keys leaked into other runs.
if not workflow.config_settings.configfiles:

    configfile: "config/config.yaml"


try:
    for path in workflow.configfiles:
        read_yaml(path)  # refuses keys that are there twice, of which Snakemake takes the last
    settings = validated(config, source=", ".join(map(str, workflow.configfiles)))
except SpecbeamError as error:
    raise WorkflowError(str(error)) from None

if settings.source.mirror and not os.getenv("SPECBEAM_MIRROR"):
    # Through the environment: where the bytes came from is no reason to run anything again.
    os.environ.update(SPECBEAM_MIRROR=settings.source.mirror)


include: "workflow/rules/software.smk"
include: "workflow/rules/common.smk"


if GPU and workflow.local_exec and (gpus := workflow.global_resources.get("gpu").value):
    # Snakemake counts them, specbeam.gpus keeps jobs on different ones.
    visible = os.getenv("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(gpus)))
    os.environ.update(SPECBEAM_GPUS=visible)


pathvars:
    run=RESULTS,


wildcard_constraints:
    dataset="|".join(DATASETS),
    objective="|".join(OBJECTIVES),
    figure="|".join(FIGURES),
    K=r"\d+",
    shard=r"\d+",
    seed=r"\d+",
    variant=f"({'|'.join(map(re.escape, VARIANTS))})",  # in brackets: Snakemake ignores an empty constraint


report: "workflow/report/workflow.rst"


include: "workflow/rules/download.smk"
include: "workflow/rules/own_data.smk"
include: "workflow/rules/identifiers.smk"
include: "workflow/rules/prepare.smk"
include: "workflow/rules/target.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/trajectories.smk"
include: "workflow/rules/alignment.smk"
include: "workflow/rules/measurement.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/page.smk"
include: "workflow/rules/targets.smk"
include: "workflow/rules/lock.smk"


rule all:
    """Figures and the summary table of every data set in the config, and the run's page (the default)."""
    default_target: True
    input:
        finished(settings.datasets),
        rules.write_page.output.html,
    localrule: True
    message:
        "everything is in {RESULTS}"


rule unknown:
    """Stop with a message: whatever other name is asked for is no target."""
    input:
        no_such_target,
    output:
        "{target,[A-Za-z0-9_-]+}",
    localrule: True
