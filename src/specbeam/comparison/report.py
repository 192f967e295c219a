"""The comparison of two runs, as values and as text."""

import filecmp
import json
import os
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd

from specbeam.comparison import movement
from specbeam.comparison.runs import Run
from specbeam.errors import SpecbeamError
from specbeam.figures import accepted
from specbeam.figures.summary import aligned

FILES = {
    "trajectories": "trajectories/*.safetensors",
    "the target's weights": "target/model/*.safetensors",
    "the target's lists": "target/lists.parquet",
    "drafts' weights": "drafts/**/model/*.safetensors",
}
"""Results that equal runs have bit for bit, and that hold neither times nor hosts."""
_CHUNK = 1 << 24
_ABSENT = "-"


def compare(a: Path, b: Path) -> dict[str, Any]:
    """All that differs between two runs, and `movement`, a frame of every number of both (COLUMNS of that module).

    Raises SpecbeamError for a folder that holds no run, and for one run twice. What is missing or cannot be read is in
    `problems`, and the rest is compared.
    """
    runs = [Run.of(Path(name)) for name in (a, b)]
    if runs[0].folder.resolve() == runs[1].folder.resolve():
        raise SpecbeamError(f"{runs[0].folder}: expected two runs, got this one twice; name another to compare it with")
    found: dict[str, Any] = {name: str(run.folder) for name, run in zip("AB", runs, strict=True)}
    found["settings"] = _differing(*(run.settings for run in runs))
    found["made by"] = _differing(*(run.facts() for run in runs))
    found["other code"] = _other_code(*runs)
    for name in ("datasets", "objectives"):
        sides = [run.datasets if name == "datasets" else run.objectives() for run in runs]
        found[f"{name} in one"] = {
            side: [part for part in own if part not in other]
            for side, own, other in (("A", *sides), ("B", *reversed(sides)))
        }
    shared = [dataset for dataset in runs[0].datasets if dataset in runs[1].datasets]
    found["files"] = {dataset: _files(*(run.folder / dataset for run in runs)) for dataset in shared}
    found["strict"] = {
        dataset: [movement.strict_lists(run.records(dataset, "evaluation")) for run in runs] for dataset in shared
    }
    moved = [_moved(dataset, *runs) for dataset in shared]
    found["movement"] = pd.concat(moved) if moved else pd.DataFrame(columns=["dataset", *movement.COLUMNS])
    found["problems"] = {
        name: [
            *(f"{path} is missing" for path in run.missing()),
            *(f"{stage}: has results of other settings than config.yaml says" for stage in run.other_settings()),
            *run.problems,
        ]
        for name, run in zip("AB", runs, strict=True)
    }
    return found


def as_json(found: dict[str, Any]) -> str:
    """What `compare` found, as JSON; what only one run has is null in the other."""
    rows = json.loads(found["movement"].to_json(orient="records", double_precision=15))
    return json.dumps(found | {"movement": rows}, indent=2)


def text(found: dict[str, Any], *, everything: bool = False) -> str:
    """What `compare` found, as aligned tables; of the numbers those that moved, at the largest K and N.

    With `everything` those of all K and N.
    """
    lines = [f"A: {found['A']}", f"B: {found['B']}", ""]
    for side, problems in found["problems"].items():
        lines += [f"{side}: {problem}" for problem in problems] + ([""] if problems else [])
    for title in ("settings", "made by"):
        rows = [[name, _value(a), _value(b)] for name, (a, b) in found[title].items()]
        lines += _table([title, "A", "B"], rows) if rows else [f"{title}: no difference", ""]
    code = ", ".join(found["other code"]) or "none"
    lines += [f"stages made by different code: {code}"]
    for name in ("datasets", "objectives"):
        lines += [f"{name} only in {side}: {', '.join(own)}" for side, own in found[f"{name} in one"].items() if own]
    for dataset, files in found["files"].items():
        lines += ["", f"== {dataset}", *_files_text(files), *_strict_text(found["strict"][dataset])]
        table = found["movement"]
        lines += ["", *_movement_text(table[table["dataset"] == dataset], everything)]
    return "\n".join(lines).rstrip() + "\n"


