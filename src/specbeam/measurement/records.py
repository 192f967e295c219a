"""Records of what was measured: one typed parquet file a measurement job, each row carrying its environment.

`write` refuses a frame that does not fit its schema, so that a figure never has to guess what a column means; `read`
checks again, because files outlive code. Nothing here imports torch: the figures read records on any machine.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa

from specbeam import parquet, provenance
from specbeam.errors import SpecbeamError
from specbeam.files import parse_json

Kind = Literal["evaluation", "trees", "timing"]

PHASES = ("draft", "target", "verify", "constraint")
"""Parts of a list's time that are measured; what is left of `seconds` is called other."""

_INT, _FLOAT, _TEXT, _BOOL = pa.int64(), pa.float64(), pa.string(), pa.bool_()

COLUMNS: dict[str, dict[str, pa.DataType]] = {
    "evaluation": {
        "dataset": _TEXT,
        "objective": _TEXT,
        "draft_seed": _INT,
        "plan": _TEXT,
        "verification": _TEXT,
        "K": _INT,
        "N": _INT,
        "user": _INT,
        "accepted": _INT,
        "first_accepted": _INT,
        "rounds": _INT,
        "target_calls": _INT,
        "draft_calls": _INT,
        "nodes": _INT,
        "same_as_target": _BOOL,
        "recall": _FLOAT,
        "ndcg": _FLOAT,
    },
    "trees": {
        "dataset": _TEXT,
        "objective": _TEXT,
        "draft_seed": _INT,
        "shape": _TEXT,
        "widths": _TEXT,
        "K": _INT,
        "size": _INT,
        "user": _INT,
        "accepted": _INT,
        "first_accepted": _INT,
        "rounds": _INT,
        "target_calls": _INT,
        "draft_calls": _INT,
        "nodes": _INT,
        "same_as_target": _BOOL,
    },
    "timing": {
        "dataset": _TEXT,
        "K": _INT,
        "method": _TEXT,
        "objective": _TEXT,
        "verification": _TEXT,
        "N": _INT,
        "user": _INT,
        "repeat": _INT,
        "seconds": _FLOAT,
        **dict.fromkeys(PHASES, _FLOAT),
        "timed": _BOOL,
        "target_calls": _INT,
    },
}
"""What the measuring code gives; the page docs/reference/records.md is made of these types and of this text.

any: Columns of several kinds.
- dataset: Name of the data set.
- objective: What the draft was aligned by.
- draft_seed: Seed of the draft, one of `draft.seeds`.
- K: Target beams, and items in a list.
- N: Drafted sequences a level; 0 where there is no draft.
- user: Test user, counted from 0.
- accepted: Drafted levels accepted over all rounds of a list, without bonus levels.
- first_accepted: Of these, the levels of the first round.
- rounds: Rounds that drafted a level, which a round with only the last level to go does not.
- target_calls, draft_calls: Passes of the target, and of the draft.
- nodes: Tree nodes that the target saw.
- same_as_target: Whether the list is the target's own, item for item, which `strict` promises.

evaluation: One row a user, plan, verification, K and N, with the draft of one seed. Verification `target` is the
target's own beam search for the same users: no draft, no plan, no rounds, N = 0.
- plan: `flat` (N sequences at every level) or `completed` (all children at the deepest drafted level, by the trie).
- verification: `strict`, `relaxed`, `relaxed-ranked`, `coupled` or `target`.
- recall, ndcg: At K, against the user's test items.

trees: Strict verification at the largest K, one row a user, shape and size of the drafted tree.
- shape: `flat` (as wide at every level) or `shaped` (by validation users, for the fewest target calls).
- widths: Nodes drafted in the first round, by level.
- size: Their number.

timing: One row a user, method, objective, verification, N and repeat. Rows with `timed` hold wall time and no phases;
the others come from a separate run under timers, hold phases, and never enter a speedup.
- method: `generate` (transformers), `plain` (this engine's beam search) or `speculative`.
- verification: As in evaluation; empty for the baselines, as `objective` is.
- repeat: Which of the repeats, from 0.
- seconds: Of one list.
- draft, target, verify, constraint: Seconds in this part of the search; constraint is look-ups of the trie.
- timed: Whether `seconds` is wall time without timers inside.
"""

