"""Texts of items, of those alone that occur in the interactions."""

import logging
from collections import Counter
from collections.abc import Sequence

from specbeam.errors import SpecbeamError
from specbeam.interactions import values
from specbeam.interactions.layouts import item_columns
from specbeam.interactions.paths import kind_of, matching
from specbeam.interactions.rows import Malformed, read_rows
from specbeam.settings import ItemSettings

log = logging.getLogger(__name__)


def read_texts(
    settings: ItemSettings, keys: Sequence[str], *, malformed: Malformed
) -> tuple[list[str | None], dict[str, int]]:
    """The text of each item of `keys`, None where the files have none, and counts of what was read.

    Counts: `rows`, `not_in_interactions`, `repeated` (of an item with several rows the first counts), `without_text`.
    Raises SpecbeamError as specbeam.interactions.rows does, and if the files have a text for no item at all.
    """
    counts = Counter(rows=0, not_in_interactions=0, repeated=0)
    columns = item_columns(settings)
    texts: dict[str, str | None] = {}
    wanted = set(keys)
    for path in matching(settings.files):
        log.info("reading %s", path)
        rows = read_rows(
            path,
            kind_of(path, settings.format),
            columns,
            malformed=malformed,
            separator=settings.separator,
            optional=columns[1:],
            literals=settings.format == "amazon-2014",
        )
        for line, (item, *described) in rows:
            counts["rows"] += 1
            field = "item"
            try:
                key = values.key(item)
                field = "text"
                text = values.text(described) if key in wanted else None
            except ValueError as error:
                malformed.add(path, line, f"{field} {error}")
                continue
            if key not in wanted:
                counts["not_in_interactions"] += 1
            elif key in texts:
                counts["repeated"] += 1
            else:
                texts[key] = text
    found = [texts.get(key) for key in keys]
    counts["without_text"] = found.count(None)
    if counts["without_text"] == len(keys):
        raise SpecbeamError(
            f"{', '.join(settings.files)}: expected texts of the {len(keys)} items in the interactions, found none, in "
            f"{counts['rows']} rows; are keys written alike, as {keys[0]!r} is, and {columns[1:]} the right columns?"
        )
    if counts["without_text"] > len(keys) / 2:
        log.warning(
            "only %d of %d items have a text; are keys written alike in both tables, as %r is?",
            len(keys) - counts["without_text"], len(keys), keys[0],
        )  # fmt: skip
    return found, dict(counts)
