rule train_draft:
    """Train the draft that all objectives start from, as a language model or by distillation of the target."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        target=teacher,
        base=lambda wildcards: files_of_model(VARIANTS[wildcards.variant].draft.model.base),
    output:
        model=directory("<run>/{dataset}/{variant}drafts/base/seed-{seed}/model"),
        losses="<run>/{dataset}/{variant}drafts/base/seed-{seed}/loss.csv",
    log:
        "<run>/{dataset}/{variant}logs/train_draft/seed-{seed}.log",
    benchmark:
        "<run>/{dataset}/{variant}benchmarks/train_draft/seed-{seed}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.draft
    resources:
        **asks("train_draft", gpus=lambda wildcards: GPU * VARIANTS[wildcards.variant].draft.training.processes),
    params:
        code=code("train_draft"),
        settings=reads("train_draft", "variant"),
        own=lambda wildcards: stamps(files_of_model(VARIANTS[wildcards.variant].draft.model.base)),
    message:
        "{wildcards.dataset}: train the draft to start from, seed {wildcards.seed} (tail -f {log})"
    shell:
        "specbeam train-draft {input.target:q} --prepared {input.prepared:q} --seed {wildcards.seed} "
        "--model {output.model:q} --losses {output.losses:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule align_draft:
    """Align a draft to the target by one objective."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        base=base_draft,
        valid=rules.record_validation.output.shard,
        shards=expand(rules.record_trajectories.output.shard, shard=SHARDS, allow_missing=True),
    output:
        model=directory("<run>/{dataset}/{variant}drafts/{objective}/seed-{seed}/model"),
        losses="<run>/{dataset}/{variant}drafts/{objective}/seed-{seed}/loss.csv",
    log:
        "<run>/{dataset}/{variant}logs/align_draft/{objective}/seed-{seed}.log",
    benchmark:
        "<run>/{dataset}/{variant}benchmarks/align_draft/{objective}/seed-{seed}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.draft
    resources:
        **asks("align_draft", gpus=lambda wildcards: GPU * VARIANTS[wildcards.variant].alignment.training.processes),
    params:
        code=code("align"),
        settings=reads("align", "variant", "objective"),
    message:
        "{wildcards.dataset}: align a draft, {wildcards.objective}, seed {wildcards.seed} (tail -f {log})"
    shell:
        "specbeam align {input.shards:q} --valid {input.valid:q} --prepared {input.prepared:q} --base {input.base:q} "
        "--objective {wildcards.objective} --seed {wildcards.seed} --model {output.model:q} --losses {output.losses:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
