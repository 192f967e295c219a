rule evaluate_draft:
    """Measure accepted levels, target calls and recall of one draft."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        target=rules.train_target.output.model,
        draft=aligned_draft,
    output:
        records="<run>/{dataset}/{variant}measurement/evaluation/{objective}/seed-{seed}.parquet",
        trees="<run>/{dataset}/{variant}measurement/trees/{objective}/seed-{seed}.parquet",
    log:
        "<run>/{dataset}/{variant}logs/evaluate_draft/{objective}/seed-{seed}.log",
    benchmark:
        "<run>/{dataset}/{variant}benchmarks/evaluate_draft/{objective}/seed-{seed}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.evaluation
    resources:
        **asks("evaluate_draft", gpus=GPU),
    params:
        code=code("evaluate"),
        settings=reads("evaluate", "variant"),
    message:
        "{wildcards.dataset}: evaluate {wildcards.objective}, seed {wildcards.seed} (tail -f {log})"
    shell:
        "specbeam evaluate --prepared {input.prepared:q} --target {input.target:q} --draft {input.draft:q} "
        "--objective {wildcards.objective} --draft-seed {wildcards.seed} --dataset {wildcards.dataset} "
        "--output {output.records:q} --trees {output.trees:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule time_methods:
    """Time all drafts, verifications and baselines at one K, with nothing else running."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        target=rules.train_target.output.model,
        drafts=expand(rules.align_draft.output.model, **OWN, seed=SEEDS[0], allow_missing=True),
    output:
        records="<run>/{dataset}/measurement/timing/K{K}.parquet",
    log:
        "<run>/{dataset}/logs/time_methods/K{K}.log",
    benchmark:
        "<run>/{dataset}/benchmarks/time_methods/K{K}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: alone
    resources:
        **asks("time_methods", gpus=GPU),
    params:
        code=code("time"),
        settings=reads("time"),
        drafts=named_drafts,
        threads=settings.threads.timing,
    message:
        "{wildcards.dataset}: time all methods, K={wildcards.K} (tail -f {log})"
    shell:
        "specbeam time {params.drafts:q} --prepared {input.prepared:q} --target {input.target:q} "
        "--dataset {wildcards.dataset} --beam-width {wildcards.K} --output {output.records:q} "
        "--settings {params.settings:q} --threads {params.threads} > {log:q} 2>&1"


rule record_search:
    """Record one test user's search node by node, for the figure that shows how a list comes about."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
        target=rules.train_target.output.model,
        draft=expand(rules.align_draft.output.model, variant="", objective=SHOWN, seed=SEEDS[0], allow_missing=True),
    output:
        example="<run>/{dataset}/measurement/example.json",
    log:
        "<run>/{dataset}/logs/record_search.log",
    benchmark:
        "<run>/{dataset}/benchmarks/record_search.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.evaluation
    resources:
        **asks("record_search", gpus=GPU),
    params:
        code=code("record_search"),
        settings=reads("record_search"),
        objective=SHOWN,
    message:
        "{wildcards.dataset}: record one user's search (tail -f {log})"
    shell:
        "specbeam record-search --prepared {input.prepared:q} --target {input.target:q} --draft {input.draft:q} "
        "--objective {params.objective} --output {output.example:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
