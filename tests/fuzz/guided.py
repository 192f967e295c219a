"""Fuzzing that coverage leads (atheris): bytes that reach new code of specbeam are kept, and damaged further.

    pip install -e '.[fuzz,test]'
    PYTHONPATH=tests python tests/fuzz/guided.py csv -runs=200000

tries 200,000 inputs on one reader of READERS, with the checks of the tests beside it; the options are libFuzzer's. It
ends at the first input that fails, which it leaves in a file `crash-...` here; that name in place of the options tries
it again. The name of a folder among them keeps there what reached new code; else that is left in a temporary one.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["specbeam"]):
    import generated_records
    import test_config
    import test_interaction_files
    import test_raw_files
    import test_tables
    from bad_input import read
    from specbeam import provenance_file, settings

FOLDER = Path(tempfile.mkdtemp(prefix="specbeam-fuzz-"))
PROVENANCE = json.dumps(generated_records.PROVENANCE).encode()


def checked(name: str, reader: Callable, check: Callable = lambda found: None) -> Callable[[bytes], None]:
    """Write bytes to a file of `name`; what `reader` makes of it goes to `check`."""

    def function(content: bytes) -> None:
        (FOLDER / name).write_bytes(content)
        check(read(name, lambda: reader(FOLDER / name), names=name))

    return function


def interactions(format: str) -> Callable[[bytes], None]:
    """A check of the interactions in a file of `format`."""
    return lambda content: test_interaction_files.check_interactions(FOLDER / f"in.{format}", content, format)


READERS = {
    "sequences": (lambda content: test_raw_files.check_sequences(FOLDER, content), test_raw_files.LINES),
    "identifiers": (lambda content: test_raw_files.check_catalogue(FOLDER, content), test_raw_files.CATALOGUE),
    "csv": (interactions("csv"), test_interaction_files.FILES["csv"]),
    "jsonl": (interactions("jsonl"), test_interaction_files.FILES["jsonl"]),
    "items-csv": (lambda content: test_tables.check_csv(FOLDER / "items.csv", content), test_tables.CSV),
    "items-jsonl": (lambda content: test_tables.check_json_lines(FOLDER / "items.jsonl", content), test_tables.JSONL),
    "config": (checked("mine.yaml", settings.load, test_config.check), test_config.CONFIG),
    "provenance": (checked("a.provenance.json", provenance_file.load), PROVENANCE),
}
"""Name -> what is done with bytes, and bytes to begin with."""


def main() -> None:
    """Fuzz the reader that the command line names."""
    program, name, *options = sys.argv
    function, start = READERS[name]
    for split in ("train", "valid", "test"):
        (FOLDER / f"sequential_{split}.txt").write_text("1 1\n")
    corpus = FOLDER / "corpus"
    corpus.mkdir()
    (corpus / "start").write_bytes(start)
    named = any(not option.startswith("-") for option in options)
    atheris.Setup([program, "-len_control=0", *options, *([] if named else [str(corpus)])], function)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
