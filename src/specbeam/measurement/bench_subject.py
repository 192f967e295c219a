"""What `specbeam bench` times: models, a catalogue and prompts, from a finished run or of random weights."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from specbeam import models
from specbeam.data.popularity import popularity
from specbeam.decoding.drafters import ModelDrafter, PriorDrafter
from specbeam.decoding.inputs import SearchInputs, left_padded
from specbeam.decoding.reader import Scorer
from specbeam.decoding.trace import Batch
from specbeam.errors import SpecbeamError
from specbeam.finished_run import DEFAULT_OBJECTIVE, FinishedRun
from specbeam.measurement.lookups import synthetic_identifiers
from specbeam.trie import Trie

TEXT_TOKENS = 32_000
"""Tokens of a random model besides those of items."""
CALIBRATION = 32
"""Prompts that a plan is chosen on; they are not timed."""


@dataclass(frozen=True)
class Subject:
    """A target, its drafters and prompts, on one device."""

    name: str
    target: Scorer
    drafters: dict[str, ModelDrafter]
    """By the objective or name of the draft's model."""
    prior: PriorDrafter
    identifiers: np.ndarray
    constraint: str
    prompts: list[list[int]]
    """Token ids to time, in random order."""
    calibration: list[list[int]]
    """Others, to choose plans on."""
    temperature: float
    seed: int
    settings: dict[str, Any] = field(default_factory=dict)
    """What made it, for the records."""
    pad: int = 0
    random_weights: bool = False

    @property
    def device(self) -> torch.device:
        """Where all of it is."""
        return self.target.model.device

    @property
    def dtype(self) -> str:
        """Precision of the target's weights."""
        return str(self.target.model.dtype).removeprefix("torch.")

    def batches(self, size: int, users: int) -> list[Batch]:
        """About `users` prompts in full batches of `size`, of similar lengths each; one batch at least."""
        return self._batched(self.prompts[: max(1, users // size) * size], size)

    def middle_batch(self, size: int, users: int) -> Batch:
        """Of `batches`, the one of middle length."""
        batches = self.batches(size, users)
        return batches[len(batches) // 2]

    def calibration_batches(self, size: int) -> list[Batch]:
        """The other prompts in full batches of `size`."""
        return self._batched(self.calibration[: len(self.calibration) // size * size], size)

    def _batched(self, prompts: list[list[int]], size: int) -> list[Batch]:
        ordered = sorted(prompts, key=len)
        padded = (left_padded(ordered[at : at + size], self.pad) for at in range(0, len(ordered), size))
        return [(prompt.to(self.device), mask.to(self.device)) for prompt, mask in padded]


@dataclass(frozen=True)
class Loading:
    """How models are made ready, and how many prompts are wanted."""

    users: int
    """Prompts to time."""
    calibration: int
    """Prompts to choose plans on, at least; 0: no plan is chosen."""
    threads: int
    device: str | None = None
    dtype: str | None = None
    compile: bool = False
    graphs: bool = False
    seed: int | None = None

    @property
    def faster(self) -> dict[str, bool]:
        """Options of Scorer.of."""
        return {"compile": self.compile, "graphs": self.graphs}

    @property
    def prompts(self) -> int:
        """Prompts to draw for both."""
        return self.users + (max(self.calibration, CALIBRATION) if self.calibration else 0)


def of_run(folder: Path, *, objectives: Sequence[str], drafts: Mapping[str, Path], loading: Loading) -> Subject:
    """The target, drafts and test users of a data set's folder in a finished run, such as results/default/synthetic.

    `objectives` name the run's own drafts (empty: atspeed_s if it is there, else the first one), `drafts` others by
    folder. Raises SpecbeamError for a folder that holds no finished run, for an objective without a draft, and if there
    are fewer test users than wanted.
    """
    folder, run = Path(folder), FinishedRun.of(folder)
    asked = {"device": loading.device, "seed": loading.seed}
    values = run.settings.model_copy(update={name: value for name, value in asked.items() if value is not None})
    inputs = SearchInputs.of(run.prepared, values, constraint=values.decoding.constraint, threads=loading.threads)

    def scorer(place: Path, dtype: str) -> Scorer:
        model = inputs.model(place, loading.dtype or dtype)
        return Scorer.of(model, inputs.trie, normalise=values.decoding.normalise, **loading.faster)

    places = _drafts(run, objectives)
    if twice := places.keys() & drafts.keys():
        raise SpecbeamError(f"draft {min(twice)!r}: expected a name that is no objective in use; choose another")
    places |= drafts
    histories = [history for _, history, _ in inputs.sampled_users("test", loading.prompts, values.seed)]
    if len(histories) < (needed := loading.users + loading.calibration):
        raise SpecbeamError(
            f"{folder}: expected {needed} test users ({loading.users} to time, {loading.calibration} to choose plans "
            f"on), it has {len(histories)}: lower --users and --batch-sizes"
        )
    random.Random(values.seed).shuffle(histories)
    prompts = [inputs.builder(history) for history in histories]
    bought = popularity(inputs.data.users, inputs.data.catalogue)
    return Subject(
        name=f"{folder.parent.name}/{folder.name}",
        target=scorer(run.target, values.target.model.dtype),
        drafters={name: ModelDrafter.of(scorer(at, values.draft.model.dtype), bought) for name, at in places.items()},
        prior=PriorDrafter.of(inputs.trie, bought),
        identifiers=inputs.builder.identifiers,
        constraint=values.decoding.constraint,
        prompts=prompts[: loading.users],
        calibration=prompts[loading.users :],
        temperature=values.decoding.temperature,
        seed=values.seed,
        settings=values.model_dump(mode="json"),
        pad=inputs.builder.pad_id,
    )


def of_shapes(
    target: str, draft: str | None, *, items: int, identifier_length: int, branching: int, prompt_length: int,
    loading: Loading,
) -> Subject:  # fmt: skip
    """Llamas of random weights, written HIDDENxLAYERSxHEADSxINTERMEDIATE, random prompts and a random catalogue.

    Times of passes are real; what is accepted means nothing. Raises SpecbeamError for a shape that makes no model.
    """
    torch.set_num_threads(loading.threads)
    device, seed = models.choose_device(loading.device or "auto"), loading.seed or 0
    identifiers = synthetic_identifiers(
        items, length=identifier_length, branching=branching, first_token=TEXT_TOKENS, seed=seed
    )
    trie, generator = Trie.of(identifiers).to(device), np.random.default_rng(seed)
    prompts = generator.integers(TEXT_TOKENS, size=(loading.prompts, prompt_length)).tolist()

    def scorer(shape: str, option: str) -> Scorer:
        context = prompt_length + identifier_length
        model = _random_llama(shape, option, TEXT_TOKENS + branching, context, device, loading.dtype or "float32", seed)
        return Scorer.of(model, trie, normalise="children", **loading.faster)

    return Subject(
        name=f"random weights, target {target}, draft {draft or 'none'}",
        target=scorer(target, "--shape"),
        drafters={"random": ModelDrafter.of(scorer(draft, "--draft-shape"))} if draft else {},
        prior=PriorDrafter.of(trie),
        identifiers=identifiers,
        constraint="trie",
        prompts=prompts[: loading.users],
        calibration=prompts[loading.users :],
        temperature=1.0,
        seed=seed,
        settings={"target": target, "draft": draft, "items": items, "branching": branching, "prompt": prompt_length},
        random_weights=True,
    )


def _drafts(run: FinishedRun, objectives: Sequence[str]) -> dict[str, Path]:
    there = run.drafts
    if not objectives:
        objectives = [DEFAULT_OBJECTIVE] if DEFAULT_OBJECTIVE in there else list(there)[:1]
    for name in objectives:
        if name not in there:
            raise SpecbeamError(f"{run.folder}: no draft {name!r}; this run has {', '.join(there) or 'none'}")
    return {name: there[name] for name in objectives}


def _random_llama(
    shape: str, option: str, vocabulary: int, context: int, device: torch.device, dtype: str, seed: int
) -> LlamaForCausalLM:
    """Built where it is to stay and in its precision, so that a large one does not pass through main memory."""
    sizes = [int(size) if size.isdigit() else 0 for size in shape.split("x")]
    if len(sizes) != 4 or not all(sizes) or sizes[0] % (2 * sizes[2]):
        raise SpecbeamError(
            f"{option} {shape}: expected HIDDENxLAYERSxHEADSxINTERMEDIATE, such as 4096x32x32x11008, the hidden size "
            "an even multiple of the heads"
        )
    hidden, layers, heads, intermediate = sizes
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=intermediate,
        max_position_embeddings=max(models.CONTEXT, context),
        bos_token_id=None,
        eos_token_id=None,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
    )
    usual = torch.get_default_dtype()
    with torch.random.fork_rng(), torch.device(device):
        torch.manual_seed(seed)
        try:
            torch.set_default_dtype(getattr(torch, dtype))
            return LlamaForCausalLM(config).eval()
        finally:
            torch.set_default_dtype(usual)
