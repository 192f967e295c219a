"""Reading streams: memory grows with what is kept of a row, not with the file."""

import tracemalloc

import many_interactions
from own_interactions import read
from specbeam.settings import OwnDataSettings

GIBIBYTE = 2**30


def test_ten_million_interactions_fit_into_four_gibibytes(tmp_path):
    rows = 60_000
    path = tmp_path / "many.csv"
    many_interactions.write(path, rows)
    columns = {"user": "user_id", "item": "item_id", "time": "timestamp", "rating": "rating"}
    own = OwnDataSettings.model_validate(
        {
            "interactions": {"files": [str(path)], "format": "csv", "columns": columns},
            "filters": {"rating": 4, "user_core": 5, "item_core": 5},
        }
    )
    tracemalloc.start()
    try:
        report = read(tmp_path / "raw", own)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report["rows"] == rows
    assert report["kept"]["interactions"] > rows / 2
    assert most * (10_000_000 / rows) < 4 * GIBIBYTE
