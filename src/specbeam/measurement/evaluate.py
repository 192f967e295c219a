"""Acceptance and recall of one draft on test users, for every verification, K and N. Nothing here is timed."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from tqdm import tqdm

from specbeam.data.sequences import history_and_targets
from specbeam.decoding.beam_search import Ranking, beam_search
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.rules import Relaxed, Rule, Strict
from specbeam.decoding.speculative import speculative_search
from specbeam.measurement import records
from specbeam.ranking import ndcg_at, recall_at

log = logging.getLogger(__name__)


def evaluate(
    *, prepared: Path, target: Path, draft: Path, objective: str, dataset: str, output: Path, settings: Any,
    threads: int,
) -> None:  # fmt: skip
    """Write one record a (user, verification, K, N), and one of the target's own beam search a (user, K).

    Every list is compared with the target's own on the way.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    models = (
        inputs.model(target, settings.target.model.dtype),
        inputs.model(draft, settings.draft.model.dtype),
    )
    measured = settings.measurement
    rows = []
    users = sampled_users(inputs, measured.users, settings.seed)
    for user, history, targets in tqdm(list(users), desc=f"evaluate {objective}", unit="user", disable=None):
        prompt, wanted = inputs.prompt(history), inputs.data.catalogue.rows(targets)
        for k in measured.beam_widths:
            own = beam_search(
                models[0], prompt, inputs.trie, beam_width=k, normalise=settings.decoding.normalise, rule=Strict()
            )
            rows.append(_row(inputs, own, own, wanted, verification="target", K=k, N=0, user=user))
            for n in measured.draft_beam_widths:
                if n < k:
                    continue  # N below K can accept no level
                for verification in measured.verifications:
                    found = speculate(inputs, models, prompt, settings, verification=verification, k=k, n=n, user=user)
                    rows.append(_row(inputs, found, own, wanted, verification=verification, K=k, N=n, user=user))
    frame = pd.DataFrame(rows)
    strict = frame.loc[frame["verification"] == "strict", "same_as_target"]
    log.info("%s: %d of %d strict lists are the target's own, item for item", objective, strict.sum(), len(strict))
    frame.insert(0, "dataset", dataset)
    frame.insert(1, "objective", objective)
    records.write(frame, output, kind="evaluation", **provenance(settings, inputs, threads))


def sampled_users(inputs: SearchInputs, users: int | None, seed: int) -> Any:
    """(user, history, targets) of `users` test users drawn by `seed`, or of all."""
    asked = history_and_targets(inputs.data.users, "test")
    if users is not None:
        asked = asked.sample(min(users, len(asked)), random_state=seed).sort_index()
    return zip(asked["user"], asked["history"], asked["targets"], strict=True)


def speculate(
    inputs: SearchInputs, models: tuple[Any, Any], prompt: torch.Tensor, settings: Any, *, verification: str, k: int,
    n: int, user: int, **options: Any,
) -> Ranking:  # fmt: skip
    """One list by speculative decoding with (target, draft); sampling depends on the run's seed and the user alone."""
    return speculative_search(
        *models,
        prompt,
        inputs.trie,
        beam_width=k,
        draft_beam_width=n,
        draft_length=settings.decoding.draft_length,
        normalise=settings.decoding.normalise,
        rule=rule_of(verification, settings.decoding.temperature, settings.seed, user, prompt.device),
        **options,
    )


def rule_of(verification: str, temperature: float, seed: int, user: int, device: torch.device) -> Rule:
    """The rule by its name in the config."""
    if verification == "strict":
        return Strict()
    return Relaxed(temperature, torch.Generator(device).manual_seed(seed * 1_000_003 + user))


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
    accepted = counters.accepted
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
