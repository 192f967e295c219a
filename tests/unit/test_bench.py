"""`specbeam bench`: all methods on the same prompts, the same number of times; records, tables and refusals."""

import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from typer.testing import CliRunner

from models_for_tests import random_catalogue, random_prompt, tiny_model
from specbeam import cli, models
from specbeam.data.prepared import load
from specbeam.decoding.inputs import left_padded
from specbeam.decoding.plan import Plan
from specbeam.errors import SpecbeamError
from specbeam.measurement import bench_methods, bench_subject
from specbeam.measurement.peers import allowed_tokens, generate, generate_batch
from specbeam.settings import ModelSettings, Settings

SMALL = "--beam-widths 1,4 --batch-sizes 1,2 --draft-beam-width 8 --users 3 --repeats 2 --lookup-items 500 --threads 1"
QUICK = "--beam-widths 2 --batch-sizes 1 --draft-beam-width 4 --users 1 --repeats 1 --lookup-items 0 --threads 1"
AT = ["batch", "K"]
METHODS = 2 + 4 * 2 + 2  # generate and plain; each verification with draft and prior; the lossless ones with a tree


@pytest.fixture(scope="module")
def folder(tiny_dataset, tmp_path_factory):
    """A data set's folder as a run leaves it, with untrained models."""
    folder = tmp_path_factory.mktemp("results") / "tiny" / "synthetic"
    tokenizer = load(tiny_dataset.prepared).tokenizer
    sizes = ModelSettings(hidden_size=16, layers=1, heads=2, intermediate_size=32)
    for seed, name in enumerate(["target", "drafts/sft/seed-1", "drafts/wordkd/seed-1", "drafts/base/seed-1"]):
        models.save(models.create(sizes, tokenizer, seed=seed), folder / name / "model")
    (folder / "prepared").symlink_to(tiny_dataset.prepared)
    (folder.parent / "config.yaml").write_text(yaml.safe_dump(Settings(device="cpu").model_dump(mode="json")))
    return folder


def bench(line):
    return CliRunner().invoke(cli.app, ["bench", *line.split()])


@pytest.fixture(scope="module")
def printed(folder):
    result = bench(f"{folder} --plan 9,10,11:2 {SMALL}")
    assert result.exit_code == 0, result.exception
    return result.stdout


@pytest.fixture(scope="module")
def records(folder, printed):
    return pd.read_parquet(folder / "bench" / "bench.parquet")


@pytest.fixture(scope="module")
def table(folder, printed):
    return pd.read_csv(folder / "bench" / "bench.csv", keep_default_na=False, na_values=["nan"])


def test_every_method_is_timed_on_the_same_prompts_and_as_often(records):
    assert (records.groupby([*AT, "user_batch", "repeat"]).size() == METHODS).all()
    assert records.groupby("batch")["repeat"].nunique().tolist() == [2, 2]
    assert records.groupby("batch")["user_batch"].nunique().tolist() == [3, 1]  # three users: one full batch of two
    assert (records["prompts"] == records["batch"]).all()
    assert (records["seconds"] > 0).all()


def test_the_order_of_the_methods_changes(records):
    orders = {
        tuple(part["method"] + part["verification"] + part["plan"])
        for _, part in records.groupby([*AT, "user_batch", "repeat"])
    }
    assert len(orders) > 1


def test_records_count_what_the_methods_did(records):
    depth = 4
    for name in ("generate", "plain"):
        own = records[records["method"] == name]
        assert (own["target_calls"] == depth).all()
        assert (own["draft_calls"] == 0).all()
        assert (own["nodes"] == own["K"] * (depth - 1)).all()
    speculative = records[records["method"] == "speculative"]
    assert speculative["target_calls"].between(1, depth).all()
    assert ((speculative["draft_calls"] > 0) == (speculative["drafter"] == "model")).all()
    assert set(speculative["plan"]) == {"flat8", "9,10,11:2"}
    assert set(speculative["objective"]) == {"", "sft"}


