rule train_draft:
    """Train the draft that all objectives start from, as a language model or by distillation of the target."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        target=rules.train_target.output.model if settings.draft.training.distil else [],
    output:
        model=directory("<run>/{dataset}/drafts/base/model"),
        losses="<run>/{dataset}/drafts/base/loss.csv",
    log:
        "<run>/{dataset}/logs/train_draft.log",
    benchmark:
        "<run>/{dataset}/benchmarks/train_draft.tsv"
    conda:
        "../../environment.yml"
    threads: settings.threads.draft
    resources:
        mem_mb=settings.resources.memory_mb,
        gpu=GPU,
    params:
        code=code("train_draft"),
        settings=reads("train_draft"),
    message:
        "{wildcards.dataset}: train the draft to start from (tail -f {log})"
    shell:
        "specbeam train-draft {input.target:q} --prepared {input.prepared:q} --model {output.model:q} "
        "--losses {output.losses:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule align_draft:
    """Align a draft to the target by one objective."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        base=rules.train_draft.output.model,
        valid=rules.record_validation.output.shard,
        shards=expand(rules.record_trajectories.output.shard, shard=SHARDS, allow_missing=True),
    output:
        model=directory("<run>/{dataset}/drafts/{objective}/model"),
        losses="<run>/{dataset}/drafts/{objective}/loss.csv",
    log:
        "<run>/{dataset}/logs/align_draft/{objective}.log",
    benchmark:
        "<run>/{dataset}/benchmarks/align_draft/{objective}.tsv"
    conda:
        "../../environment.yml"
    threads: settings.threads.draft
    resources:
        mem_mb=settings.resources.memory_mb,
        gpu=GPU,
    params:
        code=code("align"),
        settings=lambda wildcards: reads("align", objective=wildcards.objective),
    message:
        "{wildcards.dataset}: align a draft, {wildcards.objective} (tail -f {log})"
    shell:
        "specbeam align {input.shards:q} --valid {input.valid:q} --prepared {input.prepared:q} --base {input.base:q} "
        "--objective {wildcards.objective} --model {output.model:q} --losses {output.losses:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
