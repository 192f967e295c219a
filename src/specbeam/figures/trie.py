"""The shape of a data set's trie: how many prefixes identifiers have, and how many ways on there are from each.

It decides what a draft is up against: many children at the first levels, hardly a choice at the last. Drawn from a
prepared data set, before any model is trained.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError
from specbeam.figures import captions, style

CATALOGUE = "catalogue.json"
"""Name of the identifiers' file in a prepared data set."""


def data(catalogue: Catalogue) -> pd.DataFrame:
    """One row a (length, children): how many `prefixes` of so many tokens have so many `children`; the root has 0."""
    rows = []
    for length in range(catalogue.identifier_length):
        longer = {identifier[: length + 1] for identifier in catalogue.distinct}
        children = Counter(prefix[:length] for prefix in longer)
        rows += [(length, count, prefixes) for count, prefixes in sorted(Counter(children.values()).items())]
    return pd.DataFrame(rows, columns=["length", "children", "prefixes"])


@style.styled
def draw(shape: pd.DataFrame) -> Figure:
    """Draw the frame of `data`: prefixes by length, and how many of them have at least so many children."""
    figure, (sizes, branching) = style.panels(columns=2, width=style.DOUBLE, height=2.4)
    total = (shape["children"] * shape["prefixes"]).groupby(shape["length"]).sum()
    shades = style.shades(len(total))
    sizes.plot(total.index + 1, total, color=style.GREY, lw=0.8, zorder=1)
    sizes.scatter(total.index + 1, total, s=22, color=shades, zorder=2)
    for length, prefixes in total.items():
        text = {"ha": "center", "va": "bottom", "fontsize": 6.5, "color": style.INK}
        sizes.annotate(f"{prefixes:,}", (length + 1, prefixes), xytext=(0, 4), textcoords="offset points", **text)
    sizes.set_yscale("log")
    sizes.set_ylim(total.min() / 2, total.max() * 3)
    sizes.set_xlim(0.5, len(total) + 0.5)
    sizes.yaxis.set_major_formatter("{x:,.0f}")
    sizes.set_xticks(total.index + 1)
    sizes.set_xlabel("length of the prefix (tokens)")
    sizes.set_ylabel("distinct prefixes")
    for (length, part), colour in zip(shape.groupby("length"), shades, strict=True):
        _survival(branching, part, color=colour, label=_label(length, part))
    branching.set_xscale("log")
    branching.xaxis.set_major_formatter("{x:,.0f}")
    branching.set_xlabel("children n of a prefix")
    branching.set_ylabel("prefixes with n or more (%)")
    branching.set_ylim(0, 104)
    branching.set_xlim(left=0.9)
    style.legend(figure, branching.get_legend_handles_labels()[0], columns=4)
    return figure


def _survival(axes: Axes, shape: pd.DataFrame, **look: object) -> None:
    """The share of prefixes with at least 1, 2, ... children, until there is none."""
    by_children = shape.set_index("children")["prefixes"].reindex(range(1, shape["children"].max() + 2), fill_value=0)
    at_least = 100 * by_children[::-1].cumsum()[::-1] / by_children.sum()
    axes.plot(at_least.index, at_least, lw=1.5, **look)


def _label(length: int, shape: pd.DataFrame) -> str:
    mean = (shape["children"] * shape["prefixes"]).sum() / shape["prefixes"].sum()
    return f"{'root' if length == 0 else f'length {length}'}, mean {mean:.3g}"


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read one prepared data set (a folder) and write `output`.png, .svg, .csv and .txt."""
    inputs = [Path(path) for path in inputs]
    if len(inputs) != 1:
        raise SpecbeamError(f"expected the folder of one prepared data set, got {len(inputs)}")
    catalogue = Catalogue.load(inputs[0] / CATALOGUE)
    shape = data(catalogue)
    caption = captions.join(
        f"The trie of the identifiers of {inputs[0].resolve().parent.name}: {len(catalogue.identifiers):,} items with "
        f"{len(catalogue.distinct):,} distinct identifiers of {catalogue.identifier_length} tokens. Left: distinct "
        "prefixes by length. Right: of the prefixes of a length, the share that has n children or more.",
    )
    style.save(draw(shape), shape, output, caption)
