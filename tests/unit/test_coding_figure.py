"""The figure of codings: where the choice lies in each coding's trie, and what draft and target make of it."""

import numpy as np
import pandas as pd
import pytest

import generated_records as generated
from specbeam.catalogue import Catalogue
from specbeam.data.sequences import save_users
from specbeam.errors import SpecbeamError
from specbeam.figures import coding
from specbeam.identifiers.shape import by_level
from specbeam.measurement import records

FOUR = np.array([["a", "c"], ["a", "d"], ["b", "c"], ["b", "c"]])


def test_a_level_s_bits_are_its_tokens_entropy_given_the_prefix_and_all_add_up_to_the_identifiers():
    shape = by_level(FOUR, np.array([1, 1, 1, 1]))
    assert shape["bits"].tolist() == pytest.approx([1.0, 0.5])
    assert shape["used"].tolist() == [2, 2]
    assert shape["prefixes"].tolist() == [2, 3]
    assert shape["children"].tolist() == [2, 1.5]
    assert shape["decided"].tolist() == [0, 0.5]
    shares = np.array([6, 1, 1]) / 8  # of the three identifiers
    assert by_level(FOUR, np.array([6, 1, 1, 0]))["bits"].sum() == pytest.approx(-(shares * np.log2(shares)).sum())


def test_prefixes_with_one_child_count_by_the_popularity_of_what_is_below():
    assert by_level(FOUR, np.array([1, 2, 9, 0]))["decided_by_use"].tolist() == pytest.approx([0, 0.75])
    assert by_level(FOUR, np.zeros(4))["decided_by_use"].tolist() == pytest.approx([0, 0.5])


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    """Two codings of four items: one splits them at the first token, the other in two steps."""
    generated.fix_environment(monkeypatch)
    return written(tmp_path, {"late": ["ac", "ad", "bc", "bd"], "early": ["ac", "bc", "dc", "ec"]}, draft_length=3)


def written(folder, codings, *, draft_length):
    """CODING=PATH of all that is drawn of each coding; the first round accepts one level of `early`, none of others."""
    users = pd.DataFrame({"user": [0], "train": [[0, 1, 2, 3]], "valid": [[]], "test": [[]]})
    found = []
    for name, codes in codings.items():
        place = folder / name
        tokens = {item: [f"<{token}>" for token in code] for item, code in enumerate(codes)}
        Catalogue.of(tokens).save(place / "prepared" / "catalogue.json")
        save_users(users, place / "prepared" / "users.parquet")
        frame = generated.evaluation("atspeed_s", beam_widths=(5, 20)).assign(dataset=name)
        frame["first_accepted"] = (frame["verification"] == "strict") & (name == "early")
        frame = frame.astype({"first_accepted": int})
        settings = {"decoding": {"draft_length": draft_length}}
        records.write(frame, place / "seed-1.parquet", kind="evaluation", settings=settings, **generated.STAMP)
        generated.ranking().to_csv(place / "ranking.csv", index=False)
        found += [f"{name}={place / file}" for file in ("prepared", "ranking.csv", "seed-1.parquet")]
    return found


def test_codings_are_ordered_by_what_their_first_token_decides_and_have_their_own_measurements(inputs):
    table = coding.data(coding.named(inputs))
    assert table["coding"].tolist() == ["early", "late"]
    assert table[["bits_1", "bits_2"]].to_numpy().tolist() == [[2, 0], [1, 1]]
    assert table["first_accepted"].tolist() == [1, 0]
    assert set(table["K"]) == {20}
    assert set(table["recall"]) == {generated.ranking().query("recommender == 'target' and K == 20")["recall"].item()}


@pytest.mark.parametrize(("draft_length", "share", "whole"), [(1, 1, 1), (2, 0.5, 0), (9, 0.5, 0)])
def test_acceptance_is_a_share_of_the_levels_that_were_drafted_not_of_all(
    tmp_path, monkeypatch, draft_length, share, whole
):
    generated.fix_environment(monkeypatch)
    codings = {"late": ["acx", "adx", "bcx", "bdx"], "early": ["acx", "bcx", "dcx", "ecx"]}
    table = coding.data(coding.named(written(tmp_path, codings, draft_length=draft_length)))
    assert table["first_accepted"].tolist() == [share, 0]
    assert table["level_1"].tolist() == [1, 0]
    assert table["all_levels"].tolist() == [whole, 0]


def test_each_coding_has_a_bar_and_plain_beam_search_a_mark_at_its_levels(inputs):
    bits, _, calls, _ = coding.draw(coding.data(coding.named(inputs))).axes
    assert [bar.get_width() for bar in bits.patches] == [2, 1, 0, 1]
    assert [text.get_text() for text in bits.get_yticklabels()] == ["early", "late"]
    assert [line.get_xdata().tolist() for line in calls.lines if line.get_marker() == "|"] == [[2, 2]]


def test_the_figure_is_drawn_with_its_data_and_a_caption_that_names_all_codings(inputs, tmp_path):
    coding.plot(inputs=inputs, output=tmp_path / "coding")
    assert {path.suffix for path in tmp_path.glob("coding.*")} == {".png", ".svg", ".csv", ".txt"}
    told = " ".join((tmp_path / "coding.txt").read_text().split())
    assert told.startswith("One catalogue under 2 codings, K = 20, N = 40, strict.")
    assert "Data set late, early;" in told


@pytest.mark.parametrize(
    ("kept", "told"),
    [
        (slice(0, 3), "several codings to compare, got late"),
        (slice(1, 6), "late: expected the folder of its prepared data among the inputs, got 0"),
    ],
)
def test_what_is_missing_is_told(inputs, kept, told):
    with pytest.raises(SpecbeamError, match=told):
        coding.data(coding.named(inputs[kept]))
