"""Where a number comes from: the commit, the package versions and the machine that every record carries."""

import functools
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from specbeam import __version__

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "pandas", "snakemake")
"""Distributions whose versions are recorded beside those of specbeam and Python."""
SUFFIX = ".provenance.json"
"""Of the file beside a result that says how it was made (specbeam.job_provenance)."""


def beside(output: Path) -> Path:
    """Where the provenance of the result at `output` lies: `target/model` -> `target/model.provenance.json`."""
    return output.with_name(output.with_suffix("").name + SUFFIX)


def commit_of(environment: Mapping[str, Any]) -> str:
    """The commit in what `environment` gives, for readers."""
    return environment["commit"][:12] + (", with uncommitted changes" if environment["dirty"] else "")


def environment() -> dict[str, Any]:
    """Describe the running process: what its measurements depend on, besides settings.

    Returns commit (hash, or "unknown" outside a git checkout), dirty (tracked files differ from it), versions
    (distribution -> version), cpu (model name) and device ("cpu", or the name of the CUDA device).
    """
    commit, dirty = _commit()
    return {
        "commit": commit,
        "dirty": dirty,
        "versions": {"specbeam": __version__, "python": platform.python_version(), **_versions()},
        "cpu": _cpu(),
        "device": _device(),
    }


@functools.cache
def _commit() -> tuple[str, bool]:
    commit = _git("rev-parse", "--verify", "--quiet", "HEAD")
    if not commit:
        return "unknown", False
    return commit, bool(_git("status", "--porcelain", "--untracked-files=no"))


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(Path(__file__).parent), *arguments]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:  # no git on this machine: the commit stays unknown
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


@functools.cache
def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


@functools.cache
def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def _device() -> str:
    torch = sys.modules.get("torch")  # never imported from here: figures and dry runs do without it
    return torch.cuda.get_device_name() if torch and torch.cuda.is_available() else "cpu"
