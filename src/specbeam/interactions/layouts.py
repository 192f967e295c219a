"""Where the releases of the Amazon reviews (McAuley et al., 2014, 2018, 2023) have users, items, times and texts."""

from specbeam.interactions.paths import Kind
from specbeam.settings import InteractionSettings, ItemSettings

REVIEWS: dict[str, dict[Kind, tuple[str | int, ...]]] = {
    "amazon-2014": {"jsonl": ("reviewerID", "asin", "unixReviewTime", "overall"), "csv": (1, 2, 4, 3)},
    "amazon-2018": {"jsonl": ("reviewerID", "asin", "unixReviewTime", "overall"), "csv": (2, 1, 4, 3)},
    "amazon-2023": dict.fromkeys(("jsonl", "csv"), ("user_id", "parent_asin", "timestamp", "rating")),
}
"""Release -> kind of file -> columns of user, item, time and rating; the CSV files are the "ratings only" ones, which
had no header before 2023, and the item first in 2018."""

METADATA: dict[str, tuple[str, ...]] = {
    "amazon-2014": ("asin", "title", "brand", "categories", "description"),
    "amazon-2018": ("asin", "title", "brand", "category", "description", "feature"),
    "amazon-2023": ("parent_asin", "title", "store", "categories", "features", "description"),
}
"""Release -> fields of the item and its texts."""


def interaction_columns(settings: InteractionSettings, kind: Kind, *, rated: bool) -> list[str | int]:
    """Columns of user, item, time and, if `rated`, rating."""
    if settings.columns is None:
        return list(REVIEWS[settings.format][kind][: 4 if rated else 3])
    columns = settings.columns
    return [columns.user, columns.item, columns.time, *([columns.rating] if rated else [])]


def item_columns(settings: ItemSettings) -> list[str | int]:
    """Columns of the item and its texts."""
    return settings.columns.all() if settings.columns else list(METADATA[settings.format])
