"""`specbeam bench`: every way to make a list, timed against every other on the same prompts, in one process.

For each beam width and batch size all methods make the lists of a batch of prompts once unrecorded, then `repeats`
times in turn, each time in another order (what ran just before leaves caches behind). Beside the times: how far the
target's passes are from the device's roofline, and the share of a list's time that the constraint takes.
"""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import torch

from specbeam import parquet, provenance
from specbeam.clock import timed
from specbeam.decoding.drafters import Drafter, ModelDrafter, PriorDrafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.files import replacing
from specbeam.measurement import bench_report, filter_costs, lookups
from specbeam.measurement.bench_methods import KEY, Grid, Method, methods
from specbeam.measurement.bench_subject import Subject
from specbeam.measurement.records import ENVIRONMENT
from specbeam.measurement.roofline import Batch, Passes, Roofline, Weights, capped, ceiling, pass_table
from specbeam.progress import Bar
from specbeam.subsets import Shelf

COLUMNS: dict[str, pa.DataType] = {
    **dict.fromkeys(("K", "batch", "user_batch", "prompts"), pa.int64()),
    **dict.fromkeys(KEY, pa.string()),
    "repeat": pa.int64(),
    "seconds": pa.float64(),
    **dict.fromkeys(("target_calls", "draft_calls", "nodes"), pa.int64()),
}
"""Records: one row a timed repeat of a method on one batch of prompts."""

TREES = (10, 30, 100, 300)
"""Nodes of the trees whose passes are timed besides those of the plans: what a node costs, by how many there are."""


def bench(*, subject: Subject, grid: Grid, output: Path, threads: int) -> str:
    """Measure `subject` on `grid`; returns the tables as text.

    Writes to the folder `output`: bench.parquet (every timed repeat), bench.csv (the table), passes.csv (roofline),
    lookups.csv (constraint), filters.csv (if there is a large catalogue) and bench.txt (what is returned).
    """
    rows, memory, ceilings, passes = [], [], [], []
    roofline = Roofline.measure(
        subject.device, subject.target.model.dtype, weight_bytes=Weights.of(subject.target).bytes
    )
    for size in grid.batch_sizes:
        batches = subject.batches(size, grid.users)
        pass_times, trees = (
            Passes(subject.middle_batch(size, grid.users), grid.repeats),
            {f"{n} nodes": n for n in TREES},
        )
        for k in grid.beam_widths:
            compared = list(methods(subject, grid, k, size))
            at = {"K": k, "batch": size}
            rows += [at | row for row in _times(compared, batches, grid, subject, f"K = {k}, batch {size}")]
            memory += [at | method.key | _memory(method, batches[-1], subject.device) for method in compared]
            for method in compared:
                if method.draft:
                    drafter, plan = method.draft
                    scorer = drafter.scorer if isinstance(drafter, ModelDrafter) else None
                    best = ceiling(pass_times, subject.target, scorer, plan, k)
                    ceilings.append(at | method.key | {"ceiling": best})
                    trees[method.plan.removeprefix("planned ")] = sum(capped(plan, subject.target.trie))
        trees = {name: nodes for name, nodes in trees.items() if nodes}
        passes.append(pass_table(pass_times, subject.target, roofline, beam_widths=grid.beam_widths, trees=trees))
    records = pd.DataFrame(rows)[list(COLUMNS)]
    tables = {
        "bench": bench_report.table(records, pd.DataFrame(memory), pd.DataFrame(ceilings)),
        "passes": pd.concat(passes, ignore_index=True),
        **_constraint(subject, grid),
    }
    environment = _environment(subject, threads)
    header = bench_report.header(subject, grid, roofline, environment)
    text = bench_report.text(header, **tables, on_gpu=subject.device.type == "cuda")
    _write(output, records, environment, {"grid": _plain(grid), "subject": subject.settings, "name": subject.name})
    for name, frame in tables.items():
        with replacing(output / f"{name}.csv") as temporary:
            frame.to_csv(temporary, index=False, lineterminator="\n")
    with replacing(output / "bench.txt") as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _times(
    compared: Sequence[Method], batches: Sequence[Batch], grid: Grid, subject: Subject, name: str
) -> list[dict[str, Any]]:
    """One row a (batch of prompts, repeat, method), the methods of a repeat in random order."""
    rows, order = [], random.Random(subject.seed)
    for number, (prompts, mask) in enumerate(Bar(batches, desc=name, unit="batch")):
        for method in compared:
            method.make(prompts, mask)
        for repeat in range(grid.repeats):
            for method in order.sample(compared, len(compared)):
                seconds, done = timed(partial(method.make, prompts, mask), subject.device)
                counts = {name: getattr(done, name) for name in ("target_calls", "draft_calls", "nodes")}
                what = {"user_batch": number, "prompts": len(prompts), "repeat": repeat, "seconds": seconds}
                rows.append({**method.key, **what, **counts})
    return rows


