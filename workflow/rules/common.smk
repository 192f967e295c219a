# Functions and names that the rules share.
#
# The conda directives name environment.yml for `--sdm conda`, for machines without a set-up of their own (and since
# `snakemake --lint` asks for them). Without `--sdm` they do nothing: jobs run in the environment of Snakemake.

import json
from typing import get_args

from specbeam.digest import code_digest
from specbeam.settings import DatasetName
from specbeam.stages import FIGURES, STAGES, stage_values

DATASETS = get_args(DatasetName)
OBJECTIVES = list(settings.alignment.objectives)
BEAM_WIDTHS = settings.measurement.beam_widths
SHARDS = range(settings.trajectories.shards)
RESULTS = f"results/{settings.run}"
GPU = 0 if settings.device == "cpu" else 1  # a job that loads models; `--resources gpu=1` keeps them apart


def reads(stage, *, objective=None):
    """The settings a stage depends on, as JSON: when they change, its jobs run again."""
    return json.dumps(stage_values(settings, stage, objective=objective))


def code(stage):
    """Digest of the library code a stage runs: when it changes, the stage's jobs run again."""
    return code_digest(STAGES[stage].module)


def raw_files(dataset):
    """Files of a data set before preparation: generated ones belong to their run, downloads to all runs."""
    folder = f"{RESULTS}/synthetic/raw" if dataset == "synthetic" else f"results/downloads/{dataset}"
    splits = {split: f"{folder}/sequential_{split}.txt" for split in ("train", "valid", "test")}
    return {**splits, "identifiers": f"{folder}/identifiers.json"}


def alone(wildcards):
    """Cores of a timing job: all of them, since a job beside it would slow some methods more than others.

    The job itself uses settings.threads.timing. On a cluster `--cores` is not set, and the scheduler keeps jobs apart.
    """
    return workflow.cores if workflow.local_exec and workflow._cores else settings.threads.timing


def no_such_target(wildcards):
    """Stop with the way to the names that there are; Snakemake's own message speaks of rules and input functions."""
    raise WorkflowError(f"there is no target {wildcards.target}; `snakemake --list` shows what can be asked for")


def named_drafts(wildcards, input):
    """The drafts to time, as OBJECTIVE=FOLDER."""
    return [f"{objective}={folder}" for objective, folder in zip(OBJECTIVES, input.drafts, strict=True)]


def shown(wildcards):
    """What a figure is drawn from."""
    dataset = f"{RESULTS}/{wildcards.dataset}"
    evaluation = expand(f"{dataset}/measurement/evaluation/{{objective}}.parquet", objective=OBJECTIVES)
    timing = expand(f"{dataset}/measurement/timing/K{{K}}.parquet", K=BEAM_WIDTHS)
    drafts = expand(f"{dataset}/drafts/{{draft}}/loss.csv", draft=["base", *OBJECTIVES])
    return {
        "speedup": timing,
        "accepted": evaluation,
        "trees": expand(f"{dataset}/measurement/trees/{{objective}}.parquet", objective=OBJECTIVES),
        "recall": [*evaluation, f"{dataset}/target/ranking.csv"],
        "phases": timing,
        "loss": [f"{dataset}/target/loss.csv", *drafts],
    }[wildcards.figure]


def every(template, *, datasets=settings.datasets, **wildcards):
    """Paths below the run's folder, for each data set and all combinations of `wildcards`."""
    return expand(f"{RESULTS}/{{dataset}}/{template}", dataset=datasets, **wildcards)


def finished(datasets):
    """What a data set is done with: its figures and its table."""
    return [
        *every("figures/{figure}.{form}", datasets=datasets, figure=FIGURES, form=("png", "svg", "csv")),
        *every("summary.{form}", datasets=datasets, form=("csv", "txt")),
    ]
