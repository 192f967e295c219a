"""What a run costs: how jobs, tokens and bytes are counted, and how they are carried over to another run."""

import json
from dataclasses import replace

import pytest
import yaml

from generated_records import PROVENANCE
from specbeam import models
from specbeam.cost import measured as finished
from specbeam.cost import report
from specbeam.cost.facts import Facts
from specbeam.cost.measured import Measured, Taken
from specbeam.cost.models import Network, network
from specbeam.cost.predict import Accelerator, Line, Predictor
from specbeam.cost.schedule import Task, longest_chain, wall
from specbeam.cost.work import Reading, Workload
from specbeam.data.prepared import load_tokenizer
from specbeam.errors import SpecbeamError
from specbeam.settings import ModelSettings, parse
from specbeam.stages import FIGURES

SIZES = {"hidden_size": 8, "layers": 1, "heads": 2, "intermediate_size": 16}
TRAINING = {"epochs": 3, "micro_batch_size": 10}
CONFIG = {
    "run": "made-up",
    "synthetic": {"users": 100, "items": 50},
    "target": {"model": SIZES, "training": TRAINING},
    "draft": {"model": SIZES, "training": TRAINING, "seeds": [1, 2]},
    "trajectories": {"beam_width": 4, "shards": 2},
    "alignment": {"objectives": {"sft": {}, "atspeed_s": {}}, "training": {**TRAINING, "micro_batch_size": 20}},
    "measurement": {"beam_widths": [1, 4], "draft_beam_widths": [6], "users": 10, "timing_users": 2, "repeats": 3},
    "threads": {"target": 2, "trajectories": 1, "draft": 1, "evaluation": 1, "timing": 2},
}
FACTS = Facts(
    users=100, train=90, valid=20, test=10, items=50, interactions=600, alphabets=(5, 10, 10), prefixes=(5, 40, 50)
)
PROMPT = 1 + 6 * 3
JOBS = {
    "generate_synthetic": 1, "prepare_dataset": 1, "rate_baselines": 1, "train_target": 1, "recommend_items": 1,
    "record_trajectories": 2, "record_validation": 1, "train_draft": 2, "align_draft": 4, "evaluate_draft": 4,
    "record_search": 1, "time_methods": 2, "plot_figure": 12, "summarise_run": 1,
}  # fmt: skip
TOOK = {rule: Taken(count, seconds=9.0, cpu_seconds=6.0, memory_mb=500, bytes=1000) for rule, count in JOBS.items()}
SETTINGS = parse(CONFIG)
MADE_UP = Measured("made-up", "a CPU", "cpu", SETTINGS, {"synthetic": FACTS}, {"synthetic": TOOK})


def workload(facts=FACTS, **changes):
    return Workload(parse({**CONFIG, **changes}), "synthetic", facts)


def job(name, **changes):
    return next(job for job in workload(**changes).jobs() if job.name == name)


def test_a_models_weights_are_those_that_it_has(tiny_dataset):
    tokenizer = load_tokenizer(tiny_dataset.prepared / "tokenizer")
    settings = ModelSettings(hidden_size=16, layers=3, heads=2, intermediate_size=24)
    model = models.create(settings, tokenizer, seed=1)
    norms = sum(weight.numel() for name, weight in model.named_parameters() if "norm" in name)
    size = Network(16, 3, 24, len(tokenizer))
    assert size.weights + norms == models.parameters(model)
    assert size.weights - size.read == model.get_input_embeddings().weight.numel()


def test_published_models_have_the_size_that_their_names_say():
    paper = {"base": "huggyllama/llama-7b", "revision": "4782ad278652c7c71b72204d462d6d01eaaf7549"}
    assert network(ModelSettings(**paper), tokens=0).weights == pytest.approx(6.74e9, rel=0.01)
    small = {"base": "JackFram/llama-68m", "revision": "964a5d77df908b69f8d6476fb70e940425b04cb5"}
    assert network(ModelSettings(**small), tokens=0).weights == pytest.approx(68e6, rel=0.01)


