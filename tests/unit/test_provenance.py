"""What every record, and the file beside every result, says about where it comes from."""

import json
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

import specbeam
from specbeam import job_provenance, provenance
from specbeam.digest import code_digest
from specbeam.errors import SpecbeamError
from specbeam.settings import Settings
from specbeam.stages import STAGES


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


@job_provenance.recorded("evaluate", output="output")
def evaluate(*, settings, output, draft_seed, threads, drafts=()):
    """A verb that only writes its result."""
    if not threads:
        raise SpecbeamError("no threads")
    output.write_text("result")


def made_by(path, **options):
    evaluate(**{"settings": '{"seed": 7, "device": "cpu"}', "output": path, "draft_seed": 3, "threads": 2} | options)
    return json.loads(job_provenance.beside(path).read_text())


def test_a_verb_leaves_beside_its_result_what_made_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "1234")
    made = made_by(tmp_path / "seed-3.parquet", drafts=[Path("a"), Path("b")])
    assert job_provenance.beside(tmp_path / "seed-3.parquet").name == "seed-3.provenance.json"
    assert made["stage"] == "evaluate"
    assert made["code"] == code_digest(STAGES["evaluate"].module)
    assert made["options"] == {
        "output": str(tmp_path / "seed-3.parquet"), "draft_seed": 3, "drafts": ["a", "b"]
    }  # fmt: skip
    assert made["settings"]["measurement"]["users"] == Settings().measurement.users
    assert "learning_rate" not in str(made["settings"])
    assert made["seeds"] == {"run": 7, "draft": 3}
    assert (made["threads"], made["device"], made["slurm_job"]) == (2, "cpu", "1234")
    assert (
        made.items()
        >= {name: provenance.environment()[name] for name in ("commit", "dirty", "versions", "cpu")}.items()
    )
    assert made["seconds"] >= 0
    assert 0 < made["cpu_seconds"] < 1e6
    assert 10 < made["memory_mb"] < 1e6
    assert made["start"].endswith("+00:00")
    assert made["host"]


def test_a_jobs_log_begins_before_its_work_so_that_none_that_was_killed_is_empty(tmp_path, caplog):
    caplog.set_level("INFO")
    with pytest.raises(SpecbeamError):
        made_by(tmp_path / "out.txt", threads=0)
    assert caplog.messages == [f"evaluate on {platform.node()}, 0 thread(s)"]


def test_of_the_folder_at_hand_it_lies_beside_that_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    made = {}

    @job_provenance.recorded("download", output="output")
    def verb(output):
        made["at"] = output

    verb(output=Path())
    assert made["at"] == tmp_path / "here"
    assert (tmp_path / "here.provenance.json").is_file()


def test_the_result_itself_holds_nothing_of_it(tmp_path):
    made_by(tmp_path / "out.txt")
    assert (tmp_path / "out.txt").read_text() == "result"


def test_a_verb_that_fails_leaves_no_provenance_not_even_that_of_an_earlier_result(tmp_path):
    made_by(tmp_path / "out.txt")
    with pytest.raises(SpecbeamError, match="no threads"):
        made_by(tmp_path / "out.txt", threads=0)
    assert not job_provenance.beside(tmp_path / "out.txt").exists()


def test_of_several_processes_only_the_main_one_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(FileNotFoundError):
        made_by(tmp_path / "out.txt")
