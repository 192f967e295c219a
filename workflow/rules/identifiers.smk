# Identifiers of data sets of one's own, where they are to be learned: own_data.NAME.identifiers.


rule embed_items:
    """Embed items, from their texts, a table or co-occurrence."""
    input:
        unpack(embedded),
    output:
        embeddings="<run>/{dataset}/raw/embeddings.safetensors",
    log:
        "<run>/{dataset}/logs/embed_items.log",
    benchmark:
        "<run>/{dataset}/benchmarks/embed_items.tsv"
    wildcard_constraints:
        dataset=f"({'|'.join(IDENTIFIED)})",
    conda:
        "../envs/specbeam.yml"
    threads: settings.threads.embedding
    resources:
        **asks("embed_items", gpus=GPU),
    params:
        code=code("embed_items"),
        settings=reads("embed_items", "dataset"),
        own=lambda wildcards: stamps(*embedded(wildcards).values()),
        raw=subpath(input.train, parent=True),
    message:
        "{wildcards.dataset}: embed items (tail -f {log})"
    shell:
        "specbeam embed-items --dataset {wildcards.dataset} --raw {params.raw:q} "
        "--embeddings {output.embeddings:q} --settings {params.settings:q} --threads {threads} > {log:q} 2>&1"


rule identify_items:
    """Learn identifiers from embeddings, and report on them."""
    input:
        train=lambda wildcards: raw_files(wildcards.dataset)["train"],
        embeddings=rules.embed_items.output.embeddings,
    output:
        identifiers="<run>/{dataset}/raw/identifiers.json",
        report=expand("<run>/{{dataset}}/raw/identifiers.{form}", form=("csv", "txt")),
    log:
        "<run>/{dataset}/logs/identify_items.log",
    benchmark:
        "<run>/{dataset}/benchmarks/identify_items.tsv"
    wildcard_constraints:
        dataset=f"({'|'.join(IDENTIFIED)})",
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("identify_items"),
    params:
        code=code("identify_items"),
        settings=reads("identify_items", "dataset"),
        own=lambda wildcards: stamps(raw_files(wildcards.dataset)["train"]),
        raw=subpath(input.train, parent=True),
    message:
        "{wildcards.dataset}: learn identifiers (tail -f {log})"
    shell:
        "specbeam identify-items --dataset {wildcards.dataset} --raw {params.raw:q} --embeddings {input.embeddings:q} "
        "--identifiers {output.identifiers:q} --settings {params.settings:q} > {log:q} 2>&1"
