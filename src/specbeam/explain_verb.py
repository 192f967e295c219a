"""`specbeam explain`: how the list of one test user of a finished run came about, as text, JSON or a drawing."""

import json as json_format
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from specbeam.errors import SpecbeamError
from specbeam.options import cores
from specbeam.recommend_verb import AsJson, Device, Folder, K, UseDevice, asked

User = Annotated[int, typer.Option(min=0, help="A test user, by number in the data.")]
Objective = Annotated[str | None, typer.Option(help="The draft; atspeed_s, or the first there is, if not given.")]
DraftWidth = Annotated[int, typer.Option("--draft-beam-width", min=1, help="N: drafted sequences a level.")]
Svg = Annotated[Path | None, typer.Option(help="File to draw the tree to (SVG).")]


def explain(
    folder: Folder,
    user: User,
    k: K = 10,
    draft_beam_width: DraftWidth = 40,
    objective: Objective = None,
    device: UseDevice = Device.auto,
    svg: Svg = None,
    json: AsJson = False,
) -> None:
    """Tell how a test user's list came about.

    Level by level: what was drafted, and what of it the target accepted.
    """
    found = _explained(folder, user, objective, device.value, k, draft_beam_width)
    if svg:
        from specbeam.figures import example, style

        style.save_svg(example.draw(example.data(found)), svg)
    typer.echo(json_format.dumps(found, indent=2) if json else text(found))


def _explained(folder: Path, user: int, objective: str | None, device: str, k: int, n: int) -> dict[str, Any]:
    from specbeam.decoding.drafters import ModelDrafter
    from specbeam.decoding.inputs import SearchInputs
    from specbeam.finished_run import FinishedRun
    from specbeam.measurement import explained

    run = FinishedRun.of(folder)
    draft = run.draft(objective)
    if draft is None:
        raise SpecbeamError(f"{folder}: expected a draft to explain, there is none to use; name one by --objective")
    who = asked(run.prepared, user)
    values = run.settings.model_copy(update={"device": device})
    threads = cores()
    inputs = SearchInputs.of(run.prepared, values, constraint="trie", threads=threads)
    target = inputs.scorer(run.target, values.target.model.dtype, values.decoding.normalise)
    scorer = inputs.scorer(draft, values.draft.model.dtype, values.decoding.normalise)
    sizes = {"beam_width": k, "draft_beam_width": n, "draft_length": values.decoding.draft_length}
    found = explained.explain(inputs, target, ModelDrafter.of(scorer), history=who["history"], **sizes)
    asked_for = {"user": user, "targets": list(who["targets"]), "chosen": "asked for"}
    return {**asked_for, "objective": draft.parents[1].name, **found}


def text(found: dict[str, Any]) -> str:
    """What `specbeam explain` prints of an explanation (specbeam.measurement.explained)."""
    from specbeam.measurement.explained import FATES

    history, gamma = ", ".join(str(bought["item"]) for bought in found["history"]), found["draft_length"]
    lines = [
        f"user {found['user']}, history {history}",
        f"K = {found['K']}, N = {found['N']}, {gamma} levels a round, strict, draft {found['objective']}",
        "",
        *_list(found),
    ]
    for number, done in enumerate(found["rounds"], start=1):
        nodes = [node for node in found["nodes"] if node["round"] == number]
        lines += ["", _head(number, done, len(found["rounds"]))]
        for level in sorted({node["level"] for node in nodes}):
            lines += ["", *_level(level, [node for node in nodes if node["level"] == level])]
    present = {node["fate"] for node in found["nodes"]}
    meanings = [f"{fate:<10}  {meaning}" for fate, meaning in FATES.items() if fate in present]
    calls = f"target calls: {found['target_calls']}, {len(found['list'][0]['identifier'])} without a draft"
    return "\n".join([*lines, "", calls, "", *meanings, "(t, d)      ranks by target and draft"])


def _list(found: dict[str, Any]) -> Iterator[str]:
    yield "the target's list (* bought later)"
    for row in found["list"]:
        bought = "*" if set(row["items"]) & set(found["targets"]) else " "
        items = ", ".join(map(str, row["items"]))
        yield f"{row['rank']:>4} {bought} {''.join(row['identifier'])}  {row['score']:>8.4f}  item {items}"


def _head(number: int, done: dict[str, int], rounds: int) -> str:
    begins = f"after {done['start']} token(s)" if done["start"] else "at the prompt"
    drafted = (
        f"{done['drafted']} level(s) drafted, {done['accepted']} accepted" if done["drafted"] else "nothing drafted"
    )
    return f"round {number} of {rounds}, {begins}: {drafted}"


def _level(level: int, nodes: list[dict[str, Any]]) -> Iterator[str]:
    """One level of one round: what became of it, and its nodes by what became of them."""
    by_fate: dict[str, list[dict[str, Any]]] = {}
    for node in nodes:
        by_fate.setdefault(node["fate"], []).append(node)
    drafted, best = (sum(node[f"{who}_rank"] is not None for node in nodes) for who in ("draft", "target"))
    if "unverified" in by_fate:
        verdict = f"{drafted} drafted, in vain: the level above failed"
    elif "bonus" in by_fate:
        verdict = f"the bonus level: the target's {best} best, of the same pass"
    elif "missed" in by_fate:
        verdict = f"{drafted} drafted, {len(by_fate['missed'])} of the target's {best} best not among them: it fails, "
        verdict += "and is this round's bonus level"
    else:
        verdict = f"{drafted} drafted, the target's {best} best among them: accepted"
    yield f"  level {level}: {verdict}"
    for fate, those in by_fate.items():
        shown = ", ".join(map(_node, those))
        yield textwrap.fill(
            shown, 118, initial_indent=f"    {fate + ' ' + str(len(those)):<14}", subsequent_indent=" " * 18,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip


def _node(node: dict[str, Any]) -> str:
    """Tokens, and the ranks by target and draft, where it has them."""
    ranks = [f"{name} {node[f'{who}_rank']}" for name, who in (("t", "target"), ("d", "draft")) if node[f"{who}_rank"]]
    return f"{''.join(node['path'])} ({' '.join(ranks)})".replace(" ", "\N{NO-BREAK SPACE}")
