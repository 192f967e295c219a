"""The methods that `specbeam bench` compares, and the grid on which it does."""

import logging
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding.counters import Counters
from specbeam.decoding.drafters import Drafter
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.planner import choose_plan
from specbeam.decoding.rules import rule_of
from specbeam.errors import SpecbeamError
from specbeam.measurement.bench_subject import Subject
from specbeam.measurement.peers import allowed_tokens, generate_batch
from specbeam.settings import Verification

log = logging.getLogger(__name__)

VERIFICATIONS: tuple[str, ...] = get_args(Verification)
LOSSLESS = ("strict", "coupled")
KEY = ("method", "verification", "drafter", "objective", "plan")
CHOOSE = "choose"
"""In place of a plan: let the planner choose one for each draft, verification, K and batch size."""


@dataclass(frozen=True)
class Grid:
    """What is timed. Raises SpecbeamError for what cannot be."""

    beam_widths: tuple[int, ...] = (1, 3, 5, 10, 20)
    batch_sizes: tuple[int, ...] = (1, 8, 32)
    verifications: tuple[str, ...] = VERIFICATIONS
    draft_beam_width: int = 40
    draft_length: int = 3
    plans: tuple[Plan | Literal["choose"], ...] = (CHOOSE,)
    """Trees beside the flat one, on top of each draft model for lossless verification; sampling needs flat drafts."""
    users: int = 20
    """Prompts timed; of a larger batch size, one batch."""
    repeats: int = 5
    catalogue: int = 1_000_000
    """Items of the synthetic catalogue that look-ups are timed on; 0: none."""

    def __post_init__(self) -> None:
        for name, values in (("--beam-widths", self.beam_widths), ("--batch-sizes", self.batch_sizes)):
            if not values or min(values) < 1 or len(set(values)) < len(values):
                raise SpecbeamError(f"{name}: expected distinct numbers of 1 or more, got {list(values)}")
        if unknown := [name for name in self.verifications if name not in VERIFICATIONS]:
            raise SpecbeamError(f"--verifications: expected some of {', '.join(VERIFICATIONS)}, got {unknown[0]!r}")
        widest = max(self.beam_widths)
        if self.draft_beam_width < widest:
            raise SpecbeamError(
                f"--draft-beam-width {self.draft_beam_width}: expected at least {widest}, the largest of --beam-widths"
            )
        for plan in self.plans:
            if plan != CHOOSE:
                plan.check(widest)

    @property
    def prompts(self) -> int:
        """Prompts to time: at least one batch of the largest size."""
        return max(self.users, *self.batch_sizes)

    @property
    def calibration(self) -> int:
        """Prompts that choosing plans needs at least, if any is to be chosen: a batch of the largest size."""
        return max(self.batch_sizes) if CHOOSE in self.plans else 0


@dataclass(frozen=True)
class Method:
    """One way to make the lists of a batch of prompts, and the columns that name it."""

    method: str
    make: Callable[[Tensor, Tensor], Counters]
    """From prompts [B, P] and mask [B, P]; returns what it did."""
    token_bytes: int
    """Keys and values that it holds of one token."""
    prompt_copies: int = 1
    """How many times it holds the prompt."""
    verification: str = ""
    drafter: str = ""
    objective: str = ""
    plan: str = ""
    draft: tuple[Drafter, Plan] | None = None

    @property
    def key(self) -> dict[str, str]:
        """The columns that name it."""
        return {name: getattr(self, name) for name in KEY}

    def held(self, batch: int, length: int, nodes: int) -> int:
        """Bytes of keys and values at the end of a search of `batch` prompts [length] with `nodes` each, at most."""
        return batch * (self.prompt_copies * length + nodes) * self.token_bytes


