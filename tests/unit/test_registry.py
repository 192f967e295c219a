import hashlib
import re

import pytest

from specbeam.data.registry import COMMIT, SOURCES, source_of
from specbeam.errors import SpecbeamError

FILES = [(name, file) for name, source in SOURCES.items() for file in source.files]


@pytest.mark.parametrize("source", SOURCES.values(), ids=list(SOURCES))
def test_a_source_has_the_four_raw_files_a_version_and_a_word_on_its_licence(source):
    names = {file.name for file in source.files}
    assert names == {*(f"sequential_{split}.txt" for split in ("train", "valid", "test")), "identifiers.json"}
    assert source.version == COMMIT
    assert "none stated" in source.licence
    assert "Amazon" in source.licence


@pytest.mark.parametrize(("dataset", "file"), FILES)
def test_a_file_is_pinned_to_a_commit_and_a_checksum(dataset, file):
    assert file.url == f"https://raw.githubusercontent.com/Linxyhaha/AtSpeed/{COMMIT}/data/{file.path}"
    assert file.path.startswith(f"{dataset}/")
    assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
    assert not file.path.endswith(".npy"), "pickles from the net must not be loaded"


@pytest.mark.mirror
@pytest.mark.parametrize(("dataset", "file"), FILES)
def test_the_checksums_are_those_of_the_mirror(mirror, dataset, file):
    content = (mirror / file.path).read_bytes()
    assert (len(content), hashlib.sha256(content).hexdigest()) == (file.size, file.sha256)


def test_an_unknown_data_set_is_refused_with_the_known_ones():
    with pytest.raises(SpecbeamError, match=r"one of beauty, games .*got 'toys'"):
        source_of("toys")
