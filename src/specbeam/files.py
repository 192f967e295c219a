"""Writing so that a kill at any moment leaves either the old result or the new one, never half of one."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from specbeam.errors import SpecbeamError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is renamed to `path`, on failure it is removed.

    The caller writes a file or a folder there; parents are created. A rename within one folder is atomic, so readers
    see the old content or the new one. A folder cannot be renamed onto another: the old one is first renamed aside, and
    comes back if the new one cannot take its place. A kill between the two renames leaves it aside, as a `.part`.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.{os.getpid()}.old.part")
    remove(temporary)
    try:
        yield temporary
        if path.is_dir():
            remove(old)
            path.replace(old)
        try:
            temporary.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
        remove(old)
    finally:
        remove(temporary)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read JSON; a missing or malformed file raises SpecbeamError naming the file and the place."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected a JSON file here, found none") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise SpecbeamError(f"{path}: not valid JSON ({error})") from error


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
