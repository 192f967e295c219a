"""One list explained: what the draft wrote, level by level and round by round, and what the target made of it.

Of strict verification with a flat draft, where a level is accepted if all of the target's K best continuations were
drafted. Each node of a tree has one of the FATES.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from specbeam.decoding.beams import Beams
from specbeam.decoding.drafters import Drafter, ModelDrafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.search import Round
from specbeam.files import write_json

FATES = {
    "accepted": "drafted, and among the target's K best",
    "rejected": "drafted, but not among the K best",
    "missed": "among the K best, but not drafted: the level fails",
    "bonus": "the K best after the last drafted level, which the same pass yields",
    "unverified": "drafted below a level that failed",
}
"""What becomes of a node, and what that means."""

CANDIDATES = 32
"""Users among whom an example is looked for."""

Words = dict[int, str]
"""Token id -> the token as text."""


def explain(
    inputs: SearchInputs, target: Scorer, drafter: Drafter, *, history: Sequence[int], beam_width: int,
    draft_beam_width: int, draft_length: int,
) -> dict[str, Any]:  # fmt: skip
    """Search one list, and say how it came about; JSON-able.

    Keys: K, N, draft_length, target_calls; history (item, identifier); rounds (start: tokens written before it,
    drafted: levels, accepted: levels); nodes (round and level from 1, path: tokens, fate, and rank from 1 and score by
    draft and by target, null where it has none); list (rank, items that share the identifier, identifier, score).
    """
    catalogue, trace = inputs.data.catalogue, []
    words: Words = {}
    for tokens, names in zip(inputs.builder.identifiers.tolist(), catalogue.distinct, strict=True):
        words.update(zip(tokens, names, strict=True))
    plan = Plan.flat(draft_beam_width, draft_length, target.trie.depth)
    found = search(target, inputs.prompt(history), beam_width=beam_width, drafter=drafter, plan=plan, trace=trace)
    rounds, nodes, start = [], [], 0
    for number, (one, accepted) in enumerate(zip(trace, found.counters.accepted[0], strict=True), start=1):
        rounds.append({"start": start, "drafted": len(one.drafted), "accepted": accepted})
        nodes += [{"round": number, **node} for node in _nodes(one, start, accepted, words)]
        start += accepted + 1
    rows, sequences = inputs.rows(found)[0], found.sequences[0].tolist()
    listed = [
        {
            "rank": rank,
            "items": [] if row < 0 else list(catalogue.items_of(row)),
            "identifier": [words[token] for token in tokens],
            "score": score,
        }
        for rank, (row, tokens, score) in enumerate(zip(rows, sequences, found.scores[0].tolist(), strict=True), 1)
    ]
    return {
        "K": beam_width,
        "N": draft_beam_width,
        "draft_length": draft_length,
        "target_calls": found.counters.target_calls,
        "history": [{"item": item, "identifier": list(catalogue.identifiers[item])} for item in history],
        "rounds": rounds,
        "nodes": nodes,
        "list": listed,
    }


def _nodes(one: Round, start: int, accepted: int, words: Words) -> Iterator[dict[str, Any]]:
    """Every node that a round drafted, or that the target chose at a level that it verified."""
    for step in range(max(len(one.drafted), accepted + 1)):
        drafted = _ranked(one.drafted[step].beams, words) if step < len(one.drafted) else {}
        chosen = _ranked(one.chosen[step], words) if step <= accepted else {}
        for path in dict.fromkeys([*chosen, *drafted]):
            if step > accepted:
                fate = "unverified"
            elif path in chosen:
                fate = "accepted" if path in drafted else "missed" if drafted else "bonus"
            else:
                fate = "rejected"
            by_draft, by_target = drafted.get(path, (None, None)), chosen.get(path, (None, None))
            yield {
                "level": start + step + 1,
                "path": list(path),
                "fate": fate,
                "draft_rank": by_draft[0],
                "draft_score": by_draft[1],
                "target_rank": by_target[0],
                "target_score": by_target[1],
            }


def _ranked(beams: Beams, words: Words) -> dict[tuple[str, ...], tuple[int, float]]:
    """The paths of one prompt's beams that exist, best first, with their ranks and scores."""
    exists, level = beams.scores[0].isfinite(), int(beams.levels[0])
    sequences, scores = beams.sequences[0, exists, :level].tolist(), beams.scores[0, exists].tolist()
    paths = [tuple(words[token] for token in tokens) for tokens in sequences]
    return {path: (rank, score) for rank, (path, score) in enumerate(zip(paths, scores, strict=True), start=1)}


def record_search(
    *, prepared: Path, target: Path, draft: Path, objective: str, output: Path, settings: Any, threads: int
) -> None:
    """Write the explanation of one test user's list at the largest K and N, for a figure that shows the method.

    Of the run's first test users, the first whose first round is accepted in part, so that there is something of every
    kind to be seen; the very first where there is none. Adds user, targets (items), chosen (why this user) and
    objective to what `explain` gives.
    """
    inputs = SearchInputs.of(prepared, settings, constraint=settings.decoding.constraint, threads=threads)
    normalise, measured = settings.decoding.normalise, settings.measurement
    scorer = inputs.scorer(target, settings.target.model.dtype, normalise)
    drafter = ModelDrafter.of(inputs.scorer(draft, settings.draft.model.dtype, normalise))
    widest = max(measured.draft_beam_widths)
    sizes = {
        "beam_width": max(k for k in measured.beam_widths if k <= widest),
        "draft_beam_width": widest,
        "draft_length": settings.decoding.draft_length,
    }
    shown, first_users = None, "the first of the run's test users"
    for user, history, targets in inputs.sampled_users("test", CANDIDATES, settings.seed):
        found = explain(inputs, scorer, drafter, history=history, **sizes)
        first = found["rounds"][0]
        in_part = 0 < first["accepted"] < first["drafted"]
        if shown is None or in_part:
            chosen = f"{first_users} whose first round is accepted in part" if in_part else first_users
            shown = {"user": user, "targets": list(targets), "chosen": chosen, "objective": objective, **found}
        if in_part:
            break
    write_json(output, shown)