ENVIRONMENT: dict[str, pa.DataType] = {
    "device": _TEXT,
    "threads": _INT,
    "dtype": _TEXT,
    "seed": _INT,
    "commit": _TEXT,
    "dirty": _BOOL,
    "versions": _TEXT,
    "cpu": _TEXT,
}
"""What `write` adds.

environment: What a row was measured by and on.
- device: `cpu`, or the GPU's name.
- threads: CPU threads of the job.
- dtype: Precision of the target's weights.
- seed: Of the run (`seed`).
- commit: Of the checkout.
- dirty: Whether the checkout had changes that were not committed.
- versions: Versions of packages, a JSON object.
- cpu: The processor's name.
"""

VERIFICATIONS = ("strict", "relaxed", "relaxed-ranked", "coupled")
PLANS = ("flat", "completed")

ALLOWED: dict[str, dict[str, tuple[str, ...]]] = {
    "evaluation": {"plan": ("", *PLANS), "verification": (*VERIFICATIONS, "target")},
    "trees": {"shape": ("flat", "shaped")},
    "timing": {"method": ("generate", "plain", "speculative"), "verification": ("", *VERIFICATIONS)},
}

KEYS: dict[str, tuple[str, ...]] = {
    "evaluation": ("dataset", "objective", "draft_seed", "plan", "verification", "K", "N", "user"),
    "trees": ("dataset", "objective", "draft_seed", "shape", "K", "size", "user"),
    "timing": ("dataset", "K", "method", "objective", "verification", "N", "user", "repeat", "timed"),
}
"""Columns that together name a row: no two rows of what is read together may share them."""

_METADATA_KEY = b"specbeam"


def write(
    frame: pd.DataFrame,
    path: Path,
    *,
    kind: Kind,
    settings: dict[str, Any],
    device: str,
    threads: int,
    dtype: str,
    seed: int,
) -> None:
    """Check `frame` against the schema of `kind`, stamp it with the environment, and write it atomically.

    `settings` (JSON-able) are the resolved settings the rows were measured under; they go into the file's metadata and
    come back with `settings_of`. `device`, `threads`, `dtype` and `seed` are what the job really used, which only its
    caller knows; commit, package versions and processor are found here.
    Raises SpecbeamError naming the missing, unknown, ill-typed or inconsistent columns.
    """
    columns = _columns(kind)
    where = f"{kind} records for {path}"
    _check_names(frame.columns, columns, where)
    arrays = [_array(frame[name], name, expected, where) for name, expected in columns.items()]
    _check_values(frame, kind, where)
    found = provenance.environment()
    stamp = {
        "device": "cpu" if device == "cpu" else found["device"],  # a GPU by its model, not as "cuda"
        "threads": threads,
        "dtype": dtype,
        "seed": seed,
        "commit": found["commit"] or "",
        "dirty": bool(found["dirty"]),
        "versions": json.dumps(found["versions"], sort_keys=True),
        "cpu": found["cpu"],
    }
    arrays += [pa.array([stamp[name]] * len(frame), type=expected) for name, expected in ENVIRONMENT.items()]
    metadata = {_METADATA_KEY: json.dumps({"kind": kind, "settings": settings}, sort_keys=True).encode()}
    schema = pa.schema(list((columns | ENVIRONMENT).items()), metadata=metadata)
    parquet.write(pa.Table.from_arrays(arrays, schema=schema), path)


def read(paths: Iterable[Path], kind: Kind) -> pd.DataFrame:
    """Read record files of one kind into one frame, in the order of `paths`, environment columns included.

    Raises SpecbeamError when there is none, when a file is missing, damaged or of another kind, or when two files hold
    the same measurement.
    """
    if not (paths := [Path(path) for path in paths]):
        raise SpecbeamError(f"expected at least one file of {kind} records, got none")
    frame = pd.concat([_read_one(path, kind) for path in paths], ignore_index=True)
    _check_unique(frame, kind, ", ".join(str(path) for path in paths))
    return frame


def settings_of(path: Path) -> dict[str, Any]:
    """Settings that the records of one file were measured under."""
    return opened(Path(path))[1]["settings"]


