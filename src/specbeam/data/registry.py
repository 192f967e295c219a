"""The data sets that can be downloaded: where each file is, and what it must contain."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from specbeam.data import IDENTIFIERS, file_of
from specbeam.errors import SpecbeamError

COMMIT = "93bc8864b55a0318a535a85d710c2b729c11142d"
"""Commit of the authors' repository that all sources are pinned to."""

REPOSITORY = "https://github.com/Linxyhaha/AtSpeed"
_FILES = f"https://raw.githubusercontent.com/Linxyhaha/AtSpeed/{COMMIT}/data"
_LICENCE = (
    "none stated: the authors' repository has no licence file, and the interactions are derived from the Amazon "
    "product data (McAuley et al.); download them for your own research, and do not redistribute them with this project"
)


@dataclass(frozen=True)
class SourceFile:
    """One file of a data set."""

    name: str
    """Its name here, in results/downloads/<dataset>/."""
    path: str
    """Its path below a mirror: <dataset>/<file name of the authors>."""
    sha256: str
    size: int
    """Bytes."""

    @property
    def url(self) -> str:
        """The pinned address."""
        return f"{_FILES}/{self.path}"


@dataclass(frozen=True)
class Source:
    """A downloadable data set."""

    name: str
    title: str
    files: tuple[SourceFile, ...]
    version: str = COMMIT
    homepage: str = REPOSITORY
    licence: str = _LICENCE


def _source(name: str, title: str, **checksums: tuple[str, int]) -> Source:
    remote = {"identifiers": f"{name}.LCRec-1e-3lr.json"}
    local = {"identifiers": IDENTIFIERS}
    files = (
        SourceFile(
            name=local.get(part) or file_of(part),
            path=f"{name}/{remote.get(part) or file_of(part)}",
            sha256=sha256,
            size=size,
        )
        for part, (sha256, size) in checksums.items()
    )
    return Source(name=name, title=title, files=tuple(files))


# The pickled .npy files beside these hold the same facts; unpickling a download could run anything, so they stay there.
SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        _source(
            "beauty",
            "Amazon Beauty with LC-Rec identifiers, as published with AtSpeed",
            train=("10355a55959b10f9c3e947936a0284111a9c568c1f497c94f5b7a0a8785e2d87", 727_048),
            valid=("c6e2ea87081a82b5df8287e53309ececd1411747f2332798fedf167e2da301bb", 152_703),
            test=("783a544aaa18918436f8e39a82ec2373d002fb882b05a7db99ef337aecd1d67f", 142_276),
            identifiers=("52903a5c5aa7522fee345ae916a1d3d079d081e132345578d3d67d9ddbe82abf", 630_894),
        ),
        _source(
            "games",
            "Amazon Video Games with LC-Rec identifiers, as published with AtSpeed",
            train=("2cf292f2098254781d312c98ba824af7c9e07748d05fe09ab6c1b443ace71c26", 1_765_404),
            valid=("43ffe2fea62b09b3ce00bd9821eecfd94fb924abd289ab017fabdd7282d25c9d", 398_568),
            test=("f34272dc8a352f4f242c014835b3d65e6c0049bb1d1e35c8bc61cfbedc3dcbea", 383_550),
            identifiers=("494d07cd0d25c51b8d14e373abb26e834cbc08f0181804056f116a9fb71263c3", 911_411),
        ),
    )
}


HOSTS = frozenset(urlsplit(file.url).hostname for source in SOURCES.values() for file in source.files)
"""Where downloads may come from, besides a mirror that the user names."""


def source_of(dataset: str) -> Source:
    """The source of a data set; raises SpecbeamError for an unknown name."""
    if dataset not in SOURCES:
        raise SpecbeamError(f"data set: expected one of {', '.join(SOURCES)} (to download), got {dataset!r}")
    return SOURCES[dataset]
