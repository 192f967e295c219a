"""Every command in README and the documents is executed.

The tutorial runs as it stands, in order, on a default config made smaller than the smoke config. All other commands run
on what it leaves; those that would take real data, GPUs, a cluster or hours, as dry runs. What cannot be run here at
all stands in ELSEWHERE, with the reason.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from checkouts import ROOT, Checkout, copied
from specbeam import cli

pytestmark = pytest.mark.slow

DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
TUTORIAL, OWN_DATA = ROOT / "docs/tutorial.md", ROOT / "docs/own-data.md"
PROGRAMS = "accelerate|apptainer|conda|hf|make|pip|pytest|sbatch|snakemake|specbeam|squeue|PYTHONPATH=tests python"
TESTED_AS_PYTHON = {"README.md": "test_readme.py", "docs/library.md": "test_library_docs.py"}

ELSEWHERE = {
    "make test": "runs this test",
    "pytest": "runs this test",
    ".ci/run": "runs this test",
    "conda": "no conda here; tests/unit/test_environment.py holds its files against the pins",
    "pip": "fetches packages",
    "specbeam --install-completion": "edits the shell's start-up file",
    "hf download": "fetches LLaMA-7B",
    "apptainer build": "no Apptainer here; tests/unit/test_environment.py runs the recipe's steps",
    "snakemake --profile workflow/profiles/slurm --configfile config/paper.yaml --sdm apptainer": "no Apptainer here; "
    "tests/workflow/test_software.py runs --sdm with stand-ins",
    "sbatch": "tests/cluster runs it on a real Slurm",
    "squeue": "needs Slurm, which tests/cluster starts",
    "accelerate launch": "needs a second machine; tests/equivalence/test_processes.py launches two processes",
    "specbeam bench results/default/synthetic": "takes minutes; that of docs/own-model.md runs",
    "specbeam bench results/beauty-small/beauty": "needs that run, which takes an hour",
    "specbeam bench --shape 512": "takes minutes; tests/unit/test_bench.py runs smaller shapes",
    "specbeam precision results/proof-beauty/beauty": "needs that run; tests/unit/test_precision.py runs a small one",
    "snakemake ablations --dry-run --cores 2 --configfile config/grid.yaml": "plans 20,265 jobs, for a minute",
    "specbeam serve": "runs until it is stopped; tests/unit/test_serving_process.py starts and stops one",
    "specbeam bench-serve results/": "takes minutes; tests/unit/test_bench_serve.py runs a smaller one",
    "PYTHONPATH=tests python tests/distances.py": "takes minutes",
    "PYTHONPATH=tests python tests/fuzz/guided.py": "takes minutes, and needs the extra `fuzz`",
    "PYTHONPATH=tests python tests/dependencies.py": "tests/unit/test_dependencies.py reads the same",
    "PYTHONPATH=tests python tests/many_interactions.py": "writes 390 MB; tests/unit/test_many_interactions.py, less",
    "specbeam read-interactions --settings many.yaml": "reads them, for minutes",
}
"""Beginning of a command -> why it is not executed here."""


def blocks(document: Path, language: str) -> list[str]:
    text = document.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)


def commands(script: str) -> Iterator[str]:
    """The commands of a script, of a line or more each."""
    lines: list[str] = []
    for line in script.splitlines():
        lines.append(line)
        if not line.endswith("\\") and "\n".join(lines).count('"') % 2 == 0:
            yield "\n".join(lines)
            lines = []


def quoted(document: Path) -> list[str]:
    """Programs with arguments in running text and tables."""
    text = re.sub(r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(rf"^    ((?:{PROGRAMS}|\.ci/run)\b.*)", text, flags=re.MULTILINE)
    return [*re.findall(rf"`((?:{PROGRAMS}) [^`\n]+)`", text), *indented]


def is_name(command: str) -> bool:
    """Whether it names a verb or a target, or has places to fill in, rather than being a command as it stands."""
    program, *words = shlex.split(command, comments=True)
    bare = program in ("snakemake", "specbeam") and len(words) == 1 and re.fullmatch(r"[a-z][\w-]*", words[0])
    return bool(bare) or any(re.match(r"[A-Z_]+$|<|\[|\.\.\.", word) for word in words)


def as_run(command: str) -> str:
    """What is executed of a command: nothing, a dry run, or the command."""
    if any(command.startswith(beginning) for beginning in ELSEWHERE):
        return ""
    if command.startswith("make "):
        return command.replace("make", "make --dry-run", 1)
    if re.match(r"snakemake\b.*(--configfile|--profile|--config|--forcerun|\b(beauty|games|mine)\b)", command):
        return command.replace("snakemake", "snakemake --dry-run", 1)
    return command


def run(place: Checkout, script: str) -> None:
    environment = place.environment(PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place.folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A checkout in which the tutorial was followed. Set-up has nothing to do: this environment is taken for .venv."""
    place = copied(tmp_path_factory.mktemp("tried"))
    shutil.copy2(ROOT / "Makefile", place.folder)
    (place.folder / "docs").mkdir()
    shutil.copy2(ROOT / "docs/scale.yaml", place.folder / "docs")
    small = (ROOT / "config/smoke.yaml").read_text().replace("run: smoke", "run: default")
    small = small.replace("beam_widths: [1, 5]", "beam_widths: [5]")
    small = re.sub("objectives: {sft.*", "objectives: {sft: {}, atspeed_s: {alpha: 0.7}}", small)
    (place.folder / "config/config.yaml").write_text(small)
    (place.folder / ".venv/bin").mkdir(parents=True)
    for file in ("bin/activate", ".ready"):
        (place.folder / ".venv" / file).touch()
    run(place, "\n".join(blocks(TUTORIAL, "sh")))
    for name in ("other", "a", "b"):  # runs to compare
        shutil.copytree(place.folder / "results/default", place.folder / "results" / name)
    return place