def kind_of(path: Path) -> str:
    """Kind of the records in one file: `evaluation`, `trees` or `timing`."""
    return opened(Path(path))[1]["kind"]


def _read_one(path: Path, kind: Kind) -> pd.DataFrame:
    table, metadata = opened(path)
    if metadata["kind"] != kind:
        raise SpecbeamError(f"{path}: expected {kind} records, this file holds {metadata['kind'][:80]} records")
    columns = _columns(kind) | ENVIRONMENT
    _check_names(table.schema.names, columns, str(path))
    for name, expected in columns.items():
        if (came := table.schema.field(name).type) != expected:
            raise SpecbeamError(f"{path}: column {name}: expected {expected}, got {came}; measure again")
        _filled(table[name], name, str(path))
    frame = parquet.frame(table.select(list(columns)), path=path, again="measure again")
    _check_values(frame, kind, str(path))
    return frame


def opened(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    """Table of a file, columns unchecked, and its noted `kind` and `settings`; SpecbeamError where one is missing."""
    table = parquet.read(path, expected="a record file", again="run the measurement")
    metadata = parse_json((table.schema.metadata or {}).get(_METADATA_KEY, b"{}"), source=f"{path}: metadata")
    if not isinstance(metadata, dict) or [type(metadata.get(name)) for name in ("kind", "settings")] != [str, dict]:
        raise SpecbeamError(f"{path}: not written by specbeam.measurement.records, which notes kind and settings in it")
    return table, metadata


def _columns(kind: str) -> dict[str, pa.DataType]:
    if kind not in COLUMNS:
        raise SpecbeamError(f"unknown kind of records {kind!r}; allowed: {', '.join(COLUMNS)}")
    return COLUMNS[kind]


def _check_names(came: Sequence[str], expected: dict[str, pa.DataType], where: str) -> None:
    problems = []
    if missing := [name for name in expected if name not in list(came)]:
        problems.append(f"missing column(s) {', '.join(missing)}")
    if unknown := [str(name) for name in came if name not in expected or list(came).count(name) > 1]:
        problems.append(f"unknown or repeated column(s) {', '.join(unknown)[:300]}")
    if problems:
        raise SpecbeamError(f"{where}: {'; '.join(problems)}; expected {', '.join(expected)}")


def _array(series: pd.Series, name: str, expected: pa.DataType, where: str) -> pa.Array:
    try:
        array = pa.Array.from_pandas(series, type=expected, safe=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SpecbeamError(f"{where}: column {name}: expected {expected}, got {series.dtype} ({error})") from None
    return _filled(array, name, where)


def _filled(column: Any, name: str, where: str) -> Any:
    if name not in PHASES and column.null_count:
        raise SpecbeamError(f"{where}: column {name}: {column.null_count} empty value(s); every row needs one")
    return column


def _check_values(frame: pd.DataFrame, kind: str, where: str) -> None:
    if frame.empty:
        raise SpecbeamError(f"{where}: no rows; measure at least one user")
    for name, allowed in ALLOWED[kind].items():
        if strange := sorted({str(value) for value in frame[name]} - set(allowed)):
            raise SpecbeamError(f"{where}: column {name}: got {strange}, allowed {list(allowed)}")
    if kind == "timing":
        _check_phases(frame, where)
    _check_unique(frame, kind, where)


def _check_phases(frame: pd.DataFrame, where: str) -> None:
    filled = frame[list(PHASES)].notna()
    timed = frame["timed"].astype(bool)
    if filled[timed].any(axis=None) or not filled[~timed].all(axis=None):
        raise SpecbeamError(
            f"{where}: phases ({', '.join(PHASES)}) must be empty where timed is true and given where it is false: "
            "timers never sit inside a timed region"
        )


def _check_unique(frame: pd.DataFrame, kind: str, where: str) -> None:
    keys = list(KEYS[kind])
    twice = frame[frame.duplicated(keys)]
    if len(twice):
        first = ", ".join(f"{name}={twice.iloc[0][name]!r}" for name in keys)
        raise SpecbeamError(f"{where}: {len(twice)} measurement(s) occur twice, the first is {first}")
