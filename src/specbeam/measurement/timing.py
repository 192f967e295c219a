"""Time of a recommendation list by every method, interleaved in one job on the same prompts, all warm."""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from specbeam.clock import timed
from specbeam.decoding.counters import Phases
from specbeam.decoding.drafters import Drafter, ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.reader import Scorer
from specbeam.decoding.search import untimed
from specbeam.measurement import records
from specbeam.measurement.evaluate import provenance, speculate
from specbeam.measurement.peers import allowed_tokens, generate
from specbeam.progress import Bar

Method = dict[str, Any]
"""The columns that name a method: method, objective, verification, N."""


def time_methods(
    *, prepared: Path, target: Path, drafts: dict[str, Path], dataset: str, beam_width: int, output: Path,
    settings: Any, threads: int,
) -> None:  # fmt: skip
    """Write the seconds of every (user, method, repeat) for one K, and the phases of every (user, method).

    Methods: transformers' generate, this engine's plain beam search, and speculation with each draft, verification and
    N. Every user's list is made once unrecorded, then `measurement.repeats` times by all methods in turn, each time in
    another order (what ran just before leaves caches behind), then once more under timers for the phases. `drafts` are
    folders by objective, of one seed each.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    normalise = settings.decoding.normalise
    scorer = inputs.scorer(target, settings.target.model.dtype, normalise)
    drafters = {
        name: ModelDrafter.of(inputs.scorer(folder, settings.draft.model.dtype, normalise))
        for name, folder in drafts.items()
    }
    methods = _methods(inputs, scorer, drafters, beam_width, settings)
    rows, order = [], random.Random(settings.seed)
    users = inputs.sampled_users("test", settings.measurement.timing_users, settings.seed)
    for user, history, _ in Bar(users, desc=f"time, K = {beam_width}", unit="user"):
        prompt = inputs.prompt(history)
        for _, make in methods:
            make(prompt, untimed)
        for repeat in range(settings.measurement.repeats):
            for method, make in order.sample(methods, len(methods)):
                seconds, calls = timed(partial(make, prompt, untimed), inputs.device)
                row = {"repeat": repeat, "seconds": seconds, "timed": True, "target_calls": calls}
                rows.append({**method, "user": user, **row, **dict.fromkeys(records.PHASES)})
        for method, make in methods:
            if method["method"] != "generate":
                rows.append({**method, "user": user, "repeat": 0, "timed": False, **_phases(make, prompt)})
    frame = pd.DataFrame(rows).assign(dataset=dataset, K=beam_width)
    records.write(frame, output, kind="timing", **provenance(settings, inputs, threads))


ListMaker = Callable[[torch.Tensor, Any], int]
"""From prompt [1, P] and timer to the number of target calls."""


def _methods(
    inputs: SearchInputs, target: Scorer, drafters: dict[str, Drafter], k: int, settings: Any
) -> list[tuple[Method, ListMaker]]:
    normalise, length = settings.decoding.normalise, inputs.trie.depth
    allowed = allowed_tokens(inputs.builder.identifiers, settings.decoding.constraint)

    def peer(prompt: torch.Tensor, timer: Any) -> int:
        generate(target.model, prompt, allowed, beam_width=k, identifier_length=length, normalise=normalise)
        return length

    def plain(prompt: torch.Tensor, timer: Any) -> int:
        return search(target, prompt, beam_width=k, timer=timer).counters.target_calls

    def speculative(drafter: Drafter, verification: str, n: int) -> ListMaker:
        def method(prompt: torch.Tensor, timer: Any) -> int:
            options = {"plan": "flat", "verification": verification, "k": k, "n": n, "timer": timer}
            return speculate(target, drafter, prompt, settings, **options).counters.target_calls

        return method

    alone = {"objective": "", "verification": "", "N": 0}
    methods: list[tuple[Method, ListMaker]] = [
        ({"method": "generate", **alone}, peer),
        ({"method": "plain", **alone}, plain),
    ]
    for objective, drafter in drafters.items():
        for verification in settings.measurement.verifications:
            for n in settings.measurement.draft_beam_widths:
                if n >= k:
                    name = {"method": "speculative", "objective": objective, "verification": verification, "N": n}
                    methods.append((name, speculative(drafter, verification, n)))
    return methods


def _phases(make: ListMaker, prompt: torch.Tensor) -> dict[str, float]:
    phases = Phases()
    seconds, calls = timed(partial(make, prompt, phases), prompt.device)
    parts = {phase: phases.seconds.get(phase, 0.0) for phase in records.PHASES}
    return {"seconds": seconds, "target_calls": calls, **parts}
