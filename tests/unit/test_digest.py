"""The code digest changes with code that a stage runs, and with nothing else."""

from pathlib import Path

import pytest

from specbeam import digest
from specbeam.errors import SpecbeamError

FILES = {
    "__init__.py": '__version__ = "1"\n',
    "stage.py": "from specbeam.helpers import first\ndef run():\n    from specbeam import late\n    return late\n",
    "helpers/__init__.py": "",
    "helpers/first.py": "import specbeam.deep\n\nX = 1\n",
    "helpers/second.py": "X = 2\n",
    "helpers/page.html": "<p>",
    "deep.py": "from . import relative\n",
    "relative.py": "import json\n",
    "late.py": "Y = 1\n",
    "settings.py": "from specbeam import unused\n",
    "unused.py": "Z = 1\n",
}


@pytest.fixture
def package(tmp_path) -> Path:
    """A package named specbeam with the FILES above."""
    for name, text in FILES.items():
        path = tmp_path / "specbeam" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "specbeam"


def _digest(package: Path, module: str = "specbeam.stage") -> str:
    digest._digest_below.cache_clear()
    return digest._digest_below(module, package)


def _write(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    return _digest(package)


def test_imports_are_followed_wherever_they_stand(package):
    assert digest.imported_modules("specbeam.stage", package) == {
        "specbeam",
        "specbeam.stage",
        "specbeam.helpers",
        "specbeam.helpers.first",
        "specbeam.deep",
        "specbeam.relative",
        "specbeam.late",
    }


@pytest.mark.parametrize(
    "name", ["stage.py", "helpers/__init__.py", "helpers/first.py", "deep.py", "relative.py", "late.py"]
)
def test_a_change_in_any_imported_module_counts(package, name):
    assert _digest(package) != _write(package, name, FILES[name] + "\nadded = 1\n")


def test_a_change_in_a_template_of_an_imported_package_counts(package):
    assert _digest(package) != _write(package, "helpers/page.html", "<b>")
    assert _digest(package) == _write(package, "helpers/.page.html.swp", "an editor's")


@pytest.mark.parametrize("name", ["helpers/second.py", "unused.py"])
def test_a_module_that_is_not_imported_does_not_count(package, name):
    assert _digest(package) == _write(package, name, "changed = 1\n")


def test_the_version_and_the_settings_module_do_not_count(package):
    (package / "stage.py").write_text("from specbeam.settings import Settings\n")
    before = _digest(package)
    assert before == _write(package, "settings.py", "class Settings: new = 1\n")
    assert before == _write(package, "__init__.py", '__version__ = "2"\n')


@pytest.mark.parametrize(
    "text",
    [
        "# why\nY    =   1\n",
        '"""A module docstring."""\n\nY = 1\n',
        'Y = 1\n"""What Y is."""\n',
    ],
)
def test_comments_layout_and_docstrings_do_not_count(package, text):
    assert _digest(package) == _write(package, "late.py", text)


def test_docstrings_of_functions_and_classes_do_not_count(package):
    before = _write(package, "late.py", "def f():\n    pass\n\n\nclass A:\n    x = 1\n")
    described = 'def f():\n    """Text."""\n\n\nclass A:\n    """Text."""\n\n    x = 1\n    """Text."""\n'
    assert before == _write(package, "late.py", described)


def test_a_string_that_is_used_counts(package):
    assert _write(package, "late.py", 'Y = "a"\n') != _write(package, "late.py", 'Y = "b"\n')


def test_a_new_import_brings_its_module_in(package):
    _write(package, "late.py", "from specbeam.helpers import second\n")
    assert "specbeam.helpers.second" in digest.imported_modules("specbeam.stage", package)


def test_imports_in_a_circle_end(package):
    _write(package, "relative.py", "from specbeam import stage\n")
    assert _digest(package)


def test_a_missing_module_is_named(package):
    with pytest.raises(SpecbeamError, match=r"no module specbeam\.nothing"):
        _digest(package, "specbeam.nothing")


def test_the_stages_of_this_package_have_digests():
    assert len(digest.code_digest("specbeam.data.prepare")) == 16
    assert digest.code_digest("specbeam.data.prepare") != digest.code_digest("specbeam.data.synthetic")
