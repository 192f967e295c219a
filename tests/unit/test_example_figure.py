"""The drawn tree of one user: every node once, children beside their parents, and the verdict on each level."""

import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import example, style
from specbeam.files import write_json


@pytest.fixture(scope="module")
def axes():
    (axes,) = example.draw(example.data(generated.example())).axes
    return axes


def texts(axes):
    return [text.get_text() for text in axes.texts]


def edges(axes):
    return [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linestyle() == "-"]


def test_the_data_are_the_nodes_with_the_items_that_the_user_bought():
    nodes = example.data(generated.example())
    assert len(nodes) == len(generated.example()["nodes"])
    assert nodes.loc[nodes["bought"], "path"].tolist() == ["<a2> <b1> <c2>"]
    assert nodes["draft_rank"].isna().sum() == 3


def test_every_node_has_the_mark_of_its_fate(axes):
    marks = [line for line in axes.lines if len(line.get_xdata()) == 1 and line.get_marker() != "None"]
    drawn = sorted(line.get_marker() for line in marks)
    fates = [node["fate"] for node in generated.example()["nodes"]]
    assert drawn == sorted([*(example.FATES[fate][1]["marker"] for fate in fates), "o"])  # and the root


def test_the_verdict_stands_above_each_level(axes):
    heads = ["round 1", "prompt", "level 1", "accepted", "level 2", "1 missed", "round 2", "", "level 3", "bonus"]
    assert texts(axes)[: len(heads)] == heads


def test_the_list_has_ranks_and_a_star_for_what_was_bought(axes):
    assert texts(axes)[-4:] == ["1", "a2 b2 c1", "2", "a2 b1 c2 *"]


def test_no_two_edges_of_a_tree_cross(axes):
    ends = [(line.get_xdata(), line.get_ydata()) for line in edges(axes)]
    assert len(ends) == len(generated.example()["nodes"])
    for (x1, _), (a1, b1) in ends:
        for (x2, _), (a2, b2) in ends:
            assert x1 != x2 or (a1 - a2) * (b1 - b2) >= 0


def test_the_way_to_the_first_of_the_list_is_drawn_through_all_rounds(axes):
    drawn = [line for line in edges(axes) if line.get_color() == style.INK]
    assert len(drawn) == len(generated.example()["list"][0]["identifier"])


def test_the_caption_says_whose_list_it_is_what_was_accepted_and_why_this_user(tmp_path):
    write_json(tmp_path / "example.json", generated.example())
    example.plot(inputs=[tmp_path / "example.json"], output=tmp_path / "example")
    caption = " ".join((tmp_path / "example.txt").read_text().split())
    for said in ("test user 5", "K = 2, N = 3, draft AtSpeed-S", "1 of 2, 0 of 0", "2 pass(es)", "3 without a draft",
                 "This user: asked for."):  # fmt: skip
        assert said in caption


def test_it_is_of_one_list(tmp_path):
    with pytest.raises(SpecbeamError, match="expected the explanation of one list, got 0"):
        example.plot(inputs=[], output=tmp_path / "example")
