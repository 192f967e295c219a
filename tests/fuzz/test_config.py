"""Configs, whatever is in them: they say just what was read, or are refused by file and key."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from bad_input import LONGEST_MESSAGE, cases, damaged, read
from specbeam import settings
from specbeam.comparison.runs import Run
from specbeam.errors import SpecbeamError
from specbeam.finished_run import FinishedRun
from specbeam.settings import Settings
from specbeam.stages import STAGES, StageSettings, stage_values

CONFIG = b"""
run: mine
datasets: [beauty]
draft: {seeds: [1, 2], training: {learning_rate: 1.0e-3, epochs: 4}}
alignment:
  objectives:
    atspeed_s: {alpha: 0.5}
    sft:
"""
RESOLVED = settings.parse({"run": "mine"}).model_dump(mode="json")
RESOLVED = json.dumps({name: RESOLVED[name] for name in ("seed", "device", "prompt", "decoding", "target", "draft")})


def paths(section: Any, prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Of every setting, and of every section."""
    found = []
    for name, field in section.model_fields.items():
        found.append((*prefix, name))
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                found += paths(part, (*prefix, name))
    return found


PATHS = [
    *paths(Settings),
    *(("alignment", "objectives", name) for name in (*Settings().alignment.objectives, "unknown")),
    ("alignment", "objectives", "atspeed_s", "alpha"),
    ("ablations", "some", "label", "draft.training.epochs"),
    ("draft", "model", "epochs"),
    ("no such section",),
]
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 400),
    st.sampled_from([10**20, -(10**400), 0.5, -0.0, 1e308, float("inf"), float("nan"), "1", "../..", "a\nb", "cpu"]),
    st.text(max_size=4),
)
values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3) | plain, inner, max_size=2),
    max_leaves=4,
)


def nested(pairs: list[tuple[tuple[str, ...], Any]]) -> dict[str, Any]:
    """A config that sets each path to its value."""
    config: dict[str, Any] = {}
    for (*above, last), value in pairs:
        section = config
        for part in above:
            if not isinstance(section.get(part), dict):
                section[part] = {}
            section = section[part]
        section[last] = value
    return config


def check(parsed: Settings | None) -> None:
    if parsed is not None:
        values = json.loads(json.dumps(parsed.model_dump(mode="json"), allow_nan=False))  # as rules pass them on
        assert settings.parse(values) == parsed
        assert Path("results", parsed.run).resolve().parent == Path("results").resolve()


@cases(1500)
@given(pairs=st.lists(st.tuples(st.sampled_from(PATHS), plain | values), min_size=1, max_size=2))
def test_any_value_at_any_key(pairs):
    check(read("config", lambda: settings.parse(nested(pairs), source="mine.yaml"), names="mine.yaml: "))


LOOP: list[Any] = [1]
LOOP.append({"again": LOOP})
LONG = "x" * 50_000
BOMB: Any = LONG
for _ in range(12):
    BOMB = [BOMB] * 9  # as YAML's aliases make it: 9^12 texts
LARGE = {
    "a list that holds itself": LOOP,
    "a mapping in what it holds": LOOP[1],
    "aliases of aliases": BOMB,
    "a long text": LONG,
    "a long key": {LONG: 1},
    "many long texts": [LONG] * 2000,
    "many keys": {str(number): LONG for number in range(2000)},
    "many objects": [{}] * 2000,
    "bytes": b"\xff",
}
ABLATED = [("ablations", *"abc"[:depth], *more) for depth in range(4) for more in ((), ("draft.training.epochs",))]
large = st.lists(st.tuples(st.sampled_from(PATHS + ABLATED), st.sampled_from(sorted(LARGE))), min_size=1, max_size=2)


@cases(400)
@given(pairs=large)
def test_long_and_endless_values_at_any_key(pairs):
    config = nested([(path, LARGE[name]) for path, name in pairs])
    check(read("config", lambda: settings.parse(config, source="mine.yaml"), names="mine.yaml: "))


@cases(400)
@given(pairs=st.lists(st.tuples(st.sampled_from(PATHS), values), max_size=2), stage=st.sampled_from(list(STAGES)))
def test_any_value_passed_to_a_stage(pairs, stage):
    text = json.dumps(nested([(path, value) for path, value in pairs if path]), skipkeys=True)
    read("settings of a stage", lambda: StageSettings.read(stage, text).model_dump(mode="json"), names="settings")


@cases(200)
@given(content=damaged(CONFIG))
def test_damaged_config_files(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "mine.yaml"
    path.write_bytes(content)
    check(read("config files", lambda: settings.load(path), names=path))


@cases(100)
@given(content=damaged(RESOLVED.encode()))
def test_damaged_configs_of_finished_runs(tmp_path_factory, content):
    folder = tmp_path_factory.getbasetemp() / "run"
    for part in ("prepared", "target/model"):
        (folder / "synthetic" / part).mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_bytes(content)
    read("finished runs", lambda: FinishedRun.of(folder / "synthetic"), names=folder / "config.yaml")
    run = read("compared runs", lambda: Run.of(folder), names=folder / "config.yaml")
    if run:
        read("compared runs", lambda: (run.settings, run.datasets, run.objectives(), run.missing(), run.facts()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: 1\nseed: 2\n", "'seed' is there twice"),
        ("draft:\n  seeds: [1]\n  seeds: [2]\n", "line 3"),
        ("seed: 2026-13-45\n", "not valid YAML"),
        ("seed: !!int x\n", "not valid YAML"),
        ("seed: !!python/object/apply:os.system ['touch bad']\n", "not valid YAML"),
        ("[" * 5000, "not valid YAML"),
        ("seed: \x07", "not valid YAML"),
        (f"seed: 0x{'f' * 5000}", "not valid YAML"),
        (f"seed: !!{'x' * 50_000} 1", "not valid YAML"),
        ("ablations: &all {some: *all}", "ablations.some.some: expected at most 1000 values, found more, or an alias"),
        ("ablations: {a: {b: {draft.training.epochs: 2026-01-01}}}", "ablations.a.b: expected text, numbers"),
        ("- seed\n", "expected a mapping"),
        ("", "expected a mapping"),
        ("target: {training: {learning_rate: .inf}}", "target.training.learning_rate"),
        ("run: ../elsewhere", "run: "),
        ("ablations: {../elsewhere: {a: {draft.training.epochs: 2}}}", "ablations."),
    ],
)
def test_config_files_that_are_refused_and_why(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(SpecbeamError, match="mine.yaml") as error:
        settings.load(tmp_path / "mine.yaml")
    assert message in str(error.value)
    assert len(str(error.value)) < LONGEST_MESSAGE


def test_a_section_that_stands_twice_by_a_merge_is_no_key_that_is_there_twice(tmp_path):
    (tmp_path / "mine.yaml").write_text("synthetic: &base {users: 50}\nbaselines: {}\n")
    assert settings.load(tmp_path / "mine.yaml").synthetic.users == 50


def test_every_stage_reads_the_values_that_it_is_given():
    for stage in STAGES:
        StageSettings.read(stage, json.dumps(stage_values(Settings(), stage)))
