"""`specbeam recommend`: a list for one user of a finished run, or for any history, as a table or as JSON."""

import json as json_format
from enum import StrEnum
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Annotated, Any

import typer

from specbeam.errors import SpecbeamError

if TYPE_CHECKING:
    from specbeam.data.item_keys import ItemKeys

LONGEST = 60
"""Characters of a text that a table shows."""

Device = StrEnum("Device", ["auto", "cpu", "cuda"])

Folder = Annotated[Path, typer.Argument(help="Data set of a finished run, such as results/default/synthetic.")]
User = Annotated[int | None, typer.Option(min=0, help="A test user, by number in the data.")]
History = Annotated[str | None, typer.Option(help="Or item ids (of own data: keys), oldest first: 5,9,22.")]
Without = Annotated[str | None, typer.Option(help="Item ids (of own data: keys) that the list may not name.")]
Repeats = Annotated[bool, typer.Option(help="Whether the list may name items of the history.")]
K = Annotated[int, typer.Option("--k", min=1, help="Items in the list.")]
ObjectiveOption = Annotated[
    str | None, typer.Option(help="The draft; atspeed_s, or the first there is, if not given; none: no draft.")
]
Verification = Annotated[str, typer.Option(help="strict, coupled, relaxed or relaxed-ranked.")]
Temperature = Annotated[float, typer.Option(help="Of the sampled verifications.")]
Seed = Annotated[int, typer.Option(help="Of the sampled verifications.")]
UseDevice = Annotated[Device, typer.Option(help="Where to run.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def recommend(
    folder: Folder,
    user: User = None,
    history: History = None,
    without: Without = None,
    repeats: Repeats = True,
    k: K = 10,
    objective: ObjectiveOption = None,
    verification: Verification = "strict",
    temperature: Temperature = 1.0,
    seed: Seed = 0,
    device: UseDevice = Device.auto,
    json: AsJson = False,
) -> None:
    """Recommend items to a test user, or after any history.

    With the models of a finished run.
    """
    from specbeam.catalogue import Catalogue
    from specbeam.data.prepared import CATALOGUE
    from specbeam.finished_run import NO_DRAFT, FinishedRun
    from specbeam.recommender import Recommender

    run = FinishedRun.of(folder)
    own = run.item_keys()
    given = _history(run.prepared, user, history, own)
    recommender = Recommender.load(folder, objective=objective, device=device.value, keys=True)
    options = {"verification": verification, "temperature": temperature, "seed": seed}
    left_out = [] if without is None else _items("--without", without, own)
    (made,) = recommender.for_histories([given], k, without=left_out, repeats=repeats, **options)
    names, draft = Catalogue.load(run.prepared / CATALOGUE).identifiers, run.draft(objective)
    numbers = own.numbers(made.items) if own else made.items
    found = {
        "user": user,
        "history": given,
        "draft": draft.parents[1].name if draft else NO_DRAFT,
        "verification": verification,
        "target_calls": made.target_calls,
        "list": [
            {"rank": rank, "item": item, **_own(own, item), "identifier": "".join(names[item]), "score": score}
            for rank, (item, score) in enumerate(zip(numbers, made.scores, strict=True), start=1)
        ],
    }
    typer.echo(json_format.dumps(found, indent=2, ensure_ascii=False) if json else _table(found))


def _own(own: "ItemKeys | None", item: int) -> dict[str, Any]:
    """The key and the text of an item in the user's own files, if the data have such."""
    return {"key": own.keys[item], "text": own.texts[item]} if own else {}


def _history(prepared: Path, user: int | None, history: str | None, own: "ItemKeys | None") -> list[Any]:
    if (user is None) == (history is None):
        raise SpecbeamError("expected --user or --history: one of them")
    if history is not None:
        return _items("--history", history, own)
    numbers = asked(prepared, user)["history"]
    return [own.keys[item] for item in numbers] if own else numbers


def _items(option: str, text: str, own: "ItemKeys | None") -> list[Any]:
    """What is between commas: keys, where the data have such, even if they look like numbers."""
    if own:
        return [key.strip() for key in text.split(",")]
    try:
        return [int(item) for item in text.split(",")]
    except ValueError:
        raise SpecbeamError(f"{option} {text}: expected item ids separated by commas, such as 5,9,22") from None


def asked(prepared: Path, user: int) -> Any:
    """The history and the targets (item ids) of a test user; SpecbeamError for any other user."""
    from specbeam.data.prepared import USERS
    from specbeam.data.sequences import history_and_targets, load_users

    users = history_and_targets(load_users(prepared / USERS), "test").set_index("user")
    if user not in users.index:
        first = ", ".join(map(str, users.index[:5]))
        raise SpecbeamError(f"--user {user}: expected one of the {len(users)} test users, such as {first}")
    return users.loc[user]


def _table(found: dict[str, Any]) -> str:
    who = "history" if found["user"] is None else f"user {found['user']}, history"
    own = any("key" in row for row in found["list"])
    columns = ["rank", "item", *(["key"] if own else []), "identifier", "score", *(["text"] if own else [])]
    rows = [columns, *([_cell(row[name]) for name in columns] for row in found["list"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    left = [name in ("key", "identifier", "text") for name in columns]
    lines = [
        "  ".join(
            cell.ljust(width) if is_left else cell.rjust(width)
            for cell, width, is_left in zip(row, widths, left, strict=True)
        ).rstrip()
        for row in rows
    ]
    asked = f"{who} {', '.join(map(str, found['history']))}"
    how = f"{found['verification']}, draft {found['draft']}, target calls: {found['target_calls']}"
    return "\n".join([asked, "", *lines, "", how])


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    return shorten(str("" if value is None else value), LONGEST, placeholder="...")
