"""Small file systems in memory, to be filled up or written in vain."""

import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system in memory at `folder`; without the right to mount, the test is skipped with a warning."""
    folder.mkdir(exist_ok=True)
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if made.returncode:
        warnings.warn(f"tests of full and read-only disks are SKIPPED: {made.stderr}", stacklevel=1)
        pytest.skip("may not mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def resize(folder: Path, size: int) -> None:
    """Let the file system at `folder` hold `size` bytes."""
    subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
