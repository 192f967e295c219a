"""Writing so that a kill at any moment leaves either the old result or the new one, never half of one."""

import json
import os
import shutil
from collections import Counter
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


def read_text(path: Path, *, expected: str, encoding: str = "utf-8") -> str:
    """The text of a file, with line ends of any kind as newlines.

    Raises SpecbeamError that names the file, says what is `expected` there, and where the first wrong byte stands.
    """
    try:
        return Path(path).read_text(encoding=encoding)
    except FileNotFoundError:
        raise SpecbeamError(f"{path}: expected {expected} here, found none") from None
    except OSError as error:
        raise SpecbeamError(f"{path}: expected {expected} that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        byte, line = error.object[error.start], error.object.count(b"\n", 0, error.start) + 1
        raise SpecbeamError(
            f"{path}: expected {expected} in {encoding.upper()}, got the byte {byte:#04x} at offset {error.start}, line "
            f"{line}; save it as plain text"
        ) from error


def read_json(path: Path) -> Any:
    """Read JSON; a missing or malformed file, or a key that is there twice, raises SpecbeamError with file and place."""
    text = read_text(path, expected="a JSON file")
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, path))
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise SpecbeamError(f"{path}: not valid JSON ({error}); mend it there, or make the file again") from error


def _once(pairs: list[tuple[str, Any]], path: Path) -> dict[str, Any]:
    if len(values := dict(pairs)) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise SpecbeamError(f"{path}: the key {json.dumps(twice[:80])} is there twice; keep one of them")
    return values


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