def methods(subject: Subject, grid: Grid, beam_width: int, batch: int) -> Iterator[Method]:
    """All methods at one K and batch size: generate, plain, and every verification with every draft and plan."""
    target, length = subject.target, subject.target.trie.depth
    allowed = allowed_tokens(subject.identifiers, subject.constraint)

    def peer(prompts: Tensor, mask: Tensor) -> Counters:
        options = {"beam_width": beam_width, "identifier_length": length, "normalise": target.normalise}
        generate_batch(target.model, prompts, mask, allowed, **options)
        return Counters(target_calls=length, nodes=beam_width * (length - 1))

    def plain(prompts: Tensor, mask: Tensor) -> Counters:
        return search(target, prompts, mask=mask, beam_width=beam_width).counters

    yield Method("generate", peer, token_bytes(target.model), prompt_copies=beam_width)
    yield Method("plain", plain, token_bytes(target.model))
    flat, flat_name = Plan.flat(grid.draft_beam_width, grid.draft_length, length), f"flat{grid.draft_beam_width}"
    sampled = target.normalise == "children"  # coupled samples from a distribution over items, which no other is
    verifications = [name for name in grid.verifications if name != "coupled" or sampled]
    for verification in verifications:
        for objective, drafter in subject.drafters.items():
            yield _speculative(subject, beam_width, verification, objective, drafter, flat, flat_name)
            for given in grid.plans if verification in LOSSLESS else ():
                planned = given == CHOOSE
                plan = _chosen(subject, beam_width, batch, objective, verification) if planned else given
                name = f"planned {plan_name(plan)}" if planned else plan_name(plan)
                yield _speculative(subject, beam_width, verification, objective, drafter, plan, name)
        yield _speculative(subject, beam_width, verification, "", subject.prior, flat, flat_name)


def _speculative(
    subject: Subject, beam_width: int, verification: str, objective: str, drafter: Drafter, plan: Plan, name: str
) -> Method:
    rule = rule_of(verification, temperature=subject.temperature, seed=subject.seed)
    held = token_bytes(subject.target.model) + (token_bytes(drafter.scorer.model) if objective else 0)
    options = {"beam_width": beam_width, "drafter": drafter, "plan": plan, "rule": rule}

    def make(prompts: Tensor, mask: Tensor) -> Counters:
        return search(subject.target, prompts, mask=mask, **options).counters

    return Method(
        "speculative", make, held, verification=verification, drafter="model" if objective else "prior",
        objective=objective, plan=name, draft=(drafter, plan),
    )  # fmt: skip


def _chosen(subject: Subject, beam_width: int, batch: int, objective: str, verification: str) -> Plan:
    start = time.perf_counter()
    drafter, rule = subject.drafters[objective], rule_of(verification, subject.temperature, subject.seed)
    batches = subject.calibration_batches(batch)
    plan = choose_plan(subject.target, drafter, batches, beam_width=beam_width, rule=rule).plan
    seconds = time.perf_counter() - start
    where = f"K = {beam_width}, batch {batch}, {verification}, {objective}"
    log.info("%s: planned %s in %.1f s", where, plan_name(plan), seconds)
    return plan


def plan_of(text: str) -> Plan | Literal["choose"]:
    """The plan that "60,80,100" (widths by level) or "60,80,100:2" (the model's levels too) names, or "choose"."""
    if text == CHOOSE:
        return CHOOSE
    found = re.fullmatch(r"(\d+(?:,\d+)*)(?::(\d+))?", text)
    if not found:
        raise SpecbeamError(f"--plan {text}: expected widths by level such as 60,80,100 or 60,80,100:2, or {CHOOSE}")
    widths, by_model = found.groups()
    return Plan(tuple(map(int, widths.split(","))), model_levels=int(by_model) if by_model else None)


def plan_name(plan: Plan) -> str:
    """`plan` as `plan_of` reads it; "nothing" for no speculation."""
    widths = ",".join(map(str, plan.widths)) if any(plan.widths) else "nothing"
    return widths if plan.model_levels is None or not any(plan.widths) else f"{widths}:{plan.model_levels}"


def token_bytes(model: PreTrainedModel) -> int:
    """Bytes of the keys and values of one token."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * model.dtype.itemsize