def test_records_carry_where_they_come_from(folder, records):
    assert (records["threads"] == 1).all()
    assert set(records["device"]) == {"cpu"}
    assert "transformers" in json.loads(records["versions"][0])
    metadata = json.loads(pq.read_schema(folder / "bench" / "bench.parquet").metadata[b"specbeam"])
    assert metadata["settings"]["grid"]["repeats"] == 2
    assert metadata["settings"]["grid"]["warm_up"] == 1
    assert metadata["settings"]["subject"]["decoding"]["normalise"] == "children"


def test_the_table_has_a_row_a_method_and_ratios_of_totals(table, records):
    assert (table.groupby(AT).size() == METHODS).all()
    totals = records.groupby([*AT, "method", "verification", "drafter", "plan", "user_batch"])["seconds"].median()
    totals = totals.groupby([*AT, "method", "verification", "drafter", "plan"]).sum()
    for row in table.to_dict("records"):
        own = totals[row["batch"], row["K"], row["method"], row["verification"], row["drafter"], row["plan"]]
        for baseline in ("generate", "plain"):
            assert row[f"vs_{baseline}"] == pytest.approx(totals[row["batch"], row["K"], baseline, "", "", ""] / own)


def test_generate_holds_the_prompt_k_times(table):
    memory = table.set_index([*AT, "method"])["memory"]
    assert (memory.loc[1, 1, "generate"] == memory.loc[1, 1, "plain"]).all()
    assert memory.loc[1, 4, "generate"].item() > 2 * memory.loc[1, 4, "plain"].item()


def test_what_is_printed_names_every_method_pass_and_look_up(folder, printed):
    for text in (
        "batch 2", "transformers generate", "strict, sft, flat8", "coupled, prior, flat8", "strict, sft, 9,10,11:2",
        "a level of K = 4", "prompt and flat8", "500 items, plain", "119 identifiers",
        "500 items, strict, K = 4, batch  2, less 50 items a prompt", "K = 4, batch  1, half, made once in",
    ):  # fmt: skip
        assert text in printed
    assert printed.startswith((folder / "bench" / "bench.txt").read_text())


def test_filters_take_turns_with_none_on_the_large_catalogue(folder, printed):
    filters = pd.read_csv(folder / "bench" / "filters.csv")
    assert filters.groupby(["method", "batch"])["filter"].agg(list).tolist() == [["50 items", "half"]] * 4
    assert filters.groupby(["method", "batch"])["unfiltered_seconds"].nunique().tolist() == [1] * 4
    assert (filters["seconds"] > filters["filter_seconds"]).all()
    assert filters["share"].tolist() == pytest.approx(filters["filter_seconds"] / filters["unfiltered_seconds"])


def test_all_files_are_whole(folder, printed):
    names = {path.name for path in (folder / "bench").iterdir()}
    drawn = {f"roofline.{kind}" for kind in ("png", "svg", "csv", "txt")}
    assert names == {"bench.parquet", "bench.csv", "passes.csv", "lookups.csv", "filters.csv", "bench.txt", *drawn}
    caption = (folder / "bench" / "roofline.txt").read_text()
    assert "K = 1, 4 beams" in " ".join(caption.split())
    assert "tiny/synthetic; 1 thread(s)" in " ".join(caption.split())


def test_the_planner_chooses_where_no_plan_is_given(folder, tmp_path):
    result = bench(f"{folder} --verifications strict,relaxed --output {tmp_path} {QUICK}")
    assert result.exit_code == 0, result.exception
    plans = pd.read_parquet(tmp_path / "bench.parquet").groupby("verification")["plan"].unique().map(set)
    (planned,) = plans["strict"] - {"flat4"}
    assert planned.startswith("planned ")
    assert plans["relaxed"] == {"flat4"}  # sampling needs flat drafts
    assert "strict, sft, planned: K=2" in result.stdout


def test_plans_are_chosen_on_other_prompts_than_are_timed(folder):
    loading = bench_subject.Loading(users=5, calibration=20, threads=1)
    subject = bench_subject.of_run(folder, objectives=[], drafts={}, loading=loading)
    assert (len(subject.prompts), len(subject.calibration)) == (5, 21)  # all 26 that there are
    assert not {*map(tuple, subject.prompts)} & {*map(tuple, subject.calibration)}


