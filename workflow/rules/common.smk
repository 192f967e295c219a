# Functions and names that the rules share.

import functools
import json
from pathlib import Path

from specbeam.data import IDENTIFIERS, ITEMS, SPLITS, file_of
from specbeam.data.registry import SOURCES
from specbeam.digest import code_digest
from specbeam.finished_run import DEFAULT_OBJECTIVE
from specbeam.interactions.paths import matching
from specbeam.settings import variants
from specbeam.stages import FIGURES, STAGES, differs, stage_values

DATASETS = settings.all_datasets
READ = [name for name, own in settings.own_data.items() if own.interactions]  # from files of interactions
IDENTIFIED = [name for name, own in settings.own_data.items() if own.identifiers]  # whose identifiers are learned
OBJECTIVES = list(settings.alignment.objectives)
SHOWN = DEFAULT_OBJECTIVE if DEFAULT_OBJECTIVE in OBJECTIVES else OBJECTIVES[0]  # the draft that an example is of
SEEDS = settings.draft.seeds  # of the drafts; target and trajectories have settings.seed
BEAM_WIDTHS = settings.measurement.beam_widths
SHARDS = range(settings.trajectories.shards)
FORMS = ("png", "svg", "csv", "txt")  # of a figure: the last two are its data and its caption
RESULTS = f"results/{settings.run}"
DOWNLOADS = "results/downloads"  # of all runs
OWN = {"variant": "", "objective": OBJECTIVES}  # the run's drafts, not those of its variants
# folder -> settings: of the run, which lies in the data set's own folder, and of the variants of its ablations
VARIANTS = {"": settings, **{f"ablations/{name}/{label}/": made for (name, label), made in variants(settings).items()}}
GPU = 0 if settings.device == "cpu" else 1  # a job that loads models; `--resources gpu=1` keeps them apart


@functools.cache  # jobs by the thousand ask for the same few
def values(stage, variant="", objective=None, dataset=None):
    """The settings that a stage reads, as JSON."""
    return json.dumps(stage_values(VARIANTS[variant], stage, objective=objective, dataset=dataset))


def reads(stage, *wildcards):
    """The settings a stage depends on: when they change, it runs again.

    They are those of the job's `wildcards` (variant, objective, dataset). A function of the job, since Snakemake would
    take braces in a plain value for wildcards.
    """
    return lambda job: values(stage, **{name: job[name] for name in wildcards})


def code(stage):
    """Digest of the library code a stage runs: when it changes, the stage's jobs run again."""
    return code_digest(STAGES[stage].module)


def asks(rule, *, gpus=0):
    """Memory, time and GPUs of a rule's jobs, more at each attempt, and what a cluster is told besides."""
    asked, slurm = settings.resources, settings.resources.slurm
    own = getattr(asked.rules, rule)
    memory, minutes = own.memory_mb or asked.memory_mb, own.runtime_minutes or asked.runtime_minutes
    on_gpu = GPU and gpus
    exclusive = "--exclusive" if rule == "time_methods" and slurm.exclusive_timing else ""
    cluster = {
        "slurm_partition": on_gpu and slurm.gpu_partition or slurm.partition,
        "slurm_account": slurm.account,
        "qos": on_gpu and slurm.gpu_qos or slurm.qos,
        "constraint": on_gpu and slurm.gpu_constraint or slurm.constraint,
        "slurm_extra": f"{slurm.extra or ''} {exclusive}".strip(),
    }
    return {
        "mem_mb": lambda wildcards, attempt: attempt * memory,
        "runtime": lambda wildcards, attempt: attempt * minutes,
        "gpu": gpus,
        "nodes": 1,  # Slurm would gather the GPUs of a job from several
        "slot": 1,  # the slurm profile has one for each submission: jobs grouped in it go one after the other
        **{name: value for name, value in cluster.items() if value},
    }


def reported(path, caption, group, **labels):
    """An output that `snakemake --report` shows: below its data set, in a group; its caption is in workflow/report/."""
    form = {"png": "picture", "csv": "table", "txt": "text"}[path.rpartition(".")[2]]
    place = {"category": "{dataset}", "subcategory": group, "labels": {**labels, "as": form}}  # labels must differ
    return report(path, caption=f"../report/{caption}.rst", **place)


