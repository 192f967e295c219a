"""The stage that turns embeddings into identifiers: quantises them, handles collisions, reports."""

import logging
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from specbeam import sealed
from specbeam.catalogue import Catalogue
from specbeam.data.sequences import read_raw
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.identifiers import TENSOR, report
from specbeam.identifiers.collisions import constrained, extra_token
from specbeam.identifiers.quantise import Quantiser, checked, rq_kmeans
from specbeam.identifiers.rq_vae import rq_vae
from specbeam.settings import IdentifierSettings, RqVaeSettings

log = logging.getLogger(__name__)


def identify_items(*, raw: Path, embeddings: Path, output: Path, settings: IdentifierSettings) -> None:
    """Write identifiers of all embedded items to `output` (.json), with a report beside it (.csv and .txt).

    `raw` holds the users, whose training items say which items are popular. Raises SpecbeamError where codewords are
    too few for the items, and for damaged embeddings.
    """
    vectors = load_embeddings(embeddings)
    popularity = _popularity(read_raw(raw)["train"], items=len(vectors), source=embeddings)
    _warn_of_nothing_to_tell_apart(vectors, settings)
    codes, quantiser = identify(vectors, popularity, settings)
    table = report.levels(quantiser, vectors, codes, popularity)
    heading = f"{len(vectors):,} items, {settings.method}, collisions: {settings.collisions}, seed {settings.seed}"
    found = {"before": report.collisions(quantiser.nearest()), "after": report.collisions(codes)}
    Catalogue.of(dict(enumerate(tokens(codes)))).save(output)
    with replacing(output.with_suffix(".csv")) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
    with replacing(output.with_suffix(".txt")) as temporary:
        temporary.write_text(report.text(table, heading=heading, **found), encoding="utf-8")
    log.info("%d items have %d identifiers in %s", len(vectors), table["prefixes"].iloc[-1], output)


def _warn_of_nothing_to_tell_apart(vectors: np.ndarray, settings: IdentifierSettings) -> None:
    """Say where identifiers will mean little, though they can be made."""
    if empty := int((~vectors.any(axis=1)).sum()):
        log.warning(
            "%d of %d items have a vector of zeros, as items without text or buyers have: nothing tells them apart",
            empty,
            len(vectors),
        )
    codebook = settings.codebook
    if (largest := max(codebook) if isinstance(codebook, list) else codebook) > len(vectors):
        log.warning("identifiers.codebook: %d codewords for %d items: most will stand for none", largest, len(vectors))


def load_embeddings(path: Path) -> np.ndarray:
    """float32 [items, width], as `specbeam embed-items` wrote them; SpecbeamError if the file holds anything else."""
    tensors, _ = sealed.read(path)
    if list(tensors) != [TENSOR]:
        found = ", ".join(tensors)[:300] or "nothing"
        raise SpecbeamError(f"{path}: expected {TENSOR} alone, got {found}; embed the items again")
    return checked(tensors[TENSOR].numpy())


def _popularity(sequences: Iterable[Sequence[int]], *, items: int, source: Path) -> np.ndarray:
    """int64 [items]: how often each is in `sequences`."""
    bought = np.concatenate([np.asarray(sequence, dtype=np.int64) for sequence in sequences])
    if len(bought) and bought.max() >= items:
        raise SpecbeamError(
            f"{source}: expected a vector for every item, found {items}, and item {bought.max()} in the training "
            "split; embed the items again"
        )
    return np.bincount(bought, minlength=items)


def identify(vectors: np.ndarray, popularity: np.ndarray, settings: IdentifierSettings) -> tuple[np.ndarray, Quantiser]:
    """Codes [items, levels] of `vectors` (float32 [items, width]), an extra level included, and what quantised them."""
    codebook, seed = settings.codebook, settings.seed
    sizes = codebook if isinstance(codebook, list) else [codebook] * settings.length
    if settings.method == "rq-vae":
        quantiser = rq_vae(vectors, sizes, settings=settings.vae or RqVaeSettings(), seed=seed)
    else:
        quantiser = rq_kmeans(vectors, sizes, seed=seed)
    codes = constrained(quantiser) if settings.collisions == "constrained" else quantiser.nearest()
    if settings.collisions == "extra-token":
        codes = extra_token(codes, popularity)
    if settings.method == "shuffled":
        codes = np.random.default_rng(seed).permutation(codes)
    return codes, quantiser


def tokens(codes: np.ndarray) -> list[tuple[str, ...]]:
    """The tokens of each row of codes: `<a_12>`, `<b_3>`, ..., a letter a level."""
    return [
        tuple(f"<{letter}_{code}>" for letter, code in zip(string.ascii_lowercase, row, strict=False))
        for row in codes.tolist()
    ]
