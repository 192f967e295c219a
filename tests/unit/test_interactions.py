"""Own interactions: what files may look like, what counts, and how items get their texts."""

import gzip
import json
from datetime import UTC, date, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from own_interactions import COLUMNS, csv, read, settings_of, splits_in, table, texts_in
from specbeam.data import ITEMS, USERS
from specbeam.data.sequences import read_raw
from specbeam.interactions import values
from specbeam.settings import OwnDataSettings

ROWS = [("u1", f"i{n % 7}", 100 + n, 5) for n in range(10)] + [("u2", f"j{n}", 100 + n, 4) for n in range(10)]
EXPECTED = {
    "train": {"u1": ["i0", "i1", "i2", "i3", "i4", "i5", "i6", "i0"], "u2": [f"j{n}" for n in range(8)]},
    "valid": {"u1": ["i1"], "u2": ["j8"]},
    "test": {"u1": ["i2"], "u2": ["j9"]},
}


def as_csv(folder):
    return settings_of(csv(folder / "orders.csv", ROWS))


def as_semicolons_with_quotes_and_line_ends_of_windows(folder):
    path = folder / "orders.csv"
    lines = ['"stars";"note";"when";"what";"who"', *(f'{s};"a ""b""; c\r\nd";{t};"{i}";{u}' for u, i, t, s in ROWS)]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    return settings_of(path, separator=";")


def as_csv_with_line_ends_of_all_kinds(folder):
    path = folder / "orders.csv"
    lines = ["who,what,when,stars", *(",".join(map(str, row)) for row in ROWS)]
    path.write_bytes("".join(line + ("\n", "\r\n", "\r", "\n\n")[n % 4] for n, line in enumerate(lines)).encode())
    return settings_of(path)


def as_csv_without_header(folder):
    path = folder / "orders.csv"
    path.write_text("\n".join(f"{i},{u},{s}.0,{t}" for u, i, t, s in ROWS))
    return settings_of(path, columns={"user": 2, "item": 1, "time": 4, "rating": 3})


def as_compressed_json_lines(folder):
    path = folder / "orders.jsonl.gz"
    lines = [json.dumps({"when": t, "what": i, "who": u, "stars": s, "note": "\u2028"}) for u, i, t, s in ROWS]
    path.write_bytes(gzip.compress("\n\n".join(lines).encode()))
    return settings_of(path, format="jsonl")


def as_parquet(folder):
    path = folder / "orders.parquet"
    frame = pd.DataFrame(ROWS, columns=["who", "what", "when", "stars"])
    frame["who"] = frame["who"].astype("category")
    frame["when"] = pd.to_datetime(frame["when"], unit="s")
    frame.to_parquet(path)
    return settings_of(path, format="parquet")


def as_two_files_of_a_pattern(folder):
    csv(folder / "orders-1.csv", ROWS[:7])
    csv(folder / "orders-2.csv", ROWS[7:])
    return settings_of(folder / "orders-*.csv")


def as_amazon(release, **names):
    def written(folder):
        path = folder / "reviews.json.gz"
        known = {"user": "reviewerID", "item": "asin", "rating": "overall", "time": "unixReviewTime"} | names
        scale = 1000 if release == "amazon-2023" else 1
        rows = (
            {known["user"]: u, known["item"]: i, known["time"]: t * scale, known["rating"]: s} for u, i, t, s in ROWS
        )
        path.write_bytes(gzip.compress("".join(json.dumps({**row, "verified": True}) + "\n" for row in rows).encode()))
        return OwnDataSettings.model_validate({"interactions": {"files": [str(path)], "format": release}})

    written.__name__ = release
    return written


def as_amazon_ratings(release):
    def written(folder):
        path = folder / "ratings.csv"
        line = {
            "amazon-2014": "{u},{i},{s}.0,{t}",
            "amazon-2018": "{i},{u},{s}.0,{t}",
            "amazon-2023": "{u},{i},{s}.0,{t}000",
        }[release]
        header = ["user_id,parent_asin,rating,timestamp"] if release == "amazon-2023" else []
        path.write_text("\n".join([*header, *(line.format(u=u, i=i, t=t, s=s) for u, i, t, s in ROWS)]))
        return OwnDataSettings.model_validate({"interactions": {"files": [str(path)], "format": release}})

    written.__name__ = f"ratings of {release}"
    return written