def test_a_folders_model_is_measured_by_its_config_and_another_of_the_hub_is_refused(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16, "vocab_size": 30}
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    assert network(ModelSettings(base=str(tmp_path)), tokens=5) == Network(8, 2, 16, 35)
    with pytest.raises(SpecbeamError, match="someone/else: expected a folder, or one of huggyllama/llama-7b"):
        network(ModelSettings(base="someone/else", revision="0" * 40), tokens=5)


def test_tokens_of_lists_are_prompt_and_beams_and_of_a_training_all_epochs_with_their_backward_pass():
    assert FACTS.prompt(SETTINGS) == PROMPT
    # K of 1 and 4, ten users, sixteen of them a pass
    assert job("lists").target == Reading(10 * (2 * PROMPT + 2 * 1 + 2 * 4), 10 * 2 * 3 / 16)
    # all items of 100 users thrice, since backward costs twice the forward pass; validation prompts and items once
    assert job("target").target == Reading(3 * (3 * (100 + 600 * 3) + 20 * (PROMPT + 3)), 3 * 3 * 90 / 10)
    last = {"model": SIZES, "training": {**TRAINING, "samples": "last_item", "gradient_checkpointing": True}}
    assert job("target", target=last).target.tokens == 3 * (4 * 90 * (PROMPT + 3) + 20 * (PROMPT + 3))


def test_a_shard_has_its_share_of_users_and_of_each_a_search_and_a_pass_over_the_tree():
    search, lesson = PROMPT + 2 * 4, PROMPT + 2 * 1.5 * 4
    assert job("train-0").target.tokens == 45 * (search + lesson)
    assert job("train-0", trajectories={"beam_width": 4, "users": 30, "shards": 2}).target.tokens == 15 * (
        search + lesson
    )


def test_methods_are_timed_for_each_user_warm_repeated_and_once_for_their_phases():
    lists, drafts = 2 * (1 + 3 + 1), 2 * 2  # two objectives, two verifications
    verified = PROMPT + 2 * 2 * 6
    assert job("timed/4").target.tokens == lists * (4 * (PROMPT + 2) + PROMPT + 2 * 4 + drafts * verified)
    assert job("timed/4").draft.passes == lists * drafts * 2 * 2


def test_a_job_computes_two_operations_a_weight_and_token():
    made = workload()
    evaluation = job("evaluated/sft/1")
    expected = 2 * (evaluation.target.tokens * made.target.read + evaluation.draft.tokens * made.draft.read)
    assert made.work(evaluation) == expected
    assert made.work(job("prepared")) == 600


def test_jobs_are_those_of_the_workflow_and_wait_for_jobs_before_them():
    jobs = workload().jobs()
    assert {rule: sum(job.rule == rule for job in jobs) for rule in JOBS} == JOBS
    assert {job.name for job in jobs if job.rule == "plot_figure"} == {f"figure/{name}" for name in FIGURES}
    done = set()
    for each in jobs:
        assert set(each.after) <= done
        done.add(each.name)
    assert len(done) == len(jobs)
    assert job("base/1").after == ("prepared",)
    distilled = {**CONFIG["draft"], "training": {**TRAINING, "distil": True}}
    assert job("base/1", draft=distilled).after == ("prepared", "target")


def test_ten_times_the_users_and_items_fill_the_code_book_and_leave_prompts_as_they_are():
    more = FACTS.times(users=10, items=10)
    assert (more.users, more.test, more.interactions, more.items) == (1000, 100, 6000, 500)
    assert more.alphabets == (10, 10, 10)
    assert more.prefixes == (10, 100, 500)
    assert more.prompt(SETTINGS) == PROMPT
    assert FACTS.times() == FACTS


def test_a_line_goes_through_the_smallest_and_the_largest_job():
    assert Line.through([(10, 7), (2, 3), (4, 9)]) == Line(start=2, rate=0.5)
    assert Line.through([(4, 8)]) == Line(start=0, rate=2)


@pytest.mark.parametrize("small", [9.0, 0.1])
def test_a_line_that_falls_or_starts_below_nothing_is_noise_so_that_all_grows(small):
    assert Line.through([(1, small), (4, 8)]) == Line(start=0, rate=2)


