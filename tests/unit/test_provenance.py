"""What every record says about where it was measured."""

import shutil
import subprocess
from pathlib import Path

import pytest

import specbeam
from specbeam import provenance


@pytest.fixture(autouse=True)
def _forget():
    provenance._commit.cache_clear()
    yield
    provenance._commit.cache_clear()


def test_the_environment_names_commit_versions_and_machine():
    found = provenance.environment()
    assert set(found) == {"commit", "dirty", "versions", "cpu", "device"}
    assert found["versions"]["specbeam"] == specbeam.__version__
    assert found["versions"]["torch"].startswith("2.13.0")
    assert found["cpu"]


def test_outside_a_checkout_the_commit_is_unknown(monkeypatch, tmp_path):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    found = provenance.environment()
    assert (found["commit"], found["dirty"]) == ("unknown", False)


def test_without_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert provenance.environment()["commit"] == "unknown"


@pytest.mark.skipif(shutil.which("git") is None, reason="makes a repository: needs git")
def test_a_changed_file_marks_the_commit_as_dirty(monkeypatch, tmp_path):
    def git(*arguments):
        identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    file = Path(tmp_path / "provenance.py")
    file.write_text("1")
    git("init")
    git("add", ".")
    git("commit", "-m", "first")
    monkeypatch.setattr(provenance, "__file__", str(file))

    clean = provenance.environment()
    assert len(clean["commit"]) == 40
    assert not clean["dirty"]
    provenance._commit.cache_clear()
    file.write_text("2")
    assert provenance.environment()["dirty"]


def test_a_package_that_is_missing_is_said_to_be(monkeypatch):
    provenance._versions.cache_clear()
    monkeypatch.setattr(provenance, "PACKAGES", ("no-such-package",))
    assert provenance._versions() == {"no-such-package": "not installed"}
    provenance._versions.cache_clear()
