# Real data sets are fetched once, to results/downloads, and each run has a copy; the synthetic one is generated for its
# run. Snakemake deletes the outputs of a job that starts or fails: were they shared, a run would take them from another.


rule download_source:
    """Download one real data set, unless an earlier run has, and verify its checksums."""
    output:
        train="<run>/{dataset}/raw/sequential_train.txt",
        valid="<run>/{dataset}/raw/sequential_valid.txt",
        test="<run>/{dataset}/raw/sequential_test.txt",
        identifiers="<run>/{dataset}/raw/identifiers.json",
    log:
        "<run>/{dataset}/logs/download_source.log",
    benchmark:
        "<run>/{dataset}/benchmarks/download_source.tsv"
    wildcard_constraints:
        dataset="|".join(SOURCES),
    localrule: True  # nodes of a cluster often have no way to the internet
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        code=code("download"),
        store=DOWNLOADS,
        destination=subpath(output.train, parent=True),
    message:
        "{wildcards.dataset}: download and verify (tail -f {log})"
    shell:
        "specbeam download {wildcards.dataset} --store {params.store:q} --destination {params.destination:q} > {log:q} 2>&1"


rule generate_synthetic:
    """Generate the embedded catalogue and its users."""
    output:
        train="<run>/{dataset}/raw/sequential_train.txt",
        valid="<run>/{dataset}/raw/sequential_valid.txt",
        test="<run>/{dataset}/raw/sequential_test.txt",
        identifiers="<run>/{dataset}/raw/identifiers.json",
    log:
        "<run>/{dataset}/logs/generate_synthetic.log",
    benchmark:
        "<run>/{dataset}/benchmarks/generate_synthetic.tsv"
    wildcard_constraints:
        dataset="synthetic",
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("generate_synthetic"),
    params:
        code=code("generate"),
        settings=reads("generate"),
        destination=subpath(output.train, parent=True),
    message:
        "{wildcards.dataset}: generate a catalogue and users (tail -f {log})"
    shell:
        "specbeam generate-synthetic --destination {params.destination:q} --settings {params.settings:q} > {log:q} 2>&1"
