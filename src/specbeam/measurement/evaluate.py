"""Acceptance and recall of one draft on test users, for every verification, K and N. Nothing here is timed."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from specbeam.decoding.drafters import Drafter, ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import Ranking, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import rule_of
from specbeam.measurement import records
from specbeam.measurement.trees import compare_trees
from specbeam.ranking import ndcg_at, recall_at

log = logging.getLogger(__name__)


def evaluate(
    *, prepared: Path, target: Path, draft: Path, objective: str, dataset: str, output: Path, trees: Path,
    settings: Any, threads: int,
) -> None:  # fmt: skip
    """Write one record a (user, verification, K, N), and one of the target's own beam search a (user, K).

    And to `trees`, target calls by the size and shape of the drafted tree (specbeam.measurement.trees).

    Every list is compared with the target's own on the way.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    normalise, measured = settings.decoding.normalise, settings.measurement
    scorer = inputs.scorer(target, settings.target.model.dtype, normalise)
    drafter = ModelDrafter.of(inputs.scorer(draft, settings.draft.model.dtype, normalise))
    rows = []
    own_sample = rule_of("coupled", settings.decoding.temperature, settings.seed)
    users = inputs.sampled_users("test", measured.users, settings.seed)
    for user, history, targets in tqdm(users, desc=f"evaluate {objective}", unit="user", disable=None):
        prompt, wanted = inputs.prompt(history), inputs.data.catalogue.rows(targets)
        for k in measured.beam_widths:
            own = search(scorer, prompt, beam_width=k)
            expected = dict.fromkeys(measured.verifications, own)
            if "coupled" in expected:  # lossless too, but relative to the target's own sample
                expected["coupled"] = search(scorer, prompt, beam_width=k, rule=own_sample)
            rows.append(_row(inputs, own, own, wanted, verification="target", K=k, N=0, user=user))
            for n in measured.draft_beam_widths:
                if n < k:
                    continue  # N below K can accept no level
                for verification in measured.verifications:
                    found = speculate(scorer, drafter, prompt, settings, verification=verification, k=k, n=n)
                    keys = {"verification": verification, "K": k, "N": n, "user": user}
                    rows.append(_row(inputs, found, expected[verification], wanted, **keys))
    frame = pd.DataFrame(rows)
    strict = frame.loc[frame["verification"] == "strict", "same_as_target"]
    log.info("%s: %d of %d strict lists are the target's own, item for item", objective, strict.sum(), len(strict))
    shapes = compare_trees(inputs, scorer, drafter, settings)
    for kind, table, path in (("trees", shapes, trees), ("evaluation", frame, output)):
        table.insert(0, "dataset", dataset)
        table.insert(1, "objective", objective)
        records.write(table, path, kind=kind, **provenance(settings, inputs, threads))


def speculate(
    target: Scorer, drafter: Drafter, prompt: torch.Tensor, settings: Any, *, verification: str, k: int, n: int,
    **options: Any,
) -> Ranking:  # fmt: skip
    """One list by speculative decoding as the paper does it; samples depend on the run's seed and the prompt alone."""
    rule = rule_of(verification, temperature=settings.decoding.temperature, seed=settings.seed)
    plan = Plan.flat(n, settings.decoding.draft_length, target.trie.depth)
    return search(target, prompt, beam_width=k, drafter=drafter, plan=plan, rule=rule, **options)


def provenance(settings: Any, inputs: SearchInputs, threads: int) -> dict[str, Any]:
    """What records say of the job that wrote them."""
    return {
        "settings": settings.model_dump(mode="json"),
        "device": inputs.device.type,
        "threads": threads,
        "dtype": settings.target.model.dtype,
        "seed": settings.seed,
    }


def _row(inputs: SearchInputs, found: Ranking, own: Ranking, wanted: list[int], **keys: Any) -> dict[str, Any]:
    counters, ranked = found.counters, inputs.rows(found)[0]
    accepted = counters.accepted[0] if keys["N"] else []  # a search without a draft has nothing to accept
    last_drafts_nothing = bool(accepted) and accepted[-1] == 0  # only the last level was left, which is never drafted
    return {
        **keys,
        "accepted": sum(accepted),
        "first_accepted": accepted[0] if accepted else 0,
        "rounds": len(accepted) - last_drafts_nothing,
        "target_calls": counters.target_calls,
        "draft_calls": counters.draft_calls,
        "nodes": counters.nodes,
        "same_as_target": torch.equal(found.sequences, own.sequences),
        "recall": recall_at(ranked, wanted, keys["K"]),
        "ndcg": ndcg_at(ranked, wanted, keys["K"]),
    }
