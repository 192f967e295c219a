"""What identifiers do to recall and to acceptance: one catalogue under several codings, a row each.

Whatever the coding, its levels hold the same bits of choice in all, for items are as popular under each (a little less
where items share an identifier); it only decides which tokens hold them. So the first panel shows bits by level, and
beside it stands what a draft makes of them. A list of an L-level coding takes plain beam search L calls of the target.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from specbeam import parquet
from specbeam.catalogue import Catalogue
from specbeam.errors import SpecbeamError
from specbeam.figures import accepted, captions, style
from specbeam.figures.bootstrap import by_seed, ratio_of_sums
from specbeam.figures.recall import read_rankings
from specbeam.figures.trie import CATALOGUE
from specbeam.identifiers.shape import by_level
from specbeam.measurement import records

USERS = "users.parquet"
"""Name of the users' file in a prepared data set."""


def named(inputs: Iterable[Path]) -> dict[str, list[Path]]:
    """Parse CODING=PATH; raises SpecbeamError for anything else, and if there are not two codings at least."""
    files: dict[str, list[Path]] = {}
    for given in map(str, inputs):
        name, _, path = given.partition("=")
        if not path:
            raise SpecbeamError(f"{given}: expected CODING=PATH, of its prepared data, records and ranking.csv")
        files.setdefault(name, []).append(Path(path))
    if len(files) < 2:
        raise SpecbeamError(f"expected data sets with several codings to compare, got {', '.join(files) or 'none'}")
    return files


def data(files: Mapping[str, list[Path]]) -> pd.DataFrame:
    """One row a (coding, objective), at the largest K and N, strict, flat; codings by the bits of their first token.

    `bits_1`, `bits_2`, ... of each level given those before it, weighted by training interactions. `first_accepted` is
    the share of the drafted levels that the first round accepts, `level_1` and `all_levels` those of lists of which
    it accepts the first level or all drafted ones; `accepted` is AS@K, `target_calls` a mean a list; `recall` is the
    target's own at K over all test users. Each with a 95 % interval.
    """
    length = accepted.draft_length(_records(files))
    tables = [_of_coding(name, paths, draft_length=length) for name, paths in files.items()]
    table = pd.concat(tables, ignore_index=True)
    if len(table[["K", "N"]].drop_duplicates()) > 1:
        raise SpecbeamError("expected codings with the same largest K and N; measure all of them in one run")
    bits = [f"bits_{level}" for level in range(1, table["levels"].max() + 1)]
    others = table.columns.drop(bits)
    first = others.get_loc("objective")
    table = table[[*others[:first], *bits, *others[first:]]]
    return table.sort_values("bits_1", ascending=False, kind="stable", ignore_index=True)


def _records(files: Mapping[str, list[Path]]) -> list[Path]:
    return [path for each in files.values() for path in each if path.suffix == ".parquet"]


def _of_coding(name: str, paths: list[Path], *, draft_length: int) -> pd.DataFrame:
    folders = [path for path in paths if path.is_dir()]
    if len(folders) != 1:
        raise SpecbeamError(f"{name}: expected the folder of its prepared data among the inputs, got {len(folders)}")
    shape, items = _shape(folders[0])
    levels = len(shape)
    evaluation = records.read([path for path in paths if path.suffix == ".parquet"], "evaluation")
    drafted = evaluation[(evaluation["verification"] == "strict") & (evaluation["plan"] == "flat")]
    if drafted.empty or levels < 2:
        raise SpecbeamError(f"{name}: expected records of flat drafts, verified strictly, with two levels or more")
    widest = drafted[(drafted["K"] == drafted["K"].max()) & (drafted["N"] == drafted["N"].max())]
    ranking = read_rankings(paths)
    own = ranking[(ranking["recommender"] == "target") & (ranking["K"] == widest["K"].iloc[0])]
    if own.empty:
        raise SpecbeamError(f"{name}: expected the target's ranking at K = {widest['K'].iloc[0]} among the inputs")
    fixed = {"coding": name, "levels": levels, "items": items, "identifiers": shape["prefixes"].iloc[-1]}
    bits = {f"bits_{level}": value for level, value in zip(shape["level"], shape["bits"], strict=True)}
    recall = {column: own[column].iloc[0] for column in ("recall", "recall_low", "recall_high")}
    rows = []
    for objective, part in widest.groupby("objective", sort=False):
        known = {"objective": objective, "K": part["K"].iloc[0], "N": part["N"].iloc[0]}
        rows.append(fixed | bits | known | _measured(part, drafted_levels=min(draft_length, levels - 1)) | recall)
    return pd.DataFrame(rows)


