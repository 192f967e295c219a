"""Gathers what a run has made into its page, and into pages of tables for each data set and objective."""

import struct
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jinja2
import pandas as pd

from specbeam.comparison.runs import Run
from specbeam.errors import SpecbeamError
from specbeam.figures.tables import read_csv
from specbeam.files import read_text, replacing
from specbeam.page import facts, tables
from specbeam.page.headlines import Headlines, headlines
from specbeam.page.tables import Table
from specbeam.stages import FIGURES

POINTS = 2.4
"""Points of a picture in a CSS pixel: a figure over both columns of a paper is then 860 pixels wide."""

PNG = b"\x89PNG\r\n\x1a\n"

TITLES = {
    "speedup": "Speedup by K",
    "pareto": "Recall against speedup",
    "accepted": "Accepted levels by K",
    "levels": "How far the first rounds get",
    "calls": "Target calls a list",
    "trees": "Target calls by the size of the drafted tree",
    "recall": "Recall and NDCG by K",
    "phases": "Where a list's time goes",
    "agreement": "Agreement with the target during alignment",
    "loss": "Losses by epoch",
    "trie": "The trie of all identifiers",
    "example": "How one user's list comes about",
    "ablations": "Accepted levels by what the ablations vary",
}
"""What a figure shows, for those who cannot see it, and where it has no caption of its own."""


@dataclass(frozen=True)
class Shown:
    """A figure: its picture, a title, and a caption if there is one."""

    name: str
    title: str
    caption: str
    image: str
    """The PNG as a data URL."""
    width: int
    height: int
    """In CSS pixels: figures share a scale, so that their text is of one size."""


@dataclass(frozen=True)
class DatasetPart:
    """What a page has of one data set."""

    name: str
    measured: list[str]
    """The head of the summary: on what, over whom, where."""
    headlines: Headlines
    figures: list[Shown]
    tables: list[Table]


def write_page(*, run: Path, output: Path, summary: Path, parts: Path) -> None:
    """Write `output`, one HTML file on the finished run in the folder `run`, with its figures in it.

    For Snakemake's report, where figures have their own places and browsers refuse pages of 2 MB, the same without them
    (`summary`), and the folder `parts`, of pages DATASET/PART.html with tables: of the target and the baselines, and of
    each objective. Raises SpecbeamError when `run` is no run, or a data set of its config has no results yet.
    """
    found = Run.of(run)
    with replacing(parts) as folder:
        for dataset in found.config["datasets"]:
            (folder / dataset).mkdir(parents=True)
            for part, shown in _parts(found, dataset):
                html = _render("part.html", run=found.config["run"], dataset=dataset, part=part, tables=shown)
                (folder / dataset / f"{part}.html").write_text(html, encoding="utf-8")
    for path, figures in ((summary, False), (output, True)):
        with replacing(path) as temporary:
            temporary.write_text(_page(found, figures=figures), encoding="utf-8")


def _render(template: str, **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template(template).render(**values)


def _page(found: Run, *, figures: bool) -> str:
    datasets = found.config["datasets"]
    return _render(
        "page.html",
        run=found.config["run"],
        folder=found.folder,
        parts=[_dataset(found, name, figures=figures) for name in datasets],
        origins=facts.origins(found),
        jobs=facts.jobs(found),
        settings=found.settings,
        steps=list(facts.next_steps(found, datasets[0], _evaluation(found, datasets[0])["user"].iloc[0])),
        cautions=list(facts.cautions(found)),  # last: problems come up while the run is read
    )


def _dataset(run: Run, name: str, *, figures: bool) -> DatasetPart:
    folder, summary = run.folder / name, _summary(run, name)
    draft_length = run.config["decoding"]["draft_length"]
    return DatasetPart(
        name=name,
        measured=read_text(folder / "summary.txt", expected="a table").partition("\n\n")[0].splitlines(),
        headlines=headlines(summary, _evaluation(run, name), draft_length=draft_length),
        figures=[_shown(path) for path in _pictures(folder / "figures")] if figures else [],
        tables=[tables.acceptance(summary), tables.everything(summary)],
    )


def _parts(run: Run, dataset: str) -> Iterator[tuple[str, list[Table]]]:
    """The target, then each objective: what was measured, the losses of training, and the jobs."""
    summary, folder = _summary(run, dataset), run.folder / dataset
    alone = summary[summary["method"] != "speculative"]
    losses = _losses({"target": folder / "target" / "loss.csv"})
    yield "target", [tables.everything(alone), losses, facts.jobs(run, dataset)]
    for objective in run.objectives():
        own = summary[(summary["objective"] == objective) | summary["method"].isin(["plain", "generate"])]
        found = {path.parent.name: path for path in sorted((folder / "drafts" / objective).glob("seed-*/loss.csv"))}
        yield objective, [tables.everything(own), _losses(found), facts.jobs(run, dataset, objective=objective)]


def _losses(paths: dict[str, Path]) -> Table:
    missing = "expected the losses of a training here; run snakemake first"
    frames = {name: read_csv(path, ("epoch",), missing=missing) for name, path in paths.items()}
    frame = pd.concat(frames, names=["of"]).reset_index("of")
    return tables.of_frame(frame, title="Losses", caption="In nats, by epoch; the epoch that was kept is marked.")


def _summary(run: Run, dataset: str) -> pd.DataFrame:
    missing = "expected the summary of a finished run here; run snakemake first"
    summary = read_csv(run.folder / dataset / "summary.csv", ("method", "K", "N"), missing=missing)
    return summary.fillna(dict.fromkeys(("objective", "plan", "verification"), ""))


def _evaluation(run: Run, dataset: str) -> pd.DataFrame:
    found = run.records(dataset, "evaluation")
    if found is None:
        raise SpecbeamError(
            f"{run.folder / dataset}: expected evaluation records that can be read; run snakemake to measure again: "
            f"{'; '.join(run.problems) or 'there are none'}"
        )
    return found


def _pictures(folder: Path) -> list[Path]:
    """Figures in the order of FIGURES, then others."""
    order = {name: rank for rank, name in enumerate(FIGURES)}
    return sorted(folder.glob("*.png"), key=lambda path: (order.get(path.stem, len(order)), path.stem))


def _shown(path: Path) -> Shown:
    written = [other for suffix in (".txt", ".md") if (other := path.with_suffix(suffix)).is_file()]
    caption = read_text(written[0], expected="a caption").strip() if written else ""
    content = path.read_bytes() if path.is_file() else b""
    if not content.startswith(PNG) or len(content) < 24:
        raise SpecbeamError(f"{path}: expected a picture in PNG; delete it and run snakemake to draw it again")
    width, height = (round(points / POINTS) for points in struct.unpack(">II", content[16:24]))  # of its first chunk
    image = f"data:image/png;base64,{b64encode(content).decode()}"
    return Shown(path.stem, TITLES.get(path.stem, path.stem), caption, image, width, height)
