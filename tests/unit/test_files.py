"""A kill or an error leaves the old result or the new one, never half of one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from specbeam.errors import SpecbeamError
from specbeam.files import read_json, replacing, write_json


def test_a_file_appears_only_when_it_is_complete(tmp_path):
    path = tmp_path / "deep" / "result.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "new"
    assert [entry.name for entry in path.parent.iterdir()] == ["result.txt"]


def _interrupted(path: Path, write: Callable[[Path], object]) -> None:
    """Start to replace `path`, and be interrupted after `write`."""
    with replacing(path) as temporary:
        write(temporary)
        raise KeyboardInterrupt


def test_an_interruption_keeps_the_old_file_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path, lambda temporary: temporary.write_text("half"))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_replaced_whole(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    with replacing(path) as temporary:
        temporary.mkdir()
        (temporary / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"]


def test_an_interruption_keeps_the_old_folder(tmp_path):
    path = tmp_path / "model"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        _interrupted(path, lambda temporary: temporary.mkdir())
    assert (path / "old").exists()
    assert list(tmp_path.iterdir()) == [path]


def _failing_rename_onto(monkeypatch: pytest.MonkeyPatch, path: Path, *, times: int) -> None:
    """Let the next `times` renames onto `path` fail, as on a full or broken disk."""
    rename, left = Path.replace, [times]

    def fail(self: Path, target: Path) -> Path:
        if Path(target) == path and left[0]:
            left[0] -= 1
            raise OSError("no space")
        return rename(self, target)

    monkeypatch.setattr(Path, "replace", fail)


def _folder(path: Path, content: str) -> None:
    path.mkdir()
    (path / content).touch()


def test_a_folder_that_cannot_take_its_place_leaves_the_old_one_there(tmp_path, monkeypatch):
    path = tmp_path / "model"
    _folder(path, "old")
    _failing_rename_onto(monkeypatch, path, times=1)
    with pytest.raises(OSError, match="no space"), replacing(path) as temporary:
        _folder(temporary, "new")
    assert (path / "old").exists()
    assert list(tmp_path.iterdir()) == [path]


def test_an_old_folder_that_cannot_come_back_either_is_still_there_under_another_name(tmp_path, monkeypatch):
    path = tmp_path / "model"
    _folder(path, "old")
    _failing_rename_onto(monkeypatch, path, times=2)
    with pytest.raises(OSError, match="no space"), replacing(path) as temporary:
        _folder(temporary, "new")
    (aside,) = tmp_path.iterdir()
    assert (aside / "old").exists()
    assert aside.match(".model.*.old.part")


def test_json_comes_back_as_it_went(tmp_path):
    value = {"é": [1, 2.5, None], "b": {"c": "d"}}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_missing_and_malformed_json_is_named(tmp_path):
    with pytest.raises(SpecbeamError, match=r"a\.json: expected a JSON file here, found none"):
        read_json(tmp_path / "a.json")
    (tmp_path / "b.json").write_text('{"a": ')
    with pytest.raises(SpecbeamError, match=r"b\.json: not valid JSON"):
        read_json(tmp_path / "b.json")
