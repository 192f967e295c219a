"""The rules of the house: which way imports point, and how long files and rules may be."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "specbeam"
MODULES = {
    ".".join(("specbeam", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(SOURCE.rglob("*.py"))
}
STAGES = ("target", "baselines", "trajectories", "alignment", "measurement")
TESTS = sorted((ROOT / "tests").rglob("*.py"))
LIBRARY = (
    "data", "interactions", "catalogue", "prompts", "trie", "models", "pretrained", "adapters", "decoding", "files",
    "errors", "settings", "items", "item_tables", "recommender", "recommendations", "subsets", "drop_in",
    "finished_run",
)  # fmt: skip


def _imports(path: Path) -> set[str]:
    """All that a module imports: `from a import b` counts as a and a.b."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where a name comes from"
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _part(module: str) -> str:
    """The part of this package that a name belongs to; empty for anything else."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "specbeam" else ""


def _of(*parts: str) -> dict[str, Path]:
    return {name: path for name, path in MODULES.items() if _part(name) in parts}


def _closure(name: str) -> set[str]:
    """Everything that importing a module brings in, as far as this package goes, and what that imports."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        if module in MODULES:
            waiting += _imports(MODULES[module])
    return found


@pytest.mark.parametrize("module", MODULES)
def test_nothing_imports_snakemake(module):
    assert not [name for name in _imports(MODULES[module]) if name.split(".")[0] == "snakemake"]


@pytest.mark.parametrize(
    "module",
    [
        *_of(
            "data",
            "interactions",
            "catalogue",
            "prompts",
            "figures",
            "settings",
            "stages",
            "digest",
            "items",
            "item_tables",
            "finished_run",
        )
    ],
)
def test_data_prompts_figures_and_settings_bring_in_no_torch(module):
    assert not {name.split(".")[0] for name in _closure(module)} & {"torch", "accelerate", "peft"}


def test_drawing_figures_loads_no_torch():
    figures = ", ".join(_of("figures"))
    code = f"import sys, {figures}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("module", [*_of(*LIBRARY)])
def test_the_library_knows_no_stage(module):
    assert not {_part(name) for name in _imports(MODULES[module])} & {*STAGES, "figures", "cli"}


@pytest.mark.parametrize("module", MODULES)
def test_packages_of_the_extra_serve_are_for_serving_alone(module):
    imported = {name.partition(".")[0] for name in _imports(MODULES[module])}
    allowed = module in ("specbeam.serving.app", "specbeam.serving.metrics", "specbeam.serving.server")
    assert allowed or not imported & {"fastapi", "starlette", "uvicorn", "prometheus_client"}


@pytest.mark.parametrize("module", [*_of(*LIBRARY, *STAGES, "figures")])
def test_what_runs_without_the_extra_does_not_serve(module):
    imported = {name for name in _imports(MODULES[module]) if _part(name) == "serving"}
    assert not imported or module == "specbeam.measurement.load_test"


@pytest.mark.parametrize("module", [*_of("serving")])
def test_serving_knows_the_library_and_no_stage(module):
    assert {_part(name) for name in _imports(MODULES[module])} <= {*LIBRARY, "serving", "__version__", ""}


@pytest.mark.parametrize("module", [*_of("data", "interactions", "catalogue", "trie")])
def test_data_knows_nothing_of_models(module):
    assert not {_part(name) for name in _imports(MODULES[module])} & {"models", "decoding"}


@pytest.mark.parametrize("module", [*_of(*STAGES)])
def test_stages_meet_only_through_files(module):
    others = {stage for stage in STAGES if stage != _part(module)}
    assert not {_part(name) for name in _imports(MODULES[module])} & others


@pytest.mark.parametrize("module", [*_of("figures")])
def test_figures_know_only_records(module):
    known = {name for name in _imports(MODULES[module]) if _part(name) in {*STAGES, "decoding", "models", "data"}}
    records = "specbeam.measurement.records"
    assert not {name for name in known if name != "specbeam.measurement" and not f"{name}.".startswith(f"{records}.")}


def test_modules_have_at_most_300_lines_and_test_files_330():
    lines = {path: len(path.read_text().splitlines()) for path in [*MODULES.values(), *TESTS]}
    assert not {path: count for path, count in lines.items() if count > (330 if path in TESTS else 300)}


def _length(function: ast.FunctionDef) -> int:
    """Lines of a function, without its docstring."""
    first = function.body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if text else 0)


@pytest.mark.parametrize("path", [*MODULES.values(), *TESTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_functions_have_at_most_50_lines_besides_their_docstring(path):
    functions = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]
    assert not {function.name: _length(function) for function in functions if _length(function) > 50}


def test_the_library_does_not_print():
    for module, path in MODULES.items():
        assert not re.search(r"^\s*print\(", path.read_text(), flags=re.MULTILINE), module


@pytest.mark.parametrize("file", sorted((ROOT / "workflow/rules").glob("*.smk")), ids=lambda path: path.name)
def test_rules_are_at_most_30_lines_and_complete(file):
    for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
        name = rule.partition(":")[0]
        assert len(rule.strip().splitlines()) <= 30, name
        for part in ('"""', "output", "log", "benchmark", "threads", "resources", "message", "params", "shell"):
            assert part in rule, f"{name} lacks {part}"
        assert re.search(r'message:\n +".*\(tail -f \{log\}\)"', rule), f"{name}: say how to follow it"
        loads_models = "--threads" in rule
        if name != "download_source":  # the one that runs where Snakemake does
            assert re.search(rf'\*\*asks\("{name}"(, gpus=.*GPU.*)?\),', rule), f"{name}: ask by the rule's name"
            assert ("gpus=" in rule) == loads_models, f"{name}: GPUs are for rules that load models"
        for kind in ("logs", "benchmarks"):
            assert re.search(rf"[/}}]{kind}/{name}[./]", rule), f"{name}: {kind} must bear its name"
