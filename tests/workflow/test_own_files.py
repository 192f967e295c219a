"""What reads a file of one's own runs again when another takes its place, however old that is."""

import base64
import json
import os

CONFIG = """
run: own
datasets: [read, ready]
own_data:
  read:
    interactions: {files: [orders.csv], format: csv, columns: {user: user, item: item, time: time}}
    identifiers: {embeddings: {from: table, file: vectors.csv}}
  ready: {sequences: mine, identifiers: {embeddings: {from: text, model: encoder}}}
target: {model: {base: base}}
draft: {model: {base: first}}
"""
SPLITS = ["mine/sequential_train.txt", "mine/sequential_valid.txt", "mine/sequential_test.txt"]
ENCODER, BASE, FIRST = (f"{model}/model.safetensors" for model in ("encoder", "base", "first"))
RUN = "results/own"
READS = {
    f"{RUN}/read/raw/sequential_train.txt": ["orders.csv"],
    f"{RUN}/read/raw/embeddings.safetensors": ["vectors.csv"],
    f"{RUN}/read/raw/identifiers.json": [],
    f"{RUN}/read/prepared": [BASE],
    f"{RUN}/ready/raw/embeddings.safetensors": [*SPLITS, ENCODER],
    f"{RUN}/ready/raw/identifiers.json": SPLITS[:1],
    f"{RUN}/ready/prepared": [*SPLITS, BASE],
    f"{RUN}/ready/target/model": [BASE],
    f"{RUN}/ready/drafts/base/seed-1/model": [FIRST],
}
"""Result -> the user's own files that the job behind it reads."""


def params(checkout, result):
    """Those that Snakemake has noted of a result; they are a reason to run its job again."""
    name = base64.urlsafe_b64encode(result.encode()).decode()
    return json.loads((checkout.folder / ".snakemake/metadata" / name).read_text())["params"]


def test_an_older_file_in_the_place_of_one_of_ones_own_runs_again_what_reads_it(checkout):
    (checkout.folder / "config/own.yaml").write_text(CONFIG)
    sizes = {file: size for size, file in enumerate(["orders.csv", "vectors.csv", *SPLITS, ENCODER, BASE, FIRST], 1000)}
    for file in (*sizes, *READS):
        path = checkout.folder / file
        (path if file in READS and "." not in path.name else path.parent).mkdir(parents=True, exist_ok=True)
        if not path.is_dir():
            path.write_text("x" * sizes.get(file, 0))
            os.utime(path, (1.7e9, 1.7e9))
    declared_good = checkout.snakemake(*READS, "--touch", "--forceall", config="own")
    assert declared_good.returncode == 0, declared_good.stdout
    for result, read in READS.items():
        assert str([(sizes[file], 1_700_000_000) for file in read]) in params(checkout, result), result

    (checkout.folder / "orders.csv").write_text("x" * 1000)
    os.utime(checkout.folder / "orders.csv", (1.6e9, 1.6e9))
    assert checkout.planned(*READS, config="own") == {
        "read_interactions": 1, "embed_items": 1, "identify_items": 1, "prepare_dataset": 1
    }  # fmt: skip