def test_a_run_predicts_itself_and_twice_its_training_prompts_train_twice_as_long():
    found = {cost.task.name: cost for cost in report.costs(SETTINGS, [MADE_UP])}
    for rule, count in JOBS.items():
        own = [cost for cost in found.values() if cost.rule == rule]
        assert sum(cost.seconds for cost in own) == pytest.approx(6 * count)
        assert sum(cost.bytes for cost in own) == pytest.approx(1000 * count)
    target = found["synthetic/target"].task
    assert (target.seconds, target.workers) == (3.0, 2)  # two threads share its CPU time
    users = parse({**CONFIG, "synthetic": {"users": 200, "items": 50}})
    double = {cost.task.name: cost for cost in report.costs(users, [MADE_UP])}
    assert double["synthetic/target"].seconds == pytest.approx(12)
    assert double["synthetic/lists"].bytes == 2000
    assert double["synthetic/timed/4"].seconds == found["synthetic/timed/4"].seconds  # no more users are timed
    assert double["synthetic/summary"].seconds == 6


def test_twice_the_users_and_items_rate_baselines_four_times_as_long():
    double = {cost.task.name: cost for cost in report.costs(SETTINGS, [MADE_UP], times=2)}
    assert double["synthetic/baselines"].seconds == pytest.approx(24)


def test_two_runs_of_different_size_tell_what_each_job_needs_to_start():
    took = {rule: replace(taken, cpu_seconds=10.0) for rule, taken in TOOK.items()}
    facts = {"synthetic": FACTS.times(users=3)}
    larger = replace(MADE_UP, facts=facts, taken={"synthetic": took})
    predictor = Predictor([MADE_UP, larger])
    prepared = next(job for job in workload(FACTS.times(users=2)).jobs() if job.name == "prepared")
    assert predictor.of(workload(), prepared).seconds == 8  # 4 and 2 for each 600 interactions


@pytest.mark.parametrize(
    ("reading", "seconds"),
    [
        (Reading(tokens=1000, passes=1), 2 * 1000 * 100 / 500),  # arithmetic at half the peak
        (Reading(tokens=1, passes=2000), 2000 * 100 * 2 / 1000),  # weights, two bytes each, at half the bandwidth
        (Reading(tokens=1, passes=1), 4 * 0.2),  # four layers
    ],
)
def test_a_pass_on_an_accelerator_is_bound_by_arithmetic_by_memory_or_by_its_layers(reading, seconds):
    model = Network(hidden=1, layers=4, intermediate=1, vocabulary=72)
    assert model.read == 100
    device = Accelerator({"bfloat16": 1000}, 2000, utilisation=0.5, layer_seconds=0.2)
    assert device.seconds(reading, model, "bfloat16", "bfloat16") == max(seconds, reading.passes * 0.8)


def test_on_accelerators_only_jobs_with_language_models_take_one_and_several_processes_share_a_training():
    device = Accelerator({"bfloat16": 1e9, "float32": 1e9}, 1e9, start_seconds=60)
    several = parse({**CONFIG, "target": {"model": SIZES, "training": {**TRAINING, "processes": 4}}})
    found = {cost.task.name: cost.task for cost in report.costs(several, [MADE_UP], device)}
    one = {cost.task.name: cost.task for cost in report.costs(SETTINGS, [MADE_UP], device)}
    assert found["synthetic/target"].workers == 4
    assert (found["synthetic/target"].seconds - 60) * 4 == pytest.approx(one["synthetic/target"].seconds - 60)
    assert found["synthetic/summary"] == Task("synthetic/summary", 6.0, one["synthetic/summary"].after, workers=0)


TASKS = [Task("a", 3), Task("b", 5), Task("c", 4, ("a",)), Task("d", 1, ("b", "c")), Task("e", 2, workers=0)]


def test_wall_time_is_the_longest_chain_at_best_and_all_work_at_worst():
    assert [task.name for task in longest_chain(TASKS)] == ["a", "c", "d"]
    assert wall(TASKS, workers=2) == 8
    assert wall(TASKS, workers=1) == 13  # e waits for nobody, and takes no worker
    assert wall([Task("a", 3), Task("b", 2, workers=0)], workers=1) == 3