@pytest.mark.parametrize(
    "written",
    [
        as_csv,
        as_semicolons_with_quotes_and_line_ends_of_windows,
        as_csv_with_line_ends_of_all_kinds,
        as_csv_without_header,
        as_compressed_json_lines,
        as_parquet,
        as_two_files_of_a_pattern,
        as_amazon("amazon-2014"),
        as_amazon("amazon-2018"),
        as_amazon("amazon-2023", user="user_id", item="parent_asin", rating="rating", time="timestamp"),
        *map(as_amazon_ratings, ("amazon-2014", "amazon-2018", "amazon-2023")),
    ],
    ids=lambda written: written.__name__,
)
def test_every_format_gives_the_same_data_set(tmp_path, written):
    report = read(tmp_path / "raw", written(tmp_path))
    assert splits_in(tmp_path / "raw") == EXPECTED
    assert report["rows"] == report["kept"]["interactions"] == len(ROWS)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_388_916_000, "2014-01-05T10:00:00"),
        ("1388916000", "2014-01-05T10:00:00"),
        ("1388916000.5", "2014-01-05T10:00:00.500000"),
        (1_388_916_000_123, "2014-01-05T10:00:00.123000"),
        ("1388916000123456", "2014-01-05T10:00:00.123456"),
        (1_388_916_000_123_456_789, "2014-01-05T10:00:00.123456"),
        ("2014-01-05", "2014-01-05T00:00:00"),
        ("2014-01-05T10:00:00+02:00", "2014-01-05T08:00:00"),
        ("2014-01-05 10:00:00.25Z", "2014-01-05T10:00:00.250000"),
        ("01 5, 2014", "2014-01-05T00:00:00"),
        (20_141_399, "1970-08-22T02:49:59"),
        (date(2014, 1, 5), "2014-01-05T00:00:00"),
        (datetime(2014, 1, 5, 10, tzinfo=UTC), "2014-01-05T10:00:00"),
    ],
)
def test_times_are_unix_time_in_any_unit_or_dates(value, expected):
    assert values.iso(values.microseconds(value)) == f"{expected}+00:00"


@pytest.mark.parametrize("value", [20_140_105, "20140105", "20140105.0", 20_140_105.0])
def test_eight_digits_that_form_a_date_are_refused_rather_than_taken_for_seconds(value):
    with pytest.raises(ValueError, match=r"write 2014-01-05|date as 2014-01-05"):
        values.microseconds(value)


@pytest.mark.parametrize("value", [-62_135_596_801, "-9e10", "0001-01-01T00:00+23:59", "9999-12-31T23-01:00", 10**20])
def test_times_that_no_calendar_has_are_refused(value):
    with pytest.raises(ValueError, match=r"is .*no time|expected Unix time or a date"):
        values.microseconds(value)
    assert values.iso(values.microseconds(-62_135_596_800)) == "0001-01-01T00:00:00+00:00"


def test_users_and_items_are_numbered_in_the_order_of_their_keys_whatever_the_order_of_rows(tmp_path):
    for name, rows in (("a", ROWS), ("b", ROWS[::-1])):
        (tmp_path / name).mkdir()
        read(tmp_path / name, settings_of(csv(tmp_path / f"{name}.csv", rows)))
    for file in (USERS, ITEMS, "sequential_train.txt", "sequential_valid.txt", "sequential_test.txt"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    items = table(tmp_path / "a" / ITEMS)
    assert items["key"].tolist() == sorted({row[1] for row in ROWS})
    assert items["item"].tolist() == list(range(len(items)))


def test_of_equal_times_the_row_that_was_read_first_is_the_earlier_one(tmp_path):
    rows = [("u", item, 5, 5) for item in "dbca"] + [("u", "v", 6, 5), ("u", "t", 7, 5)]
    split = {"by": "date", "valid": "1970-01-01T00:00:06Z", "test": "1970-01-01T00:00:07Z"}
    read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows), split=split))
    assert splits_in(tmp_path / "raw")["train"] == {"u": list("dbca")}


