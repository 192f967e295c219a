CODING = {"caption": "../report/coding.rst", "category": "Codings"}


rule plot_figure:
    """Draw one figure, as PNG and SVG, with its data (CSV) and its caption."""
    input:
        shown,
    output:
        png=reported("<run>/{dataset}/figures/{figure}.png", "figure", "figures", figure="{figure}"),
        svg="<run>/{dataset}/figures/{figure}.svg",
        csv=reported("<run>/{dataset}/figures/{figure}.csv", "figure", "figures", figure="{figure}"),
        caption="<run>/{dataset}/figures/{figure}.txt",
    log:
        "<run>/{dataset}/logs/plot_figure/{figure}.log",
    benchmark:
        "<run>/{dataset}/benchmarks/plot_figure/{figure}.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("plot_figure"),
    params:
        code=lambda wildcards: code(wildcards.figure),
        stem=subpath(output.png, strip_suffix=".png"),
    message:
        "{wildcards.dataset}: draw {wildcards.figure} (tail -f {log})"
    shell:
        "specbeam plot {wildcards.figure} {input:q} --output {params.stem:q} > {log:q} 2>&1"


rule plot_ablations:
    """Draw acceptance by what a config's ablations vary, as PNG and SVG, with its data (CSV) and its caption."""
    input:
        lambda wildcards: [path for _, path in ablated(wildcards.dataset)],
    output:
        png=reported("<run>/{dataset}/figures/ablations.png", "ablations", "figures", figure="ablations"),
        svg="<run>/{dataset}/figures/ablations.svg",
        csv=reported("<run>/{dataset}/figures/ablations.csv", "ablations", "figures", figure="ablations"),
        caption="<run>/{dataset}/figures/ablations.txt",
    log:
        "<run>/{dataset}/logs/plot_ablations.log",
    benchmark:
        "<run>/{dataset}/benchmarks/plot_ablations.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("plot_ablations"),
    params:
        code=code("ablations"),
        named=lambda wildcards: [f"{name}={path}" for name, path in ablated(wildcards.dataset)],
        stem=subpath(output.png, strip_suffix=".png"),
    message:
        "{wildcards.dataset}: draw ablations (tail -f {log})"
    shell:
        "specbeam plot ablations {params.named:q} --output {params.stem:q} > {log:q} 2>&1"


rule plot_coding:
    """Draw what identifiers do to recall and acceptance, over the run's data sets, with its data (CSV) and its caption."""
    input:
        lambda wildcards: [path for _, path in coded()],
    output:
        png=report("<run>/figures/coding.png", **CODING, labels={"figure": "coding", "as": "picture"}),
        svg="<run>/figures/coding.svg",
        csv=report("<run>/figures/coding.csv", **CODING, labels={"figure": "coding", "as": "table"}),
        caption="<run>/figures/coding.txt",
    log:
        "<run>/logs/plot_coding.log",
    benchmark:
        "<run>/benchmarks/plot_coding.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("plot_coding"),
    params:
        code=code("coding"),
        named=lambda wildcards: [f"{name}={path}" for name, path in coded()],
        stem=subpath(output.png, strip_suffix=".png"),
    message:
        "draw coding (tail -f {log})"
    shell:
        "specbeam plot coding {params.named:q} --output {params.stem:q} > {log:q} 2>&1"


rule summarise_run:
    """Put the run's main numbers into one table."""
    input:
        timing=expand(rules.time_methods.output.records, K=BEAM_WIDTHS, allow_missing=True),
        evaluation=expand(rules.evaluate_draft.output.records, **OWN, seed=SEEDS, allow_missing=True),
        target=rules.recommend_items.output.ranking,
        baselines=rules.rate_baselines.output.ranking,
    output:
        csv=reported("<run>/{dataset}/summary.csv", "summary", "results", table="everything measured"),
        text=reported("<run>/{dataset}/summary.txt", "summary", "results", table="the largest K and N"),
        acceptance="<run>/{dataset}/acceptance.md",
    log:
        "<run>/{dataset}/logs/summarise_run.log",
    benchmark:
        "<run>/{dataset}/benchmarks/summarise_run.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("summarise_run"),
    params:
        code=code("summarise"),
        run=settings.run,
    message:
        "{wildcards.dataset}: summarise (tail -f {log})"
    shell:
        "specbeam summarise {input.timing:q} {input.evaluation:q} {input.target:q} {input.baselines:q} "
        "--run {params.run:q} --output {output.csv:q} > {log:q} 2>&1"