def _differing(a: dict[str, Any], b: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = [*a, *(name for name in b if name not in a)]
    return {name: (a.get(name), b.get(name)) for name in names if (name in a, a.get(name)) != (name in b, b.get(name))}


def _other_code(a: Run, b: Run) -> list[str]:
    ours, others = a.provenances(), b.provenances()
    return list(dict.fromkeys(
        ours[path]["stage"] for path in ours if path in others and ours[path]["code"] != others[path]["code"]
    ))  # fmt: skip


def _files(a: Path, b: Path) -> dict[str, dict[str, int]]:
    """Of each kind of FILES: how many are equal, differ, and are in one run alone."""
    found = {}
    for name, pattern in FILES.items():
        ours, others = ({str(path.relative_to(folder)) for path in folder.glob(pattern)} for folder in (a, b))
        both = ours & others
        equal = sum(equal_files(a / path, b / path) for path in both)
        found[name] = {"equal": equal, "differ": len(both) - equal, "A": len(ours - others), "B": len(others - ours)}
    return found


def _header(file: BinaryIO) -> Any:
    length = int.from_bytes(file.read(8), "little")
    return json.loads(file.read(min(length, os.fstat(file.fileno()).st_size)))


def equal_files(a: Path, b: Path) -> bool:
    """Whether two files hold the same bytes; of safetensors, the same header, in any order, and the same values.

    The library writes the metadata of a header in an order that changes from process to process.
    """
    if filecmp.cmp(a, b, shallow=False):
        return True
    if a.suffix != ".safetensors":
        return False
    with a.open("rb") as one, b.open("rb") as other:
        try:
            headers = [_header(file) for file in (one, other)]
        except (ValueError, RecursionError):  # a damaged file
            return False
        if headers[0] != headers[1]:
            return False
        while (chunk := one.read(_CHUNK)) == other.read(_CHUNK):
            if not chunk:
                return True
    return False


def _moved(dataset: str, a: Run, b: Run) -> pd.DataFrame:
    tables = []
    for kind, moved in (("evaluation", movement.acceptance), ("timing", movement.speedups)):
        frames = [run.records(dataset, kind) for run in (a, b)]
        if all(frame is not None for frame in frames):
            tables.append(moved(*frames))
    tables.append(movement.rankings(a.folder / dataset, b.folder / dataset))
    filled = [table for table in tables if len(table)] or tables[:1]
    moved = pd.concat(filled, ignore_index=True)
    moved.insert(0, "dataset", dataset)
    return moved


def _files_text(files: dict[str, dict[str, int]]) -> list[str]:
    lines = []
    for name, counts in files.items():
        both = counts["equal"] + counts["differ"]
        alone = "".join(f", {counts[side]} only in {side}" for side in "AB" if counts[side])
        if both or alone:
            lines.append(f"{name}: {counts['equal']} of {both} files equal, bit for bit{alone}")
    return lines


def _strict_text(strict: list[tuple[int, int]]) -> list[str]:
    told = [f"{side}: {same:,} of {lists:,}" for side, (same, lists) in zip("AB", strict, strict=True) if lists]
    return [f"strict lists that are their target's own: {', '.join(told)}"] if told else []


def _movement_text(table: pd.DataFrame, everything: bool) -> list[str]:
    shown = table
    if not everything and len(table):
        widest = table["N"].max()
        shown = table[(table["K"] == table["K"].max()) & table["N"].isin([0, widest])]
    both = shown[shown["change"].notna()]
    moved, alone = both[both["change"] != 0], len(shown) - len(both)
    where = "at every K and N" if everything else "at the largest K and N"
    lines = [f"{len(moved)} of {len(both)} numbers of both runs {where} moved"]
    lines += [f"{alone} more are of one run alone (--json and --output have them)"] if alone else []
    if moved.empty:
        return lines
    moved = moved.assign(rank=moved["metric"].map(list(dict.fromkeys(table["metric"])).index))
    moved = moved.sort_values(["rank", "verification", *accepted.KEY], kind="stable")
    names = ["number", "A", "B", "B - A", "95 % interval"]
    notes = [
        "interval: paired over users of both runs and seeds of drafts; *: without 0. Rows without one are not paired.",
        "vs plain, vs generate: speedups. Times vary between runs on one machine; their intervals leave that out.",
    ]
    return [*lines, *_table(names, [_cells(row, everything) for row in moved.to_dict("records")]), *notes]


def _cells(row: dict[str, Any], everything: bool) -> list[str]:
    many = 4 if row["metric"] in ("recall", "ndcg") else 3
    words = [f"{row['metric']}@{row['K']}", row["objective"], row["verification"], row["plan"]]
    words += [f"N={row['N']}"] if everything and row["N"] else []
    if not row["objective"]:
        words.insert(1, "plain beam search")
    values = [_ABSENT if pd.isna(row[side]) else f"{row[side]:.{many}f}" for side in "AB"]
    change = _ABSENT if pd.isna(row["change"]) else f"{row['change']:+.{many}f}"
    if pd.isna(row["low"]):
        interval = _ABSENT
    else:
        clear = (row["low"] > 0 or row["high"] < 0) and not row["metric"].startswith("vs ")
        interval = f"[{row['low']:+.{many}f}, {row['high']:+.{many}f}]{'*' if clear else ' '}"
    return [" ".join(filter(None, words)), *values, change, interval]


def _table(names: list[str], rows: list[list[str]]) -> list[str]:
    return aligned([[names], rows])


def _value(value: Any) -> str:
    if value is None:
        return _ABSENT
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
