rule record_trajectories:
    """Record the target's beams and logits for one shard of the training prompts."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        model=rules.train_target.output.model,
    output:
        shard="<run>/{dataset}/trajectories/train-{shard}.safetensors",
    log:
        "<run>/{dataset}/logs/record_trajectories/{shard}.log",
    benchmark:
        "<run>/{dataset}/benchmarks/record_trajectories/{shard}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.trajectories
    resources:
        **asks("record_trajectories", gpus=GPU),
    params:
        code=code("record"),
        settings=reads("record"),
        shards=settings.trajectories.shards,
    message:
        "{wildcards.dataset}: record the target's beams, shard {wildcards.shard} (tail -f {log})"
    shell:
        "specbeam record-trajectories --prepared {input.prepared:q} --model {input.model:q} "
        "--split train --shard {wildcards.shard} --shards {params.shards} "
        "--output {output.shard:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule record_validation:
    """Record the target's beams and logits for the validation prompts."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        model=rules.train_target.output.model,
    output:
        shard="<run>/{dataset}/trajectories/valid.safetensors",
    log:
        "<run>/{dataset}/logs/record_validation.log",
    benchmark:
        "<run>/{dataset}/benchmarks/record_validation.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.trajectories
    resources:
        **asks("record_validation", gpus=GPU),
    params:
        code=code("record_validation"),
        settings=reads("record_validation"),
    message:
        "{wildcards.dataset}: record the target's beams, validation (tail -f {log})"
    shell:
        "specbeam record-trajectories --prepared {input.prepared:q} --model {input.model:q} "
        "--split valid "
        "--output {output.shard:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
