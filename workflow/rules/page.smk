# The last thing that a run makes. `snakemake --report` shows it, and its parts below their data set.

BY_PART = {
    "patterns": ["{dataset}/{part}.html"],
    "category": "{dataset}",
    "subcategory": "{part}",
    "labels": {"page": "measured, losses, jobs"},
}


rule write_page:
    """Write the run's summary page, and its tables by data set and objective."""
    input:
        finished(settings.datasets),
        evaluation=every("measurement/evaluation/{objective}/seed-{seed}.parquet", objective=OBJECTIVES, seed=SEEDS),
    output:
        html="<run>/index.html",
        summary=report("<run>/summary.html", caption="../report/page.rst", category="Summary", labels={"page": "all"}),
        parts=report(directory("<run>/parts"), caption="../report/part.rst", **BY_PART),
    log:
        "<run>/logs/write_page.log",
    benchmark:
        "<run>/benchmarks/write_page.tsv"
    conda:
        "../envs/specbeam.yml"
    threads: 1
    resources:
        **asks("write_page"),
    params:
        code=code("page"),
        run=subpath(output.html, parent=True),
    message:
        "write the summary page (tail -f {log})"
    shell:
        "specbeam page {params.run:q} --output {output.html:q} --summary {output.summary:q} --parts {output.parts:q} > {log:q} 2>&1"
