"""The figure of `specbeam bench`: times of passes beside the least that the device allows."""

import pandas as pd
import pytest

from specbeam.errors import SpecbeamError
from specbeam.figures import roofline

PASSES = pd.DataFrame(
    [
        (size, name, nodes, size * (nodes + prompt), size * max(1, nodes), 1e-3 * (nodes + prompt), 5e-4 * nodes)
        for size in (1, 8)
        for name, nodes, prompt in (
            ("prompt", 0, 9), ("a level of K = 2", 2, 0), ("a level of K = 20", 20, 0), ("prompt and flat40", 120, 9),
            ("prompt and 10 nodes", 10, 9),
        )
    ],
    columns=["batch", "pass", "nodes", "tokens", "scored", "seconds", "bound"],
)  # fmt: skip


@pytest.fixture(scope="module")
def panels():
    return roofline.draw(roofline.data(PASSES)).axes


def line(axes, label):
    (found,) = [line for line in axes.lines if line.get_label() == label]
    return [(round(x), round(float(y), 6)) for x, y in zip(found.get_xdata(), found.get_ydata(), strict=True)]


def test_there_is_a_panel_for_each_batch_size(panels):
    assert [axes.get_title(loc="left") for axes in panels] == ["batch 1", "batch 8"]
    assert {axes.get_xscale() for axes in panels} == {axes.get_yscale() for axes in panels} == {"log"}


def test_a_pass_over_prompt_and_tree_is_drawn_by_its_tokens_from_the_prompt_alone_on(panels):
    assert line(panels[0], roofline.TREE) == [(9, 9), (19, 19), (129, 129)]
    assert line(panels[0], "the prompt alone") == [(9, 9)]


def test_a_level_has_the_tokens_of_all_prompts_and_a_bound_of_its_own(panels):
    assert line(panels[1], roofline.LEVEL) == [(16, 2), (160, 20)]
    assert line(panels[1], "the least (roofline)") == [(16, 1), (160, 10)]


def test_one_batch_size_fits_a_column():
    figure = roofline.draw(roofline.data(PASSES[PASSES["batch"] == 1]))
    assert figure.get_figwidth() == roofline.style.SINGLE


def test_it_is_of_one_bench(tmp_path):
    with pytest.raises(SpecbeamError, match=r"expected bench.parquet and passes.csv of one `specbeam bench`, got none"):
        roofline.plot(inputs=[], output=tmp_path / "roofline")