def test_of_rows_with_the_same_user_item_and_time_one_counts_and_repeats_at_other_times_all(tmp_path):
    rows = [*ROWS, ROWS[3], ROWS[3], ("u1", "i3", 104, 5)]
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows)))
    assert report["dropped"]["duplicates"] == 2
    assert splits_in(tmp_path / "raw")["train"]["u1"].count("i3") == 2


def test_the_core_is_taken_until_every_user_and_every_item_has_enough(tmp_path):
    dense = [(user, item, 10 * n, 5) for n, item in enumerate("abcdefghij") for user in ("u", "v", "w")]
    # x has three items, of which one goes, so x goes; y is then alone on k, which goes too.
    thin = [("x", "a", 1, 5), ("x", "b", 2, 5), ("x", "k", 3, 5), ("y", "k", 4, 5)]
    report = read(
        tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", dense + thin), filters={"user_core": 3, "item_core": 3})
    )
    assert report["dropped"]["core"] == len(thin)
    assert set(table(tmp_path / "raw" / USERS)["key"]) == {"u", "v", "w"}


def test_the_rating_filter_comes_first_and_counts_what_it_drops(tmp_path):
    rows = [*ROWS, *(("u3", f"i{n}", 50, 3.5) for n in range(5))]
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows), filters={"rating": 4}))
    assert report["dropped"]["rating"] == 5
    assert splits_in(tmp_path / "raw") == EXPECTED


def test_ratings_are_not_looked_at_where_nothing_is_filtered_by_them(tmp_path):
    rows = [(user, item, time, "n/a") for user, item, time, _ in ROWS]
    read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows)))
    assert splits_in(tmp_path / "raw") == EXPECTED


def test_leave_one_out_takes_each_users_last_two_and_says_how_much_leaks_across_users(tmp_path, caplog):
    rows = [("a", f"i{n}", n, 5) for n in range(4)] + [("b", f"j{n}", 10 * n, 5) for n in range(5)]
    rows += [("c", "i1", 3, 5), ("c", "i2", 4, 5)]  # fewer than three: training alone
    with caplog.at_level("WARNING"):
        report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows), split={"by": "leave-one-out"}))
    assert splits_in(tmp_path / "raw") == {
        "train": {"a": ["i0", "i1"], "b": ["j0", "j1", "j2"], "c": ["i1", "i2"]},
        "valid": {"a": ["i2"], "b": ["j3"]},
        "test": {"a": ["i3"], "b": ["j4"]},
    }
    # No earlier than a's validation at 2: b at 10 and 20, c at 3 and 4; no earlier than a's test at 3: b's validation.
    assert report["split"]["leaks_across_users"] == 5
    assert "leave-one-out leaks across users: 5 of 9" in caplog.text


def test_a_split_by_date_begins_at_midnight_in_utc(tmp_path):
    rows = [("u", f"i{n}", f"2014-01-0{n}T23:00:00", 5) for n in range(1, 7)]
    split = {"by": "date", "valid": date(2014, 1, 4), "test": "2014-01-06"}
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows), split=split))
    assert splits_in(tmp_path / "raw") == {
        "train": {"u": ["i1", "i2", "i3"]},
        "valid": {"u": ["i4", "i5"]},
        "test": {"u": ["i6"]},
    }
    assert report["split"]["borders"] == ["2014-01-04T00:00:00+00:00", "2014-01-06T00:00:00+00:00"]


def test_users_with_too_few_training_interactions_are_dropped_after_the_split_which_they_do_not_move(tmp_path):
    rows = [*ROWS, ("late", "i1", 109, 5), ("late", "i2", 109, 5), ("one", "i1", 100, 5)]
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", rows)))
    assert set(table(tmp_path / "raw" / USERS)["key"]) == {"u1", "u2"}
    assert report["dropped"]["training"] == 3
    kept = read(tmp_path / "one", settings_of(csv(tmp_path / "o.csv", rows), filters={"training": 1}))
    assert kept["split"] == report["split"]
    assert set(table(tmp_path / "one" / USERS)["key"]) == {"u1", "u2", "one"}


def test_items_that_occur_in_validation_or_test_alone_stay_in(tmp_path):
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", ROWS)))
    assert report["kept"]["items_without_training"] == 2
    assert {"j8", "j9"} <= set(table(tmp_path / "raw" / ITEMS)["key"])


