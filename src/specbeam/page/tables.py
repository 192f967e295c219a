"""Tables for pages, from a data set's csv files."""

from dataclasses import dataclass, field

import pandas as pd
from pandas.api.types import is_bool_dtype, is_numeric_dtype

from specbeam.figures import recall


@dataclass(frozen=True)
class Column:
    """A column of a table. Readers may choose one value of a `choice`; it begins with `chosen`, if there is one."""

    title: str
    form: str = ""
    unit: str = ""
    choice: bool = False
    chosen: str | None = None

    @property
    def numeric(self) -> bool:
        """Whether its cells are numbers."""
        return bool(self.form)

    def text(self, value: object) -> str:
        """A value as it is shown; a dash for none."""
        return f"{value:{self.form}}{self.unit}" if _there(value) else "-"

    def key(self, value: object) -> str:
        """A number to sort by; empty for none."""
        return str(value) if _there(value) else ""


def _there(value: object) -> bool:
    return not (pd.isna(value) or value == "")


@dataclass(frozen=True)
class Table:
    """Rows of values below columns."""

    title: str
    caption: str
    columns: list[Column]
    rows: list[list[object]] = field(repr=False)

    def cells(self, row: list[object]) -> list[tuple[Column, object]]:
        """The values of a row, each with its column."""
        return list(zip(self.columns, row, strict=True))


def acceptance(summary: pd.DataFrame) -> Table:
    """Accepted levels of every draft by K, from a summary.csv."""
    drafts = summary[(summary["method"] == "speculative") & summary["accepted"].notna()]
    drafts = drafts[drafts["N"] == drafts["N"].max()]
    names = ["objective", "verification", "plan"]
    by_width = drafts.pivot(index=names, columns="K", values="accepted")
    by_width = by_width.reindex(pd.MultiIndex.from_frame(drafts[names].drop_duplicates()))  # in the summary's order
    widths = [Column(f"AS@{k}", ".2f") for k in by_width.columns]
    choices = [Column(name, choice=True, chosen=drafts[name].iloc[0]) for name in names[1:]]
    caption = f"AS@K: accepted levels a round, without the bonus level. N = {drafts['N'].max()}; means over seeds."
    rows = [[*key, *values] for key, values in zip(by_width.index, by_width.to_numpy().tolist(), strict=True)]
    return Table("Accepted levels by K", caption, [Column("draft"), *choices, *widths], rows)


_MEASURED = {
    "accepted": Column("AS@K", ".2f"),
    "first_accepted": Column("first round", ".2f"),
    "target_calls": Column("target calls", ".2f"),
    "milliseconds": Column("ms a list", ".1f"),
    "speedup_plain": Column("over plain", ".2f", "x"),
    "speedup_generate": Column("over generate", ".2f", "x"),
    "recall": Column("Recall@K", ".4f"),
    "ndcg": Column("NDCG@K", ".4f"),
}


def everything(summary: pd.DataFrame) -> Table:
    """Every row of a summary.csv; of K, the largest is shown first."""
    named = {"target_all": "target", "plain": "plain beam search", "generate": "transformers' generate"}
    named |= {name: title for name, (title, _) in recall.BASELINES.items()}
    speculative = summary["method"] == "speculative"
    method = summary["method"].map(named).mask(speculative, summary["objective"])
    frame = summary.assign(method=method, milliseconds=summary["seconds"] * 1000, N=summary["N"].where(speculative))
    columns = [
        Column("method"),
        Column("verification", choice=True),
        Column("plan", choice=True),
        Column("K", "d", choice=True, chosen=str(summary["K"].max())),
        Column("N", ".0f", choice=True),
        *_MEASURED.values(),
    ]
    rows = frame[["method", "verification", "plan", "K", "N", *_MEASURED]].to_numpy(dtype=object).tolist()
    caption = (
        "First round: accepted levels of a list's first. Over plain, over generate: speedups. Recall and NDCG of the "
        "target and the baselines are over all test users, others over those evaluated."
    )
    return Table("Everything measured", caption, columns, rows)


def of_frame(frame: pd.DataFrame, *, title: str, caption: str) -> Table:
    """A data frame as it is, numbers to six digits."""
    numeric = {name for name, values in frame.items() if is_numeric_dtype(values) and not is_bool_dtype(values)}
    columns = [Column(name, ".6g" if name in numeric else "") for name in frame.columns]
    return Table(title, caption, columns, frame.to_numpy(dtype=object).tolist())