def raw_files(dataset):
    """Files of a data set before preparation: in its run, but for ready files of one's own."""
    made = folder = f"{RESULTS}/{dataset}/raw"
    if dataset in settings.own_data and dataset not in READ:
        folder = settings.own_data[dataset].sequences.rstrip("/")
        copies = {f"{DOWNLOADS}/{name}": f"{RESULTS}/{name}/raw" for name in SOURCES}
        folder = copies.get(folder, folder)  # a download may be named as ready files too
    splits = {split: f"{folder}/{file_of(split)}" for split in SPLITS}
    named_by = made if dataset in IDENTIFIED else folder
    return {**splits, "identifiers": f"{named_by}/{IDENTIFIERS}"}


def files_of_model(name):
    """Weights, sizes and tokens of a model in a local folder; none of a hub model, which its revision pins."""
    kinds = (".safetensors", ".json", ".txt", ".jinja", ".model")
    return [str(file) for file in sorted(Path(name).rglob("*")) if file.suffix in kinds] if name else []


def embedded(wildcards):
    """What items are embedded from: users' items; texts, a table of vectors and a model's folder, where there are any."""
    raw = {name: path for name, path in raw_files(wildcards.dataset).items() if name in SPLITS}
    items = f"{os.path.dirname(raw['train'])}/{ITEMS}"
    own = settings.own_data[wildcards.dataset].identifiers.embeddings
    there = wildcards.dataset in READ or os.path.exists(items)
    return raw | {
        "item_table": [items] if there else [],
        "table": [own.file] if own.file else [],
        "model": files_of_model(own.model),
    }


def learned(wildcards):
    """Identifiers that are learned, and reports on them."""
    if not IDENTIFIED:
        raise WorkflowError("no data set of this config learns identifiers; config/coding.yaml has several that do")
    return every("raw/identifiers.{form}", datasets=IDENTIFIED, form=("json", "csv", "txt"))


def interaction_files(wildcards):
    """The files that a data set of one's own is read from."""
    own = settings.own_data[wildcards.dataset]
    try:
        return matching([*own.interactions.files, *(own.items.files if own.items else ())])
    except SpecbeamError as error:
        raise WorkflowError(f"own_data.{wildcards.dataset}: {error}") from None


def stamps(*inputs):
    """Sizes and times of the user's own among a job's inputs, files or lists of them: a param of jobs that read any.

    By times alone Snakemake would miss a file that is older than the results: a copy that kept its time, a backup.
    Whole seconds, since archives keep no more.
    """
    files = [file for part in inputs for file in ([part] if isinstance(part, str) else part)]
    found = [os.stat(file) for file in files if not str(file).startswith(f"{RESULTS}/")]
    return [(file.st_size, int(file.st_mtime)) for file in found]


def alone(wildcards):
    """Cores of a timing job: all of them, since a job beside it would slow some methods more than others.

    The job itself uses settings.threads.timing. On a cluster `--cores` is not set, and the scheduler keeps jobs apart.
    """
    return workflow.cores if workflow.local_exec and workflow._cores else settings.threads.timing


def no_such_target(wildcards):
    """Stop with the way to the names that there are; Snakemake's own message speaks of rules and input functions."""
    raise WorkflowError(f"there is no target {wildcards.target}; `snakemake --list` shows what can be asked for")


@functools.cache
def made_in(variant, stage, objective):
    """Folder of what a stage makes for a variant: the variant's own if its settings differ up to there, or the run's."""
    return variant if differs(settings, VARIANTS[variant], stage, objective) else ""


def teacher(wildcards):
    """The target, for a first draft that learns from it or is cut from it."""
    draft = VARIANTS[wildcards.variant].draft
    needed = draft.training.distil or draft.model.from_target is not None
    return expand(rules.train_target.output.model, dataset=wildcards.dataset) if needed else []


def base_draft(wildcards):
    """The draft that a variant's alignment starts from."""
    variant = made_in(wildcards.variant, "train_draft", wildcards.objective)
    return expand(rules.train_draft.output.model, **{**wildcards, "variant": variant})


def aligned_draft(wildcards):
    """The draft that a variant evaluates."""
    variant = made_in(wildcards.variant, "align", wildcards.objective)
    return expand(rules.align_draft.output.model, **{**wildcards, "variant": variant})