@pytest.fixture(scope="module")
def executed() -> set[str]:
    """What was executed before: the documents say many a thing twice."""
    return set()


@pytest.mark.parametrize(
    "document",
    [each for each in DOCUMENTS if each not in (TUTORIAL, OWN_DATA)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_the_commands_of_a_document_run(document: Path, tried: Checkout, executed: set[str]) -> None:
    scripts = ["\n".join(map(as_run, commands(block))) for block in blocks(document, "sh")]
    scripts += [as_run(command) for command in quoted(document) if not is_name(command)]
    for script in dict.fromkeys(scripts):
        if script.strip() and script not in executed:
            run(tried, script)
            executed.add(script)


def test_own_data_are_a_target_once_a_config_names_them(checkout: Checkout) -> None:
    run(checkout, "\n".join(map(as_run, "\n".join(blocks(OWN_DATA, "sh")).splitlines())))


def test_verbs_and_targets_that_are_named_are_those_that_there_are(tried: Checkout) -> None:
    targets = re.findall(r"^(\w+) \(", tried.snakemake("--list", config="config").stdout, flags=re.MULTILINE)
    known = {"specbeam": typer.main.get_command(cli.app).commands, "snakemake": targets}
    for document in DOCUMENTS:
        for command in filter(is_name, quoted(document)):
            program, name, *_ = command.split()
            assert not re.match("[a-z]", name) or name in known[program], f"{document}: {command}"


def test_calls_of_specbeam_that_are_not_run_have_options_that_there_are() -> None:
    known = typer.main.get_command(cli.app).commands
    for document in DOCUMENTS:
        scripts = [command for block in blocks(document, "sh") for command in commands(block)]
        for command in [*scripts, *quoted(document)]:
            if re.match("specbeam [a-z]", command) and not is_name(command) and not as_run(command):
                verb, *arguments = shlex.split(command, comments=True)[1:]
                known[verb].make_context(verb, arguments)


def test_what_is_not_executed_is_still_in_the_documents() -> None:
    found = [each for document in DOCUMENTS for block in blocks(document, "sh") for each in commands(block)]
    found += [each for document in DOCUMENTS for each in quoted(document)]
    unused = [beginning for beginning in ELSEWHERE if not any(each.startswith(beginning) for each in found)]
    assert unused == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_python_of_a_document_runs(document: Path, tried: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    if str(document.relative_to(ROOT)) in TESTED_AS_PYTHON or document == OWN_DATA:
        return
    monkeypatch.chdir(tried.folder)
    names: dict[str, object] = {}
    for block in blocks(document, "python"):
        exec(compile(block, str(document), "exec"), names)
