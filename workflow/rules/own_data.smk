rule read_interactions:
    """Read interactions of one's own, filter and split them."""
    input:
        interaction_files,
    output:
        train="<run>/{dataset}/raw/sequential_train.txt",
        valid="<run>/{dataset}/raw/sequential_valid.txt",
        test="<run>/{dataset}/raw/sequential_test.txt",
        key_tables=expand("<run>/{{dataset}}/raw/{of}.parquet", of=("items", "users")),
        report="<run>/{dataset}/raw/reading.json",
    log:
        "<run>/{dataset}/logs/read_interactions.log",
    benchmark:
        "<run>/{dataset}/benchmarks/read_interactions.tsv"
    wildcard_constraints:
        dataset=f"({'|'.join(READ)})",  # in brackets: Snakemake ignores an empty constraint
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("read_interactions"),
    params:
        code=code("read_interactions"),
        settings=reads("read_interactions", "dataset"),
        own=lambda wildcards: stamps(interaction_files(wildcards)),
        raw=subpath(output.train, parent=True),
    message:
        "{wildcards.dataset}: read, filter and split interactions (tail -f {log})"
    shell:
        "specbeam read-interactions --dataset {wildcards.dataset} --raw {params.raw:q} --settings {params.settings:q} > {log:q} 2>&1"