def test_a_task_of_several_workers_waits_for_them_or_takes_longer_where_there_are_fewer():
    tasks = [Task("a", 2), Task("b", 4, workers=2)]
    assert wall(tasks, workers=2) == 6
    assert wall(tasks, workers=1) == 2 + 8


def test_measured_runs_are_saved_in_one_file_and_read_again(tmp_path):
    finished.save([MADE_UP], tmp_path / "measured.yaml")
    assert finished.read([tmp_path / "measured.yaml"]) == [MADE_UP]
    (tmp_path / "other.yaml").write_text("[{run: a}]")
    with pytest.raises(SpecbeamError, match="expected measured runs as `specbeam cost --save` writes them"):
        finished.read([tmp_path / "other.yaml"])


def leave(folder, stage, result, **made):
    """A result of five bytes with its provenance."""
    path = folder / result
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("12345")
    used = {"seconds": 2.0, "cpu_seconds": 1.0, "memory_mb": 300}
    known = PROVENANCE | {"stage": stage, "cpu": "a CPU"} | used | made
    path.with_name(f"{path.stem}.provenance.json").write_text(json.dumps(known))


@pytest.fixture
def folder(tmp_path):
    """A run that has got as far as its drafts."""
    place = tmp_path / "mine/synthetic"
    names = {
        "users": 100, "users_with_one_training_interaction": 10, "users_with_valid_target": 20,
        "users_with_test_target": 10, "distinct_identifiers": 50, "interactions_train": 600,
        **{f"distinct_tokens_{n}": size for n, size in enumerate(FACTS.alphabets, start=1)},
        **{f"distinct_prefixes_{n}": size for n, size in enumerate(FACTS.prefixes, start=1)},
    }  # fmt: skip
    (place / "prepared").mkdir(parents=True)
    lines = ["statistic,value", *(f"{name},{value}" for name, value in names.items())]
    (place / "prepared/statistics.csv").write_text("\n".join(lines))
    leave(place, "record", "trajectories/train-0.safetensors")
    leave(place, "record", "trajectories/train-1.safetensors", cpu_seconds=3.0, memory_mb=400)
    leave(place, "align", "drafts/sft/seed-1/model/weights", seconds=7.5)
    leave(place, "align", "ablations/alpha/0.3/drafts/sft/seed-1/model/weights", seconds=99)
    (place.parent / "config.yaml").write_text(yaml.safe_dump(SETTINGS.plain | {"run": "mine"}))
    return place.parent


def test_a_run_is_measured_by_what_its_jobs_left_without_its_variants(folder):
    run = Measured.of(folder)
    assert (run.run, run.cpu, run.device, run.facts) == ("mine", "a CPU", "cpu", {"synthetic": FACTS})
    assert run.taken["synthetic"] == {
        "record_trajectories": Taken(2, seconds=2.0, cpu_seconds=2.0, memory_mb=400, bytes=5),
        "align_draft": Taken(1, seconds=7.5, cpu_seconds=1.0, memory_mb=300, bytes=5),
    }


def test_what_a_run_does_not_tell_is_named_with_the_way_to_it(folder):
    with pytest.raises(SpecbeamError, match="no measured run has generate_synthetic: expected a finished run, got m"):
        report.costs(SETTINGS, [Measured.of(folder)])
    with pytest.raises(SpecbeamError, match="beauty: expected a measured run that has prepared this data set"):
        report.costs(parse({"datasets": ["beauty"]}), [MADE_UP])
    with pytest.raises(SpecbeamError, match="expected runs on one kind of device, got a GPU, cpu"):
        Predictor([MADE_UP, replace(MADE_UP, device="a GPU")])
    leave(folder / "synthetic", "record", "trajectories/train-0.safetensors", cpu="another CPU")
    with pytest.raises(SpecbeamError, match="expected jobs of one kind of machine, got a CPU, cpu; another CPU, cpu"):
        Measured.of(folder)


def test_jobs_of_an_older_version_are_told_to_run_again(folder):
    path = folder / "synthetic/trajectories/train-0.provenance.json"
    made = json.loads(path.read_text())
    del made["cpu_seconds"]
    path.write_text(json.dumps(made))
    with pytest.raises(SpecbeamError, match="expected the job's cpu_seconds, of an older specbeam; run it again"):
        Measured.of(folder)
