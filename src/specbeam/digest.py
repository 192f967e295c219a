"""A digest of the code that a stage runs, so that Snakemake reruns the stage when that code changes."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import specbeam
from specbeam.errors import SpecbeamError

NOT_CODE = frozenset({"specbeam", "specbeam.settings", "specbeam.provenance", "specbeam.progress"})
"""Modules left out of digests, since results do not depend on them beyond what is compared anyway: settings reach a
stage as values, the package's own file holds its version, and progress is only shown."""

ASSETS = (".html", ".css", ".js")


def code_digest(module: str) -> str:
    """Hash the code of `module` and of all specbeam modules that it imports, however deeply.

    Imports are read from the source, those inside functions included, so nothing is loaded. Templates (files with the
    ASSETS' endings) of an imported package count byte by byte. What cannot change a result does not count: comments,
    layout, docstrings, and the modules in NOT_CODE. Raises SpecbeamError for a module that does not exist.
    """
    return _digest_below(module, Path(specbeam.__file__).parent)


@functools.cache
def _digest_below(module: str, package: Path) -> str:
    digest = hashlib.sha256()
    for name in sorted(imported_modules(module, package) - NOT_CODE):
        digest.update(f"{name}\n{_parsed(name, package).code}\n".encode())
        for path in _beside(name, package):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def imported_modules(module: str, package: Path) -> set[str]:
    """Names of `module` and of every module below `package` that it imports, directly or not."""
    if _source(module, package) is None:
        raise SpecbeamError(f"no module {module} under {package}: expected a stage's entry module")
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or _source(name, package) is None:
            continue
        found.add(name)
        waiting += [name.rpartition(".")[0]] if "." in name else []
        if name not in NOT_CODE:
            waiting += _parsed(name, package).imports
    return found


def _source(name: str, package: Path) -> Path | None:
    """File of a module of this package, or None for anything else."""
    first, *parts = name.split(".")
    if first != package.name:
        return None
    place = package.joinpath(*parts)
    candidates = (place / "__init__.py", place.with_suffix(".py") if parts else place / "__init__.py")
    return next((path for path in candidates if path.is_file()), None)


def _beside(name: str, package: Path) -> list[Path]:
    """Templates in the folder of the package `name`; none for a module."""
    source = _source(name, package)
    if source.name != "__init__.py":
        return []
    return sorted(path for path in source.parent.iterdir() if path.suffix in ASSETS)


@dataclass(frozen=True)
class _Module:
    """One module's source, as far as it counts."""

    imports: tuple[str, ...]
    """Absolute names; `from a import b` gives a and a.b, whichever b is."""
    code: str
    """Its syntax tree, without docstrings."""


def _parsed(name: str, package: Path) -> _Module:
    source = _source(name, package)
    return _parse(name, source, source.read_text(encoding="utf-8"))


@functools.cache  # most modules are below most stages, and each is parsed once
def _parse(name: str, source: Path, text: str) -> _Module:
    tree = ast.parse(text, filename=str(source))
    base = name.split(".") if source.name == "__init__.py" else name.split(".")[:-1]
    imports = tuple(_imports(tree, base))
    return _Module(imports, ast.dump(_without_docstrings(tree)))


def _imports(tree: ast.Module, base: list[str]) -> Iterator[str]:
    """What a module in the package `base` imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield origin
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _without_docstrings(tree: ast.Module) -> ast.Module:
    """Remove all statements that are a string alone: docstrings of modules, classes, functions and attributes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [statement for statement in node.body if not _is_text(statement)] or [ast.Pass()]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