def _measured(part: pd.DataFrame, *, drafted_levels: int) -> dict[str, float]:
    first, calls = by_seed(part, "first_accepted"), by_seed(part, "target_calls")
    found = {
        "first_accepted": ratio_of_sums(first, drafted_levels),
        "level_1": ratio_of_sums(first >= 1),
        "all_levels": ratio_of_sums(first >= drafted_levels),
        "accepted": ratio_of_sums(by_seed(part, "accepted"), by_seed(part, "rounds")),
        "target_calls": ratio_of_sums(calls),
    }
    ends = ("", "_low", "_high")
    values = {f"{name}{end}": each for name, three in found.items() for end, each in zip(ends, three, strict=True)}
    return {"users": calls.shape[1], "seeds": len(calls)} | values


def _shape(prepared: Path) -> tuple[pd.DataFrame, int]:
    """The trie's levels, weighted by training interactions, and how many items there are."""
    identifiers = Catalogue.load(prepared / CATALOGUE).identifiers
    users = parquet.read(prepared / USERS, expected="the prepared users", again="prepare the data")
    if users.schema.names.count("train") != 1 or users.schema.field("train").type != pa.list_(pa.int64()):
        found = ", ".join(f"{field.name}: {field.type}" for field in users.schema)[:300]
        raise SpecbeamError(
            f"{prepared / USERS}: expected a column train of lists of items, found {found}; prepare again"
        )
    bought = pc.value_counts(pc.list_flatten(users["train"]))
    counts = dict(zip(bought.field("values").to_pylist(), bought.field("counts").to_pylist(), strict=True))
    popularity = np.array([counts.get(item, 0) for item in identifiers])
    return by_level(np.array(list(identifiers.values())), popularity), len(identifiers)


@style.styled
def draw(table: pd.DataFrame) -> Figure:
    """Draw the frame of `data`: a row a coding, and four panels."""
    codings = list(table["coding"].unique())
    figure, (bits, first, calls, recall) = style.panels(
        columns=4, width=style.DOUBLE, height=0.9 + 0.26 * len(codings), sharey=True
    )
    objectives = style.in_order(table["objective"])
    one = table.drop_duplicates("coding")
    shades = style.shades(int(table["levels"].max()))
    _bits(bits, one, shades)
    for index, objective in enumerate(objectives):
        part, look = table[table["objective"] == objective], style.look(objective)
        places = part["coding"].map(codings.index) + style.dodged(index, len(objectives))
        for axes, value, scale in ((first, "first_accepted", 100), (calls, "target_calls", 1)):
            _dots(axes, part, places, value, scale, **look)
    calls.plot(one["levels"], range(len(codings)), color=style.INK, marker="|", ms=8, mew=0.8, ls="")
    _dots(recall, one, range(len(codings)), "recall", 1, color=style.INK, marker="o", ms=3.2, mew=0)
    width = table["K"].iloc[0]
    bits.set_xlabel("bits of choice, by level")
    first.set_xlabel("drafted levels accepted,\nfirst round (%)")
    calls.set_xlabel("target calls a list")
    recall.set_xlabel(f"Recall@{width} of the target")
    for axes, end in ((first, 100), (calls, None), (recall, None)):
        axes.set_xlim(0, end)
        axes.grid(True, axis="x")
        axes.grid(False, axis="y")
        axes.tick_params(axis="y", length=0)
    bits.set_yticks(range(len(codings)), codings, parse_math=False)
    bits.set_ylim(len(codings) - 0.5, -0.5)
    handles = [Patch(color=shade, label=f"level {level}") for level, shade in enumerate(shades, start=1)]
    handles += style.objective_handles(objectives)
    handles.append(Line2D([], [], color=style.INK, marker="|", ms=8, mew=0.8, ls="", label="plain beam search"))
    style.legend(figure, handles, columns=8)
    return figure


def _bits(axes: Axes, one: pd.DataFrame, shades: list[tuple[float, ...]]) -> None:
    start = np.zeros(len(one))
    for level, shade in enumerate(shades, start=1):
        width = one[f"bits_{level}"].fillna(0).to_numpy()
        axes.barh(range(len(one)), width, left=start, height=0.62, color=shade, lw=0)
        start += width
    axes.grid(False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _dots(axes: Axes, part: pd.DataFrame, places: Iterable[float], value: str, scale: float, **look: object) -> None:
    widths = [scale * side for side in style.bars(part, value, f"{value}_low", f"{value}_high")]
    axes.errorbar(scale * part[value], places, xerr=widths, elinewidth=0.6, ls="", **look)


def plot(*, inputs: Iterable[Path], output: Path) -> None:
    """Read what `named` parses of each coding; write `output`.png, .svg, .csv and .txt."""
    files = named(inputs)
    table = data(files)
    paths = _records(files)
    evaluation = records.read(paths, "evaluation")
    first = table.iloc[0]
    caption = captions.of_records(
        f"One catalogue under {len(files)} codings, K = {first['K']}, N = {first['N']}, strict. From the left: bits of "
        "choice that each level holds given those before it, weighted by training interactions; share of the drafted "
        f"levels ({accepted.draft_length(paths)} at most, never the last) that the first round accepts; target calls a "
        "list, and those of plain beam search, one a level; recall of the target's own lists over all test users.",
        evaluation,
        paths,
    )
    style.save(draw(table), table, output, caption)
