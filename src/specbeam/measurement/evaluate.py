"""Acceptance and recall of one draft on test users, for every plan, verification, K and N. Nothing here is timed."""

import logging
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from specbeam.decoding.drafters import Drafter, ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import Ranking, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import rule_of
from specbeam.measurement import records
from specbeam.measurement.counting import BATCH, counts, same_lists
from specbeam.measurement.trees import compare_trees
from specbeam.ranking import ndcg_at, recall_at

log = logging.getLogger(__name__)


def evaluate(
    *, prepared: Path, target: Path, draft: Path, objective: str, draft_seed: int, dataset: str, output: Path,
    trees: Path, settings: Any, threads: int,
) -> None:  # fmt: skip
    """Write one record a (user, plan, verification, K, N), and one of the target's own beam search a (user, K).

    And to `trees`, target calls by the size and shape of the drafted tree (specbeam.measurement.trees).

    Users are searched in batches and counted as if each was searched alone. Every list is compared with the target's
    own on the way.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    normalise, measured = settings.decoding.normalise, settings.measurement
    scorer = inputs.scorer(target, settings.target.model.dtype, normalise)
    drafter = ModelDrafter.of(inputs.scorer(draft, settings.draft.model.dtype, normalise))
    users = inputs.sampled_users("test", measured.users, settings.seed)
    wanted = [inputs.data.catalogue.rows(targets) for _, _, targets in users]

    def work(chosen: np.ndarray, prompts: Tensor, mask: Tensor) -> list[list[dict[str, Any]]]:
        rows: list[list[dict[str, Any]]] = [[] for _ in chosen]
        for k in measured.beam_widths:
            for names, found, same in _lists(scorer, drafter, prompts, mask, k, settings):
                drafted = names["N"] > 0
                each = zip(rows, chosen, inputs.rows(found), found.counters.each, same, strict=True)
                for of_user, i, ranked, counters, own in each:
                    quality = {"recall": recall_at(ranked, wanted[i], k), "ndcg": ndcg_at(ranked, wanted[i], k)}
                    row = {"K": k, "user": users[i][0], "same_as_target": own, **counts(counters, drafted=drafted)}
                    of_user.append({**names, **row, **quality})
        return rows

    rows = inputs.in_batches(work, [history for _, history, _ in users], BATCH, name=objective)
    frame = pd.DataFrame(chain.from_iterable(rows))
    frame = frame.sort_values(["user", "K"], kind="stable", ignore_index=True)
    strict = frame.loc[frame["verification"] == "strict", "same_as_target"]
    log.info("%s: %d of %d strict lists are the target's own, item for item", objective, strict.sum(), len(strict))
    shapes = compare_trees(inputs, scorer, drafter, settings)
    for kind, table, path in (("trees", shapes, trees), ("evaluation", frame, output)):
        table = table.assign(dataset=dataset, objective=objective, draft_seed=draft_seed)
        records.write(table, path, kind=kind, **provenance(settings, inputs, threads))


def _lists(
    target: Scorer, drafter: Drafter, prompts: Tensor, mask: Tensor, k: int, settings: Any
) -> Iterator[tuple[dict[str, Any], Ranking, list[bool]]]:
    """Every way to lists of `k` items: its names, the lists, and which of them are the target's own."""
    measured, batch = settings.measurement, {"mask": mask, "apart": True}
    own = search(target, prompts, beam_width=k, **batch)
    expected = dict.fromkeys(measured.verifications, own)
    if "coupled" in expected:  # lossless too, but relative to the target's own sample
        sample = rule_of("coupled", settings.decoding.temperature, settings.seed)
        expected["coupled"] = search(target, prompts, beam_width=k, rule=sample, **batch)
    yield {"plan": "", "verification": "target", "N": 0}, own, [True] * len(prompts)
    for n in (n for n in measured.draft_beam_widths if n >= k):  # N below K can accept no level
        for plan, verification in _pairs(measured):
            options = {"plan": plan, "verification": verification, "k": k, "n": n, **batch}
            found = speculate(target, drafter, prompts, settings, **options)
            yield {"plan": plan, "verification": verification, "N": n}, found, same_lists(found, expected[verification])


def _pairs(measured: Any) -> list[tuple[str, str]]:
    """Plans and verifications that go together: relaxed samples from the draft model, which must draft all levels."""
    pairs = [(plan, verification) for plan in measured.plans for verification in measured.verifications]
    return [pair for pair in pairs if pair[0] == "flat" or not pair[1].startswith("relaxed")]


def speculate(
    target: Scorer, drafter: Drafter, prompts: Tensor, settings: Any, *, plan: str, verification: str, k: int, n: int,
    **options: Any,
) -> Ranking:  # fmt: skip
    """Lists by speculative decoding with the plan `flat`, as in the paper, or `completed` (Plan.completed).

    Samples depend on the run's seed and the prompt alone.
    """
    rule, gamma = rule_of(verification, settings.decoding.temperature, settings.seed), settings.decoding.draft_length
    flat = plan == "flat"
    plan = Plan.flat(n, gamma, target.trie.depth) if flat else Plan.completed(n, gamma, target.trie.widths)
    return search(target, prompts, beam_width=k, drafter=drafter, plan=plan, rule=rule, **options)


def provenance(settings: Any, inputs: SearchInputs, threads: int) -> dict[str, Any]:
    """What records say of the job that wrote them."""
    return {
        "settings": settings.model_dump(mode="json"),
        "device": inputs.device.type,
        "threads": threads,
        "dtype": settings.target.model.dtype,
        "seed": settings.seed,
    }