def test_random_weights_are_timed_without_a_run_and_say_so(tmp_path):
    shapes = "--shape 32x2x2x64 --draft-shape 16x1x2x32 --dtype bfloat16 --items 60 --branching 8 --prompt-length 9"
    result = bench(f"{shapes} --plan none --output {tmp_path} {QUICK}")
    assert result.exit_code == 0, result.exception
    assert "RANDOM WEIGHTS" in result.stdout
    records = pd.read_parquet(tmp_path / "bench.parquet")
    assert set(records["objective"]) == {"", "random"}
    assert set(records["dtype"]) == {"bfloat16"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("nowhere", "nowhere: expected a data set's folder of a finished run"),
        ("", "a data set's folder of a finished run, or --shape"),
        ("FOLDER --shape 32x2x2x64", "a data set's folder of a finished run, or --shape"),
        ("FOLDER --draft-shape 32x2x2x64", "--draft-shape goes with random weights"),
        ("--shape 32x2x2x64 --objective sft", "--objective goes with a finished run"),
        ("--shape 32x2x2", "--shape 32x2x2: expected HIDDENxLAYERSxHEADSxINTERMEDIATE"),
        ("--shape 32x2x3x64", "an even multiple of the heads"),
        ("--shape 32x2x2x64 --items 100 --branching 2", "100 items: expected at most the 16"),
        ("FOLDER --objective tvdkd", "no draft 'tvdkd'; this run has sft, wordkd"),
        ("FOLDER --objective sft --draft sft=mine", "draft 'sft': expected a name that is no objective in use"),
        (
            "FOLDER --draft mine=nowhere --plan none --users 1 --batch-sizes 1",
            "nowhere: expected a model",
        ),
        ("FOLDER --draft mine", "--draft mine: expected NAME=FOLDER"),
        ("FOLDER --beam-widths 0,1", "--beam-widths: expected distinct numbers of 1 or more, got [0, 1]"),
        ("FOLDER --beam-widths two", "--beam-widths two: expected whole numbers"),
        ("FOLDER --batch-sizes 2,2", "--batch-sizes: expected distinct numbers"),
        ("FOLDER --verifications exact", "--verifications: expected some of strict"),
        ("FOLDER --beam-widths 50", "--draft-beam-width 40: expected at least 50"),
        ("FOLDER --beam-widths 20 --plan 40,10", "draft width 10 is below the beam width 20"),
        ("FOLDER --plan wide", "--plan wide: expected widths by level such as 60,80,100"),
        ("FOLDER --users 1000", "expected 1032 test users"),
        ("FOLDER --threads 1000", "expected at most"),
    ],
)
def test_what_cannot_be_measured_is_refused(folder, line, message):
    with pytest.raises(SpecbeamError) as refused:
        raise bench(line.replace("FOLDER", str(folder))).exception
    assert message in str(refused.value)


@pytest.mark.parametrize("text", ["60,80,100", "60,80,100:2", "5,0,8"])
def test_a_plan_is_named_as_it_is_read(text):
    assert bench_methods.plan_name(bench_methods.plan_of(text)) == text


def test_a_plan_that_drafts_nothing_is_named_so():
    assert bench_methods.plan_name(Plan()) == "nothing"


@pytest.mark.parametrize("normalise", ["children", "vocabulary"])
@pytest.mark.parametrize("beam_width", [1, 3])
def test_the_peer_gives_a_batch_the_lists_that_it_gives_each_prompt(normalise, beam_width):
    model, identifiers = tiny_model(seed=1), random_catalogue(2)
    allowed = allowed_tokens(identifiers, "trie")
    options = {"beam_width": beam_width, "identifier_length": 4, "normalise": normalise}
    prompts = [random_prompt(seed, length) for seed, length in enumerate([9, 5, 7])]
    padded, mask = left_padded([prompt[0].tolist() for prompt in prompts], 0)
    sequences, scores = generate_batch(model, padded, mask, allowed, **options)
    for row, prompt in enumerate(prompts):
        expected, expected_scores = generate(model, prompt, allowed, **options)
        assert torch.equal(sequences[row], expected)
        assert torch.allclose(scores[row], expected_scores, atol=1e-4)
