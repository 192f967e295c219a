"""Facts about a prepared data set: its size, its identifiers' trie, and how hard its test set is."""

from pathlib import Path

import pandas as pd

from specbeam.catalogue import Catalogue
from specbeam.data import SPLITS
from specbeam.data.sequences import history_and_targets
from specbeam.files import replacing


def statistics(users: pd.DataFrame, catalogue: Catalogue) -> dict[str, float]:
    """Name -> value, in the order in which they are written; counts are ints, means and shares (0 to 1) floats."""
    return {**_sizes(users, catalogue), **_trie(catalogue), **_difficulty(users, catalogue)}


def save_statistics(values: dict[str, float], path: Path) -> None:
    """Write a CSV file with the columns `statistic` and `value`, atomically."""
    frame = pd.DataFrame({"statistic": list(values), "value": pd.Series(list(values.values()), dtype=object)})
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def _sizes(users: pd.DataFrame, catalogue: Catalogue) -> dict[str, float]:
    lengths = users["train"].map(len)
    return {
        "users": len(users),
        "items": len(catalogue.identifiers),
        "distinct_identifiers": len(catalogue.distinct),
        **{f"interactions_{split}": int(users[split].map(len).sum()) for split in SPLITS},
        "users_with_valid_target": len(history_and_targets(users, "valid")),
        "users_with_test_target": len(history_and_targets(users, "test")),
        "users_with_one_training_interaction": int((lengths == 1).sum()),
        "mean_training_interactions": float(lengths.mean()),
        "max_training_interactions": int(lengths.max()),
    }


def _trie(catalogue: Catalogue) -> dict[str, float]:
    """Shape of the trie of all identifiers, by position (from 1) and prefix length (from 0, the root)."""
    positions = range(1, catalogue.identifier_length + 1)
    prefixes = [len({identifier[:n] for identifier in catalogue.distinct}) for n in (0, *positions)]
    return {
        **{f"distinct_tokens_{n}": len({identifier[n - 1] for identifier in catalogue.distinct}) for n in positions},
        **{f"distinct_prefixes_{n}": prefixes[n] for n in positions},
        **{f"mean_children_{n - 1}": prefixes[n] / prefixes[n - 1] for n in positions},
        "colliding_identifiers": len(catalogue.collisions),
        "colliding_items": sum(len(items) for items in catalogue.collisions.values()),
    }


def _difficulty(users: pd.DataFrame, catalogue: Catalogue) -> dict[str, float]:
    """How far the test set is from the training set; a COLD item has no training interaction."""
    seen = {item for items in users["train"] for item in items}
    targets = history_and_targets(users, "test")["targets"]
    counts = targets.map(len)
    cold = sum(item not in seen for items in targets for item in items)
    return {
        "items_in_training": len(seen),
        "share_of_test_users_with_several_targets": float((counts > 1).mean()) if len(counts) else 0.0,
        "share_of_cold_test_targets": cold / int(counts.sum()) if len(counts) else 0.0,
    }
