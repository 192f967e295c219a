"""Settings of identifiers that are made here: what items are embedded by, and how embeddings become tokens."""

import os
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from specbeam.settings.base import Count, Fraction, Positive, Section, Seed

LONGEST = 8
"""Tokens in an identifier, at most."""

CodebookSize = Annotated[int, Field(ge=2, le=65_536)]

OF_SOURCE = {
    "text": ("model", "revision", "batch_size"),
    "table": ("file", "item", "vector"),
    "co-occurrence": ("size",),
}
"""What `from` is -> the settings that it uses."""


class EmbeddingSettings(Section):
    """What items are embedded by; similar vectors make similar identifiers."""

    model_config = ConfigDict(serialize_by_alias=True)

    source: Literal["text", "table", "co-occurrence"] = Field(default="co-occurrence", alias="from")
    """`text`: items' texts, through a sentence-transformers model; `table`: vectors that you bring; `co-occurrence`:
    what was bought beside them, in the training split, when there is no text."""
    model: str | None = None
    """Of `text`: a folder, or a repository of the hub; safetensors weights, no code of its own."""
    revision: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")] | None = None
    """Of `text`: the commit of a hub model, which pins it."""
    batch_size: Count = 64
    """Of `text`: texts a forward pass."""
    file: str | None = None
    """Of `table`: a parquet or csv file, one row an item."""
    item: str = "item_id"
    """Of `table`: its column of item ids, as they stand in your data (in ready files: as in identifiers.json)."""
    vector: str | Annotated[list[str], Field(min_length=1)] = "embedding"
    """Of `table`: its column of lists of numbers, or its columns of one number each."""
    size: Annotated[int, Field(ge=2, le=4096)] = 64
    """Of `co-occurrence`: numbers in a vector, fewer than there are items."""

    @model_validator(mode="after")
    def _holds_what_its_source_uses(self) -> "EmbeddingSettings":
        used = OF_SOURCE[self.source]
        if idle := [name for name in type(self).model_fields if name in self.model_fields_set - {"source", *used}]:
            raise ValueError(f"from: {self.source} uses {', '.join(used)}: remove {', '.join(idle)}")
        if self.source == "table" and not self.file:
            raise ValueError("from: table needs file, a table of vectors")
        if self.source == "text":
            if not self.model:
                raise ValueError("from: text needs model, a folder or a repository of the hub")
            if not os.path.exists(self.model) and not self.revision:  # noqa: PTH110 - Path's fails on long names
                raise ValueError(
                    f"model {self.model!r:.200} is no folder here; for a hub model, set revision to a commit"
                )
        return self

    @model_serializer(mode="wrap")
    def _without_what_its_source_does_not_use(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave it out: what is dumped can be read back."""
        return {name: value for name, value in dump(self).items() if name in ("from", *OF_SOURCE[self.source])}


class RqVaeSettings(Section):
    """The autoencoder around the quantiser, and its training."""

    hidden: Annotated[list[Count], Field(min_length=1)] = [256, 128]
    """Widths between the embedding and the latent."""
    latent: Count = 32
    """Numbers in the latent that is quantised."""
    epochs: Count = 100
    """Passes over the items."""
    batch_size: Count = 1024
    """Items an optimiser step."""
    learning_rate: Positive = 1e-3
    """Of AdamW."""
    commitment: Annotated[float, Field(ge=0)] = 0.25
    """Weight of the loss that keeps latents near their codewords."""
    decay: Fraction = 0.9
    """How much of a codeword's running mean stays at each step."""


class IdentifierSettings(Section):
    """How items get their identifiers, by residual quantisation of embeddings (specbeam.identifiers)."""

    embeddings: EmbeddingSettings = EmbeddingSettings()
    method: Literal["rq-kmeans", "rq-vae", "shuffled"] = "rq-kmeans"
    """`rq-kmeans`: k-means of what the levels before leave; `rq-vae`: codebooks of an autoencoder's latents;
    `shuffled`: identifiers of rq-kmeans dealt to items at random, the control: the same trie, and no meaning."""
    vae: RqVaeSettings | None = None
    """Of `rq-vae`."""
    length: Annotated[int, Field(ge=1, le=LONGEST)] = 4
    """Levels of quantisation: tokens in an identifier, without the extra one."""
    codebook: CodebookSize | Annotated[list[CodebookSize], Field(min_length=1, max_length=LONGEST)] = 256
    """Codewords a level: one number for all, or a list with one for each."""
    collisions: Literal["constrained", "extra-token", "keep"] = "constrained"
    """What happens to items with equal codes. `constrained`: the last level (and, where that is full, the one before)
    is assigned so that none are equal; `extra-token`: one more token tells them apart; `keep`: they share one
    identifier."""
    seed: Seed = 1
    """Of all that is drawn."""

    @model_validator(mode="after")
    def _has_a_codebook_a_level(self) -> "IdentifierSettings":
        if isinstance(self.codebook, list) and len(self.codebook) != self.length:
            raise ValueError(f"codebook: expected one size, or {self.length} (length), got {len(self.codebook)}")
        if self.vae and self.method != "rq-vae":
            raise ValueError(f"vae is of method: rq-vae: remove it from {self.method}")
        return self
