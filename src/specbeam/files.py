"""Writing so that a kill at any moment leaves either the old result or the new one, never half of one."""

import errno
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from specbeam.errors import SpecbeamError, brief

UNWRITABLE = {
    errno.ENOSPC: "make room",
    errno.EDQUOT: "make room in your quota",
    errno.EROFS: "mount it writable, or choose another folder",
    errno.EACCES: "change its permissions, or choose another folder",
    errno.EPERM: "change its permissions, or choose another folder",
}
"""What a user can do about errors of the system in writing."""
YAML_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, TypeError, ArithmeticError, RecursionError)
"""What PyYAML raises: besides its own, whatever its makers of dates and numbers stumble over."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary name beside `path`; on success it is renamed to `path`, on failure it is removed.

    The caller writes a file or a folder there; parents are created. A rename within one folder is atomic, so readers
    see the old content or the new one. A folder cannot be renamed onto another: the old one is first renamed aside, and
    comes back if the new one cannot take its place. A kill between the two renames leaves it aside, as a `.part`.
    Raises SpecbeamError where the disk is full or cannot be written.
    """
    with writing(path), _replacing(Path(path)) as temporary:
        yield temporary


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise SpecbeamError, with what to do, where a full disk or one that cannot be written stops the block."""
    try:
        yield
    except Exception as error:  # safetensors has errors of its own, with the system's number in the text
        told = re.search(r"os error (\d+)", str(error))
        number = getattr(error, "errno", None) or (int(told[1]) if told else None)
        if isinstance(error, SpecbeamError) or number not in UNWRITABLE:
            raise
        raise SpecbeamError(
            f"{path}: expected to write here, got: {os.strerror(number)}; {UNWRITABLE[number]}, then run it again"
        ) from error


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
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
            f"{path}: expected {expected} in {encoding.upper()}, got the byte {byte:#04x} at offset {error.start}, "
            f"line {line}; save it as plain text"
        ) from error


def read_json(path: Path) -> Any:
    """Read JSON; what is missing, malformed or has a key twice raises SpecbeamError with file and place."""
    return parse_json(read_text(path, expected="a JSON file"), source=str(path))


def parse_json(text: str | bytes, *, source: str) -> Any:
    """Parse JSON; raises SpecbeamError, beginning with `source`, for malformed text and keys that are there twice."""
    try:
        return json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, source))
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        raise SpecbeamError(f"{source}: not valid JSON ({error}); mend it there, or make it again") from error


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of keys and values.

    Raises SpecbeamError, naming file and line, if it is missing, malformed, something else or has a key twice.
    """
    text = read_text(path, expected="a config file")
    try:
        values = yaml.load(text, _OnceLoader)
    except YAML_ERRORS as error:
        raise SpecbeamError(f"{path}: not valid YAML ({brief(str(error))})") from error
    if not isinstance(values, dict):
        raise SpecbeamError(f"{path}: expected a mapping of settings, got {type(values).__name__}")
    return values


class _OnceLoader(yaml.SafeLoader):
    """YAML of plain values, in which no key is there twice: PyYAML takes the last, and says nothing."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, str) and (key.tag, key.value) in seen:
                raise yaml.composer.ComposerError(None, None, f"{key.value[:80]!r} is there twice", key.start_mark)
            seen.add((key.tag, key.value if isinstance(key.value, str) else None))
        return node


def _written_out(loader: _OnceLoader, node: yaml.ScalarNode) -> int:
    number = loader.construct_yaml_int(node)
    str(number)  # Python refuses thousands of digits, which hexadecimal numbers may have: better here, by file
    return number


_OnceLoader.add_constructor("tag:yaml.org,2002:int", _written_out)


def _once(pairs: list[tuple[str, Any]], source: str) -> dict[str, Any]:
    if len(values := dict(pairs)) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise SpecbeamError(f"{source}: the key {json.dumps(twice[:80])} is there twice; keep one of them")
    return values


def remove(path: Path) -> None:
    """Remove a file, a link or a whole folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
