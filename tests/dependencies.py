"""What specbeam brings in, as it is installed here: versions, licences, and which wheels hold compiled code.

PYTHONPATH=tests python tests/dependencies.py
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
PINNED = [Requirement(line) for line in PROJECT["dependencies"]]


@dataclass(frozen=True)
class Installed:
    """One distribution."""

    name: str
    version: str
    licence: str
    """As its metadata say; empty if they do not."""
    compiled: bool


def closure() -> Iterator[Installed]:
    """The distributions that specbeam needs on this machine, without its extras."""
    waiting, seen = list(PINNED), set()
    while waiting:
        needed = waiting.pop()
        name = canonicalize_name(needed.name)
        if name in seen or (needed.marker and not needed.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        found = metadata.distribution(name)
        waiting += map(Requirement, found.requires or [])
        compiled = any(".so" in Path(file).suffixes for file in found.files or [])
        yield Installed(name, found.version, _licence(found.metadata), compiled)


def _licence(said: metadata.PackageMetadata) -> str:
    named = [text.rpartition(" :: ")[2] for text in said.get_all("Classifier") or [] if text.startswith("License ::")]
    return said.get("License-Expression") or "; ".join(named) or (said.get("License") or "").partition("\n")[0]


if __name__ == "__main__":
    rows = sorted(closure(), key=lambda row: row.name)
    for row in rows:
        print(f"{row.name:<40} {row.version:<18} {'compiled' if row.compiled else '':<9} {row.licence or 'not said'}")
    compiled, unsaid = (sum(map(bool, kind)) for kind in ([r.compiled for r in rows], [not r.licence for r in rows]))
    print(
        f"{len(rows)} distributions, {len(PINNED)} of them pinned; {compiled} compiled; {unsaid} without a licence said"
    )
