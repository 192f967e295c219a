"""What mkdocs generates when it builds the site: reference tables from the code, and formulas as MathML.

A page says where: `<!-- generated: NAME -->`. Nothing of it is kept in the repository, so it cannot fall behind.
"""

import ast
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import typer
from latex2mathml.converter import convert
from typer.cli import get_docs_for_click

from specbeam import cli, reports
from specbeam.measurement import records
from specbeam.stages import STAGES

ROOT = Path(__file__).parents[1]
Schema = dict[str, Any]


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what is generated; KeyError for a name that there is not."""
    return re.sub(r"<!-- generated: (\w+) -->", lambda found: "\n".join(GENERATED[found[1]]()), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Formulas as MathML, which browsers draw without a script."""
    html = re.sub(
        r'<span class="arithmatex">\\\((.*?)\\\)</span>',
        lambda found: convert(unescape(found[1])),
        html,
        flags=re.DOTALL,
    )
    return re.sub(
        r'<div class="arithmatex">\\\[(.*?)\\\]</div>',
        lambda found: convert(unescape(found[1]), display="block"),
        html,
        flags=re.DOTALL,
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """The lines of a table in Markdown."""
    head = list(head)
    for row in (head, ["---"] * len(head), *rows):
        yield f"| {' | '.join(' '.join(cell.split()).replace('|', '&#124;') for cell in row)} |"
    yield ""


def config() -> Iterator[str]:
    """All settings of a config, a table for each section, from its JSON schema."""
    schema = json.loads(reports.schema())
    yield from _section(schema, schema["$defs"], ())


def _section(section: Schema, known: dict[str, Schema], path: tuple[str, ...]) -> Iterator[str]:
    """The settings that stand in a section, and after them the sections in it; those of one kind stand together."""
    held: dict[str, list[str]] = {}
    rows = []
    for name, value in section["properties"].items():
        kind, named = _kind(value), "patternProperties" in value
        if kind:
            held.setdefault(kind, []).append(f"{name}.NAME" if named else name)
        if not kind or named or "anyOf" in value:  # a section that may be null is a setting too
            default = f"`{_plain(value['default'])}`" if "default" in value else "required"
            rows.append((f"`{name}`", _type(value), default, value.get("description", "")))
    if rows:
        yield from table(("key", "type", "default", "meaning"), rows)
    for kind, names in held.items():
        yield f"{'###' if path else '##'} {'.'.join((*path, ', '.join(names)))}\n"
        yield f"{known[kind]['description']}\n"
        yield from _section(known[kind], known, (*path, names[0]))


def _kind(value: Schema) -> str | None:
    """The kind of section that a property is, or holds by name, if it does."""
    parts = (value, *value.get("anyOf", ()), *value.get("patternProperties", {}).values())
    references = [each["$ref"] for each in parts if "$ref" in each]
    return references[0].rpartition("/")[2] if references else None


def _type(value: Schema) -> str:
    """What a setting may be, in words."""
    if "anyOf" in value:
        return " or ".join(_type(each) for each in value["anyOf"])
    if "enum" in value or "const" in value:
        return ", ".join(f"`{each}`" for each in value.get("enum", [value.get("const")]))
    if value.get("type") == "array":
        return f"list of {_type(value['items'])}"
    limits = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    ranges = [f"{sign} {value[limit]:g}" for limit, sign in limits.items() if limit in value]
    words = {
        "string": "text",
        "number": "number",
        "integer": "whole number",
        "object": "mapping",
        "boolean": "`true`, `false`",
        "null": "null",
    }
    name = "section" if "$ref" in value else words.get(value.get("type", ""), "any value")
    return ", ".join([name, *ranges])


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def commands() -> Iterator[str]:
    """Every verb of the command line with its options, by typer."""
    command = typer.main.get_command(cli.app)
    context = command.make_context("specbeam", [], resilient_parsing=True)
    text = get_docs_for_click(obj=command, ctx=context, name="specbeam")
    yield text[text.index("\n## ") :]  # the page has its own introduction


def targets() -> Iterator[str]:
    """The names that can be asked for, as `snakemake --list` shows them for the default config."""
    named = [(name, text) for name, text in _listed().items() if name not in ("unknown", *_rules())]
    yield from table(("target", "what"), ((f"`{name}`", text) for name, text in named))


def rules() -> Iterator[str]:
    """The rules that compute something, with what each leaves."""
    described = _listed()
    rows = ((f"`{name}`", described[name], outputs) for name, outputs in _rules().items())
    yield from table(("rule", "what", "leaves"), rows)


def _listed() -> dict[str, str]:
    """Name -> line of every rule, in `snakemake --list`."""
    call = [sys.executable, "-m", "snakemake", "--list"]
    listed = subprocess.run(call, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return dict(re.findall(r"^(\w+) \((.*)\)$", listed, flags=re.MULTILINE))


def _rules() -> dict[str, str]:
    """Name -> outputs of the rules with a docstring of their own, in the order of the stages."""
    found = {}
    for path in re.findall(r'^include: "(workflow/rules/.*)"', (ROOT / "Snakefile").read_text(), flags=re.MULTILINE):
        for name, body in re.findall(
            r"^rule (\w+):\n((?:    .*\n|\n)+)", (ROOT / path).read_text(), flags=re.MULTILINE
        ):
            outputs = re.search(r"^    output:\n((?: {8}.*\n)+)", body, flags=re.MULTILINE)
            if outputs:
                found[name] = ", ".join(f"`{each}`" for each in re.findall(r'"(<.*?)"', outputs[1]))
    return found


def stages() -> Iterator[str]:
    """Each stage with the settings whose change runs it again."""
    rows = (
        (f"`{name}`", f"`{stage.module}`", ", ".join(f"`{path}`" for path in stage.reads))
        for name, stage in STAGES.items()
    )
    yield from table(("stage", "code", "settings"), rows)


def columns() -> Iterator[str]:
    """The columns of each kind of records; what they mean stands in the docstring of records.COLUMNS."""
    meanings = _meanings()
    for kind, types in records.COLUMNS.items():
        yield f"## {kind}\n\n{meanings[kind]['']}\n"
        keys = records.KEYS[kind]
        own = meanings["any"] | meanings[kind]
        yield from table(
            ("column", "type", "meaning"),
            ((f"**`{name}`**" if name in keys else f"`{name}`", str(types[name]), own[name]) for name in types),
        )
    yield f"## In every row\n\n{meanings['environment']['']}\n"
    rows = ((f"`{name}`", str(kind), meanings["environment"][name]) for name, kind in records.ENVIRONMENT.items())
    yield from table(("column", "type", "meaning"), rows)


def _meanings() -> dict[str, dict[str, str]]:
    """Kind -> column -> meaning, and "" -> what the kind is, from the docstrings under the tables of columns."""
    found: dict[str, dict[str, str]] = {}
    for statement in ast.parse(inspect.getsource(records)).body:
        if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
            for kind, text in re.findall(
                r"^(\w+): (.*?)(?:\n\n|\Z)", statement.value.value, flags=re.MULTILINE | re.DOTALL
            ):
                introduction, *entries = re.split(r"\n- ", text)
                named = (entry.partition(": ") for entry in entries)
                found[kind] = {"": introduction}
                found[kind] |= {column: meaning for columns, _, meaning in named for column in columns.split(", ")}
    return found


GENERATED = {each.__name__: each for each in (config, commands, targets, rules, stages, columns)}
