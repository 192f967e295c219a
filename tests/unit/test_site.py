"""The documentation builds as a site without a broken link, reads without a network, and its reference is complete."""

import json
import re
from pathlib import Path

import pytest
import typer
from mkdocs.commands.build import build
from mkdocs.config import load_config

from specbeam import cli, reports
from specbeam.measurement import records
from specbeam.stages import STAGES

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site; the build raises for a warning."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


def page(site: Path, name: str) -> str:
    return (site / name).read_text(encoding="utf-8")


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        loaded = re.findall(
            r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)", file.read_text()
        )
        assert loaded == [], file
    for file in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", file.read_text()), file


def test_formulas_are_drawn_by_the_browser(site: Path) -> None:
    html = page(site, "method.html")
    assert html.count("<math") == html.count("</math>") > 20
    assert "arithmatex" not in html


def test_every_setting_has_its_row_and_says_what_it_means(site: Path) -> None:
    html, schema = page(site, "reference/config.html"), json.loads(reports.schema())
    for section in (schema, *schema["$defs"].values()):
        for name, value in section["properties"].items():
            if "$ref" not in value:
                assert f"<code>{name}</code>" in html
                assert value.get("description"), f"{section.get('title')}.{name} has no docstring"


def test_every_verb_stage_and_column_is_there(site: Path) -> None:
    for verb in typer.main.get_command(cli.app).commands:
        assert f'id="specbeam-{verb}"' in page(site, "reference/commands.html")
    for stage in STAGES:
        assert f"<code>{stage}</code>" in page(site, "reference/targets.html")
    for columns in (*records.COLUMNS.values(), records.ENVIRONMENT):
        assert all(f"<code>{column}</code>" in page(site, "reference/records.html") for column in columns)


def test_every_rule_is_there_with_what_it_leaves(site: Path) -> None:
    html = page(site, "reference/targets.html")
    files = "".join(path.read_text() for path in (ROOT / "workflow/rules").glob("*.smk"))
    for rule in re.findall(r'^rule (\w+):\n    """', files, flags=re.MULTILINE):
        assert re.search(rf"<code>{rule}</code></td>\s*<td>[^<]+</td>\s*<td><code>", html), rule
