# What can be asked for by name: `snakemake beauty`, `snakemake atspeed_s`, `snakemake alignment`, `snakemake speedup`.

EVALUATED = every("measurement/evaluation/{objective}/seed-{seed}.parquet", objective=OBJECTIVES, seed=SEEDS)
TIMED = every("measurement/timing/K{K}.parquet", K=BEAM_WIDTHS)
ABLATED = every("figures/ablations.{form}", form=FORMS)
STAGE_TARGETS = {
    "download": (
        "raw files",
        [
            path
            for dataset in settings.datasets
            for part, path in raw_files(dataset).items()
            if part in SPLITS or dataset not in IDENTIFIED
        ],
    ),
    "identifiers": ("learned identifiers of own_data, and reports on them", learned),
    "prepare": ("splits, catalogue, tokenizer and statistics", every("prepared")),
    "target": (
        "the trained target, its lists and their ranking",
        every("target/{file}", file=("model", "ranking.csv")),
    ),
    "baselines": ("what a target has to beat, rated on the same users", every("baselines/ranking.csv")),
    "trajectories": (
        "the target's recorded beams and logits",
        every("trajectories/train-{shard}.safetensors", shard=SHARDS) + every("trajectories/valid.safetensors"),
    ),
    "alignment": (
        "one aligned draft an objective and seed",
        every("drafts/{objective}/seed-{seed}/model", objective=OBJECTIVES, seed=SEEDS),
    ),
    "measurement": ("acceptance, recall and timing records", EVALUATED + TIMED),
    "figures": ("all figures and the summary table", finished(settings.datasets)),
}
DATASET_TARGETS = {
    name: (f"Everything on the data set {name}, with this config's settings.", finished([name])) for name in DATASETS
}
# name -> (line in `snakemake --list`, files)
OTHER_TARGETS = {
    **{name: (f"Stage {name}: {what}.", files) for name, (what, files) in STAGE_TARGETS.items()},
    **{
        name: (
            f"Objective {name}: its aligned draft, evaluated.",
            every("measurement/evaluation/{objective}/seed-{seed}.parquet", objective=name, seed=SEEDS),
        )
        for name in OBJECTIVES
    },
    **{name: (f"Figure {name}.", every("figures/{figure}.{form}", figure=name, form=FORMS)) for name in FIGURES},
    "page": ("The run's summary page, and all that it shows.", rules.write_page.output.html),
    "coding": (
        "What identifiers do, over this config's data sets: codings of one catalogue.",
        rules.plot_coding.output,
    ),
    "ablations": ("The variants in this config's section `ablations`, and their figure.", ABLATED),
}

taken = {*OTHER_TARGETS, *(rule.name for rule in workflow.rules), "all", "unknown"}  # the last two follow in Snakefile
for name in sorted(taken & settings.own_data.keys()):
    raise WorkflowError(f"own_data: {name} is the name of a target or rule already: give this data set another one")

for target, (line, files) in {**DATASET_TARGETS, **OTHER_TARGETS}.items():

    rule:
        name:
            target
        input:
            files,
        localrule: True
        message:
            "{rule} is in {RESULTS}"

    # A docstring inside the rule would be the same text for all of them.
    workflow.get_rule(target).docstring = line
