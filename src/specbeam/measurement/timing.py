"""Time of a recommendation list by every method, interleaved in one job on the same prompts, all warm."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from specbeam.decoding.beam_search import beam_search, untimed
from specbeam.decoding.counters import Phases
from specbeam.decoding.inputs import SearchInputs
from specbeam.measurement import records
from specbeam.measurement.evaluate import provenance, sampled_users, speculate
from specbeam.measurement.peers import allowed_tokens, generate

Method = dict[str, Any]
"""The columns that name a method: method, objective, verification, N."""


def time_methods(
    *, prepared: Path, target: Path, drafts: dict[str, Path], dataset: str, beam_width: int, output: Path,
    settings: Any, threads: int,
) -> None:  # fmt: skip
    """Write the seconds of every (user, method, repeat) for one K, and the phases of every (user, method).

    Methods: transformers' generate, this engine's plain beam search, and speculation with each draft, verification and
    N. Every user's list is made once unrecorded, then `measurement.repeats` times by all methods in turn, each time in
    another order (what ran just before leaves caches behind), then once more under timers for the phases.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    models = {name: inputs.model(folder, settings.draft.model.dtype) for name, folder in drafts.items()}
    methods = _methods(inputs, inputs.model(target, settings.target.model.dtype), models, beam_width, settings)
    rows, order = [], random.Random(settings.seed)
    users = list(sampled_users(inputs, settings.measurement.timing_users, settings.seed))
    for user, history, _ in tqdm(users, desc=f"time, K = {beam_width}", unit="user", disable=None):
        prompt = inputs.prompt(history)
        for _, search in methods:
            search(prompt, user, untimed)
        for repeat in range(settings.measurement.repeats):
            for method, search in order.sample(methods, len(methods)):
                seconds, calls = _timed(search, prompt, user, inputs.device)
                timed = {"repeat": repeat, "seconds": seconds, "timed": True, "target_calls": calls}
                rows.append({**method, "user": user, **timed, **dict.fromkeys(records.PHASES)})
        for method, search in methods:
            if method["method"] != "generate":
                rows.append({**method, "user": user, "repeat": 0, "timed": False, **_phases(search, prompt, user)})
    frame = pd.DataFrame(rows).assign(dataset=dataset, K=beam_width)
    records.write(frame, output, kind="timing", **provenance(settings, inputs, threads))


Search = Callable[[torch.Tensor, int, Any], int]
"""From prompt [1, P], user and timer to the number of target calls."""


def _methods(
    inputs: SearchInputs, target: Any, drafts: dict[str, Any], k: int, settings: Any
) -> list[tuple[Method, Search]]:
    normalise, length = settings.decoding.normalise, inputs.trie.depth
    allowed = allowed_tokens(inputs.builder.identifiers, settings.decoding.constraint)

    def peer(prompt: torch.Tensor, user: int, timer: Any) -> int:
        generate(target, prompt, allowed, beam_width=k, identifier_length=length, normalise=normalise)
        return length

    def plain(prompt: torch.Tensor, user: int, timer: Any) -> int:
        return beam_search(
            target, prompt, inputs.trie, beam_width=k, normalise=normalise, timer=timer
        ).counters.target_calls

    def speculative(draft: Any, verification: str, n: int) -> Search:
        def search(prompt: torch.Tensor, user: int, timer: Any) -> int:
            options = {"verification": verification, "k": k, "n": n, "user": user, "timer": timer}
            return speculate(inputs, (target, draft), prompt, settings, **options).counters.target_calls

        return search

    alone = {"objective": "", "verification": "", "N": 0}
    methods: list[tuple[Method, Search]] = [
        ({"method": "generate", **alone}, peer),
        ({"method": "plain", **alone}, plain),
    ]
    for objective, draft in drafts.items():
        for verification in settings.measurement.verifications:
            for n in settings.measurement.draft_beam_widths:
                if n >= k:
                    name = {"method": "speculative", "objective": objective, "verification": verification, "N": n}
                    methods.append((name, speculative(draft, verification, n)))
    return methods


def _timed(search: Search, prompt: torch.Tensor, user: int, device: torch.device) -> tuple[float, int]:
    _wait(device)
    start = time.perf_counter()
    calls = search(prompt, user, untimed)
    _wait(device)
    return time.perf_counter() - start, calls


def _phases(search: Search, prompt: torch.Tensor, user: int) -> dict[str, float]:
    phases = Phases()
    _wait(prompt.device)
    start = time.perf_counter()
    calls = search(prompt, user, phases)
    _wait(prompt.device)
    seconds = time.perf_counter() - start
    parts = {phase: phases.seconds.get(phase, 0.0) for phase in records.PHASES}
    return {"seconds": seconds, "target_calls": calls, **parts}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