def test_what_is_written_is_what_the_pipeline_reads(tmp_path):
    read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", ROWS)))
    frame = read_raw(tmp_path / "raw")
    assert frame["train"].map(len).tolist() == [8, 8]
    assert texts_in(tmp_path / "raw") == dict.fromkeys(sorted({row[1] for row in ROWS}))


def test_texts_are_joined_from_their_columns_for_items_that_occur(tmp_path):
    path = tmp_path / "items.csv"
    path.write_text('id,title,brand\ni0,"A  red\nhat.",Hut\ni1,,Hut\ni2,,\nother,Never bought,\ni0,Again,\n')
    items = {"files": [str(path)], "format": "csv", "columns": {"item": "id", "text": ["brand", "title"]}}
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", ROWS), items=items))
    texts = texts_in(tmp_path / "raw")
    assert (texts["i0"], texts["i1"], texts["i2"], texts["i3"]) == ("Hut. A red hat", "Hut", None, None)
    counted = {"rows": 5, "not_in_interactions": 1, "repeated": 1, "without_text": 15}
    assert {name: report["items"][name] for name in counted} == counted


METADATA = {
    "amazon-2014": "{'asin': 'i0', 'title': 'It\\'s', 'categories': [['Beauty', 'Hair']], 'related': {'also': ['x']}}",
    "amazon-2018": '{"asin": "i0", "title": "It\'s", "category": ["Beauty", "Hair"], "description": []}',
    "amazon-2023": '{"parent_asin": "i0", "title": "It\'s", "store": null, "categories": ["Beauty", "Hair"]}',
}


@pytest.mark.parametrize("release", METADATA)
def test_metadata_of_the_amazon_releases_are_texts_of_items(tmp_path, release):
    path = tmp_path / "meta.json.gz"
    path.write_bytes(gzip.compress(METADATA[release].encode()))
    items = {"files": [str(path)], "format": release}
    read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", ROWS), items=items))
    assert texts_in(tmp_path / "raw")["i0"] == "It's. Beauty. Hair"


def test_metadata_that_are_python_are_read_as_literals_and_never_executed(tmp_path):
    path = tmp_path / "meta.json"
    path.write_text(f"{{'asin': 'i0', 'title': open({str(tmp_path / 'made')!r}, 'w')}}\n{{'asin': 'i1', 'title': 'b'}}")
    items = {"files": [str(path)], "format": "amazon-2014", "malformed": 1}
    report = read(tmp_path / "raw", settings_of(csv(tmp_path / "o.csv", ROWS), items=items))
    assert not (tmp_path / "made").exists()
    assert texts_in(tmp_path / "raw")["i1"] == "b"
    assert report["items"]["malformed"] == len(report["items"]["malformed_lines"]) == 1


def test_keys_may_be_whole_numbers_and_any_text(tmp_path):
    frame = pa.table(
        {"who": [7, 7, 7, 7], "what": ["ü", "ü b", "c,d", "日本"], "when": [1, 2, 3, 4], "stars": [1.0] * 4}
    )
    pq.write_table(frame, tmp_path / "o.parquet")
    own = settings_of(tmp_path / "o.parquet", format="parquet", split={"by": "leave-one-out"}, columns=COLUMNS)
    read(tmp_path / "raw", own)
    assert splits_in(tmp_path / "raw")["train"] == {"7": ["ü", "ü b"]}


def test_lines_that_cannot_be_read_are_left_out_and_counted_as_far_as_the_settings_allow(tmp_path):
    path = csv(tmp_path / "o.csv", [*ROWS, ("u1", "i1", "soon", 5), ("", "i1", 5, 5), ("u1", "i1")])
    report = read(tmp_path / "raw", settings_of(path, malformed=3))
    assert report["dropped"]["malformed"] == 3
    assert report["rows"] == len(ROWS) + 3
    assert report["malformed_lines"] == [
        f"{path}:22: time (column when) is 'soon'; expected Unix time or a date as 2014-01-05",
        f"{path}:23: user (column who) is empty",
        f"{path}:24: expected 4 fields, as in the first line, got 2",
    ]
    assert splits_in(tmp_path / "raw") == EXPECTED
