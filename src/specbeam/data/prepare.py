"""From raw files to what every later stage reads: catalogue, users, tokenizer and statistics."""

import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa

from specbeam import parquet, pretrained
from specbeam.catalogue import SPECIAL_TOKENS, TOKEN, Catalogue
from specbeam.data import IDENTIFIERS, ITEMS, SPLITS, file_of
from specbeam.data.item_keys import read_items
from specbeam.data.prepared import CATALOGUE, STATISTICS, TOKENIZER, USERS
from specbeam.data.sequences import read_raw, save_users
from specbeam.data.statistics import save_statistics, statistics
from specbeam.errors import SpecbeamError
from specbeam.files import replacing
from specbeam.settings import ModelSettings

log = logging.getLogger(__name__)


def prepare(*, raw: Path, prepared: Path, model: ModelSettings, identifiers: Path | None = None) -> None:
    """Read the raw files in `raw`, check them, and write the folder `prepared`, which is replaced as a whole.

    `identifiers` is a file to take instead of that in `raw`. Keys of items (items.parquet), if there are, are copied:
    those in `raw` may be read again while models know the items by the numbers of now.
    `model` is the target's: a model from scratch gets a vocabulary of item tokens alone, a pretrained one keeps its
    tokenizer with the item tokens added.
    Raises SpecbeamError naming file and place for bad raw files, and for interactions with items that have no
    identifier: such an item could be neither read nor recommended, and dropping it silently would change the metrics.
    """
    raw, prepared = Path(raw), Path(prepared)
    if prepared.is_dir() and any(prepared.iterdir()) and not (prepared / CATALOGUE).is_file():
        raise SpecbeamError(
            f"{prepared}: expected a new folder, or one of prepared data, which is replaced as a whole; this one holds "
            "other files: name another"
        )
    identifiers = identifiers or raw / IDENTIFIERS
    catalogue = Catalogue.load(identifiers)
    users = read_raw(raw)
    _check_items(users, catalogue, source=identifiers)
    keys = _keys(raw / ITEMS, catalogue)
    tokenizer = build_tokenizer(catalogue, model=model)
    with replacing(prepared) as temporary:
        catalogue.save(temporary / CATALOGUE)
        save_users(users, temporary / USERS)
        if keys is not None:
            parquet.write(pa.Table.from_pandas(keys, preserve_index=False), temporary / ITEMS)
        tokenizer.save_pretrained(temporary / TOKENIZER)
        save_statistics(statistics(users, catalogue), temporary / STATISTICS)
    log.info("prepared %d users and %d items in %s", len(users), len(catalogue.identifiers), prepared)


def build_tokenizer(catalogue: Catalogue, *, model: ModelSettings) -> Any:
    """A transformers tokenizer to which every item token of `catalogue` is one token, with or without spaces between.

    Raises SpecbeamError if `model.base` names a tokenizer that cannot be loaded.
    """
    if model.base is None:
        return _item_tokenizer(catalogue)
    from tokenizers import AddedToken

    tokenizer = pretrained.tokenizer(model.base, revision=model.revision)
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in catalogue.tokens])
    if tokenizer.pad_token_id is None:
        # Padding is masked everywhere, so a token that exists will do; a new one would enlarge the embedding.
        existing = tokenizer.unk_token or tokenizer.eos_token
        tokenizer.add_special_tokens({"pad_token": existing or SPECIAL_TOKENS[0]})
    return tokenizer


def _item_tokenizer(catalogue: Catalogue) -> Any:
    """A vocabulary of the special tokens and, in the catalogue's order, the item tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate((*SPECIAL_TOKENS, *catalogue.tokens))}
    pad, begin, end, unknown = SPECIAL_TOKENS
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Split(Regex(TOKEN.pattern), behavior="isolated")]
    )
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=begin, eos_token=end, unk_token=unknown
    )


def _keys(path: Path, catalogue: Catalogue) -> pd.DataFrame | None:
    table = read_items(path)
    if table is not None and len(table) <= max(catalogue.identifiers):
        raise SpecbeamError(
            f"{path}: expected a row for every item, found {len(table)}, and an identifier for item "
            f"{max(catalogue.identifiers)}; add the rows, or take the file away, if keys are not wanted"
        )
    return table


def _check_items(users: pd.DataFrame, catalogue: Catalogue, *, source: Path) -> None:
    for split in SPLITS:
        for user, items in zip(users["user"], users[split], strict=True):
            for item in items:
                if item not in catalogue.identifiers:
                    raise SpecbeamError(
                        f"{source}: expected an identifier for every item, found none for item {item} "
                        f"(written {item + 1} in {file_of(split)}, user {user + 1}); add it, or remove its interactions"
                    )
