rule prepare_dataset:
    """Turn raw files into splits, catalogue, tokenizer and statistics."""
    input:
        unpack(lambda wildcards: raw_files(wildcards.dataset)),
        base=lambda wildcards: files_of_model(settings.target.model.base),  # its tokenizer
    output:
        prepared=directory("<run>/{dataset}/prepared"),
    log:
        "<run>/{dataset}/logs/prepare_dataset.log",
    benchmark:
        "<run>/{dataset}/benchmarks/prepare_dataset.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("prepare_dataset"),
    params:
        code=code("prepare"),
        settings=reads("prepare"),
        own=lambda wildcards: stamps(*raw_files(wildcards.dataset).values(), files_of_model(settings.target.model.base)),
        raw=subpath(input.train, parent=True),
    message:
        "{wildcards.dataset}: prepare splits, catalogue and tokenizer (tail -f {log})"
    shell:
        "specbeam prepare --raw {params.raw:q} --identifiers {input.identifiers:q} --prepared {output.prepared:q} --settings {params.settings:q} > {log:q} 2>&1"