def _memory(method: Method, batch: Batch, device: torch.device) -> dict[str, int]:
    """Bytes for the longest batch: on a GPU the peak that is allocated, weights included; else keys and values."""
    prompts, mask = batch
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    done = method.make(prompts, mask)
    if device.type == "cuda":
        return {"memory": torch.cuda.max_memory_allocated(device)}
    return {"memory": method.held(*prompts.shape, done.nodes)}


def _constraint(subject: Subject, grid: Grid) -> dict[str, pd.DataFrame]:
    """Tables of the share of a list's time that look-ups take, and on the large catalogue filters."""
    rows, k = {"lookups": [], "filters": []}, max(grid.beam_widths)
    for target, drafter, shelf, about in _catalogues(subject, grid):
        flat = Plan.flat(grid.draft_beam_width, grid.draft_length, target.trie.depth)
        for size in grid.batch_sizes:
            prompts, mask = subject.middle_batch(size, grid.users)
            for method, options in (("plain", {}), ("strict", {"drafter": drafter, "plan": flat})):
                make = partial(search, target, prompts, mask=mask, beam_width=k, **options)
                what = {**about, "method": method, "K": k, "batch": size}
                rows["lookups"].append(what | lookups.share(target.trie, make, subject.device, grid.repeats))
                if shelf:
                    how = {"device": subject.device, "repeats": grid.repeats, "seed": subject.seed}
                    rows["filters"] += [what | row for row in filter_costs.costs(shelf, make, size, **how)]
    return {name: pd.DataFrame(found) for name, found in rows.items() if found}


def _catalogues(subject: Subject, grid: Grid) -> Iterator[tuple[Scorer, Drafter, Shelf | None, dict[str, Any]]]:
    """The subject's catalogue and a large synthetic one: target, drafter, the large one's shelf, and what it is."""
    drafter = next(iter(subject.drafters.values()), None)
    yield subject.target, drafter or subject.prior, None, {"items": len(subject.identifiers), "build_seconds": 0.0}
    if grid.catalogue:
        readers = [subject.target, *([drafter.scorer] if drafter else [])]
        written = min(scorer.model.get_input_embeddings().num_embeddings for scorer in readers)
        shelf, seconds = lookups.synthetic_shelf(grid.catalogue, written, subject.device, subject.seed)
        target, *draft = (scorer.over(shelf.trie) for scorer in readers)
        drafter = ModelDrafter.of(*draft) if draft else PriorDrafter.of(shelf.trie)
        yield target, drafter, shelf, {"items": grid.catalogue, "build_seconds": seconds}


def _environment(subject: Subject, threads: int) -> dict[str, Any]:
    found = provenance.environment()
    return {
        "device": "cpu" if subject.device.type == "cpu" else found["device"],
        "threads": threads,
        "dtype": subject.dtype,
        "seed": subject.seed,
        "commit": found["commit"],
        "dirty": found["dirty"],
        "versions": json.dumps(found["versions"], sort_keys=True),
        "cpu": found["cpu"],
    }


def _write(output: Path, records: pd.DataFrame, environment: dict[str, Any], settings: dict[str, Any]) -> None:
    frame = records.assign(**environment)
    metadata = {"specbeam": json.dumps({"kind": "bench", "settings": settings}, sort_keys=True)}
    schema = pa.schema(list((COLUMNS | ENVIRONMENT).items()), metadata=metadata)
    parquet.write(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), output / "bench.parquet")


def _plain(grid: Grid) -> dict[str, Any]:
    plans = [asdict(plan) if isinstance(plan, Plan) else plan for plan in grid.plans]
    return {**asdict(grid), "plans": plans, "warm_up": 1}