def ablated(dataset):
    """(ABLATION/LABEL, evaluation records) of every variant, for the objectives that an ablation changes.

    Before them, under the name `run`, those of the run itself.
    """
    if not settings.ablations:
        raise WorkflowError("this config has no section `ablations`; config/ablations.yaml has one")
    at, found = {"dataset": dataset, "seed": SEEDS}, []
    for name, labels in settings.ablations.items():
        if not any(made_in(f"ablations/{name}/{label}/", "evaluate", own) for label in labels for own in OBJECTIVES):
            raise WorkflowError(
                f"ablations.{name}: expected a variant that differs from the run; all are the run itself"
            )
        for objective in OBJECTIVES:
            folders = [made_in(f"ablations/{name}/{label}/", "evaluate", objective) for label in labels]
            if any(folders):
                for label, folder in {"run": "", **{f"{name}/{label}": f for label, f in zip(labels, folders)}}.items():
                    files = expand(rules.evaluate_draft.output.records, variant=folder, objective=objective, **at)
                    found += [(label, path) for path in files]
    return list(dict.fromkeys(found))


def coded():
    """(data set, path) of what the figure of codings is drawn from: catalogue, records, and the target's ranking."""
    if len(settings.datasets) < 2:
        raise WorkflowError("this config has one data set; config/coding.yaml has several codings of one catalogue")
    evaluation = expand("measurement/evaluation/{objective}/seed-{seed}.parquet", objective=OBJECTIVES, seed=SEEDS)
    files = ["prepared", "target/ranking.csv", *evaluation]
    return [(name, f"{RESULTS}/{name}/{file}") for name in settings.datasets for file in files]


def named_drafts(wildcards, input):
    """The drafts to time, as OBJECTIVE=FOLDER."""
    return [f"{objective}={folder}" for objective, folder in zip(OBJECTIVES, input.drafts, strict=True)]


def shown(wildcards):
    """What a figure is drawn from."""
    dataset = f"{RESULTS}/{wildcards.dataset}"
    each = {"objective": OBJECTIVES, "seed": SEEDS}
    evaluation = expand(f"{dataset}/measurement/evaluation/{{objective}}/seed-{{seed}}.parquet", **each)
    timing = expand(f"{dataset}/measurement/timing/K{{K}}.parquet", K=BEAM_WIDTHS)
    aligned = expand(f"{dataset}/drafts/{{objective}}/seed-{{seed}}/loss.csv", **each)
    first = expand(f"{dataset}/drafts/base/seed-{{seed}}/loss.csv", seed=SEEDS)
    return {
        "speedup": timing,
        "pareto": [*evaluation, *timing],
        "accepted": evaluation,
        "levels": evaluation,
        "calls": evaluation,
        "trees": expand(f"{dataset}/measurement/trees/{{objective}}/seed-{{seed}}.parquet", **each),
        "recall": [*evaluation, f"{dataset}/target/ranking.csv", f"{dataset}/baselines/ranking.csv"],
        "phases": timing,
        "agreement": aligned,
        "loss": [f"{dataset}/target/loss.csv", *first, *aligned],
        "trie": f"{dataset}/prepared",
        "example": f"{dataset}/measurement/example.json",
    }[wildcards.figure]


def every(template, *, datasets=settings.datasets, **wildcards):
    """Paths below the run's folder, for each data set and all combinations of `wildcards`."""
    return expand(f"{RESULTS}/{{dataset}}/{template}", dataset=datasets, **wildcards)


def finished(datasets):
    """What a data set is done with: its figures and its table, and all that these are made from.

    Of what it is not asked for, Snakemake misses nothing: had a job that runs again been killed, the next call would
    find its result gone, the figures of before there, and nothing to do.
    """
    each = {"datasets": datasets, "objective": OBJECTIVES, "seed": SEEDS}
    return [
        *(path for name in datasets for path in raw_files(name).values() if path.startswith(f"{RESULTS}/")),
        *every("raw/embeddings.safetensors", datasets=[name for name in datasets if name in IDENTIFIED]),
        *every("prepared", datasets=datasets),
        *every("target/model", datasets=datasets),
        *every("{who}/ranking.csv", datasets=datasets, who=("target", "baselines")),
        *every("trajectories/{part}.safetensors", datasets=datasets, part=[*(f"train-{n}" for n in SHARDS), "valid"]),
        *every("drafts/base/seed-{seed}/model", datasets=datasets, seed=SEEDS),
        *every("drafts/{objective}/seed-{seed}/model", **each),
        *every("measurement/{kind}/{objective}/seed-{seed}.parquet", kind=("evaluation", "trees"), **each),
        *every("measurement/timing/K{K}.parquet", datasets=datasets, K=BEAM_WIDTHS),
        *every("measurement/example.json", datasets=datasets),
        *every("figures/{figure}.{form}", datasets=datasets, figure=FIGURES, form=FORMS),
        *every("summary.{form}", datasets=datasets, form=("csv", "txt")),
    ]
