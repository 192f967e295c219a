rule train_target:
    """Train the target model; the epoch with the best validation loss is kept."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        base=lambda wildcards: files_of_model(settings.target.model.base),
    output:
        model=directory("<run>/{dataset}/target/model"),
        losses="<run>/{dataset}/target/loss.csv",
    log:
        "<run>/{dataset}/logs/train_target.log",
    benchmark:
        "<run>/{dataset}/benchmarks/train_target.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.target
    resources:
        **asks("train_target", gpus=GPU * settings.target.training.processes),
    params:
        code=code("train_target"),
        settings=reads("train_target"),
        own=lambda wildcards: stamps(files_of_model(settings.target.model.base)),
    message:
        "{wildcards.dataset}: train the target (tail -f {log})"
    shell:
        "specbeam train-target --prepared {input.prepared:q} --model {output.model:q} --losses {output.losses:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule recommend_items:
    """Recommend items to all test users by the target's beam search, and rate the lists."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        model=rules.train_target.output.model,
    output:
        lists="<run>/{dataset}/target/lists.parquet",
        ranking="<run>/{dataset}/target/ranking.csv",
    log:
        "<run>/{dataset}/logs/recommend_items.log",
    benchmark:
        "<run>/{dataset}/benchmarks/recommend_items.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.target
    resources:
        **asks("recommend_items", gpus=GPU),
    params:
        code=code("infer_target"),
        settings=reads("infer_target"),
    message:
        "{wildcards.dataset}: recommend items by the target's beam search (tail -f {log})"
    shell:
        "specbeam infer-target --prepared {input.prepared:q} --model {input.model:q} --lists {output.lists:q} "
        "--ranking {output.ranking:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
