rule rate_baselines:
    """Recommend items to all test users by item-to-item counts and SASRec, and rate the lists."""
    input:
        prepared=rules.prepare_dataset.output.prepared,
    output:
        ranking="<run>/{dataset}/baselines/ranking.csv",
    log:
        "<run>/{dataset}/logs/rate_baselines.log",
    benchmark:
        "<run>/{dataset}/benchmarks/rate_baselines.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.target
    resources:
        **asks("rate_baselines", gpus=GPU if settings.baselines.sasrec else 0),
    params:
        code=code("rate_baselines"),
        settings=reads("rate_baselines"),
    message:
        "{wildcards.dataset}: rate the baselines (tail -f {log})"
    shell:
        "specbeam rate-baselines --prepared {input.prepared:q} --ranking {output.ranking:q} "
        "--settings {params.settings:q} --threads {threads} > {log:q} 2>&1"
