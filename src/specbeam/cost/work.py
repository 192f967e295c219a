"""The jobs of a run: how much each computes and stores, and which wait for which.

Counted in tokens that models read (a training reads a token as often as its backward pass costs), in passes, and where
no model is at work in what the time grows with. Attention and the constraint are left out: prompts are short.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from specbeam.cost.facts import Facts
from specbeam.cost.models import BYTES, Network, network
from specbeam.settings import LanguageModelSettings, ModelSettings, Settings, TrainingSettings

BATCH = 16
"""Prompts that lists are searched for at a time, where nothing is timed."""
ROUNDS = 2
"""Rounds of speculation a list: at K = 20 aligned drafts take 1.9 target calls on Beauty (docs/proof)."""
STATES = 1.5
"""Prefixes of one length in a user's teacher tree, for each recorded beam: what the search dropped is in it too."""
FORWARD, ADAPTERS, ALL = 1, 1, 2
"""Passes that a token costs in training: forward, and backward through adapters alone or to all weights."""


@dataclass(frozen=True)
class Reading:
    """What one model reads in a job."""

    tokens: float = 0
    passes: float = 0

    def __add__(self, other: "Reading") -> "Reading":
        return Reading(self.tokens + other.tokens, self.passes + other.passes)

    def __mul__(self, times: float) -> "Reading":
        return Reading(self.tokens * times, self.passes * times)


@dataclass(frozen=True)
class Job:
    """One job."""

    rule: str
    name: str
    after: tuple[str, ...] = ()
    """Names of the jobs that it waits for."""
    target: Reading = Reading()
    draft: Reading = Reading()
    precision: str = "float32"
    units: float = 1
    """What the time of a job without a language model grows with."""
    stored: float = 1
    """What the size of its results grows with; of models and trajectories about their bytes."""
    processes: int = 1

    @property
    def models(self) -> bool:
        """Whether language models compute in it."""
        return self.target.tokens + self.draft.tokens > 0


class Workload:
    """A config's jobs on one data set. Variants of ablations are not counted, nor the run's page."""

    def __init__(self, settings: Settings, dataset: str, facts: Facts) -> None:
        """Raises SpecbeamError for models whose size is not known (specbeam.cost.models)."""
        self.settings, self.dataset, self.facts = settings, dataset, facts
        self.target: Network = network(settings.target.model, tokens=facts.tokens)
        self.draft: Network = network(settings.draft.model, tokens=facts.tokens, target=self.target)
        self._prompt = facts.prompt(settings)
        self._levels = min(settings.decoding.draft_length, facts.length - 1)

    def work(self, job: Job) -> float:
        """Floating-point operations of the models in a job; `units` where there are none."""
        return 2 * (job.target.tokens * self.target.read + job.draft.tokens * self.draft.read) or job.units

    def threads(self, job: Job) -> int:
        """Cores that a job takes."""
        of_stage = {
            "embed_items": "embedding",
            "train_target": "target",
            "recommend_items": "target",
            "rate_baselines": "target",
            "record_trajectories": "trajectories",
            "record_validation": "trajectories",
            "train_draft": "draft",
            "align_draft": "draft",
            "evaluate_draft": "evaluation",
            "record_search": "evaluation",
            "time_methods": "timing",
        }
        return getattr(self.settings.threads, of_stage[job.rule]) if job.rule in of_stage else 1

    def jobs(self) -> list[Job]:
        """All jobs, each after those that it waits for."""
        return [*self._data(), *self._of_target(), *self._of_drafts(), *self._measurements(), *self._figures()]

    def _data(self) -> Iterator[Job]:
        size = {"units": self.facts.interactions, "stored": self.facts.interactions}
        own = self.settings.own_data.get(self.dataset)
        if own is None:
            yield Job("generate_synthetic" if self.dataset == "synthetic" else "download_source", "raw", **size)
        elif own.interactions:
            yield Job("read_interactions", "raw", **size)
        raw = () if own and own.sequences else ("raw",)
        if own and own.identifiers:
            yield Job("embed_items", "embeddings", raw, **size)
            yield Job("identify_items", "identifiers", ("embeddings",), **size)
            raw = ("identifiers",)
        yield Job("prepare_dataset", "prepared", raw, **size)
        sasrec = self.settings.baselines.sasrec
        trained = sum(self.facts.train * each.epochs for each in sasrec.candidates()) if sasrec else 0
        yield Job("rate_baselines", "baselines", ("prepared",), units=(self.facts.test + trained) * self.facts.items)

    def _of_target(self) -> Iterator[Job]:
        own, facts = self.settings.target, self.facts
        reading = self._language_model(own.model, own.training)
        kept = BYTES[own.model.dtype if own.model.lora else "float32"] * self.target.weights
        how = {"precision": own.training.precision, "processes": own.training.processes}
        yield Job("train_target", "target", ("prepared",), reading, stored=kept, **how)
        widths, how = self.settings.measurement.beam_widths, {"after": ("target",), "precision": own.model.dtype}
        lists = _sum(self._list(k) for k in widths) * facts.test
        yield Job("recommend_items", "lists", target=_batched(lists), stored=facts.test * sum(widths), **how)
        shards, size = self.settings.trajectories.shards, self._trajectory_bytes()
        for rule, name, users in (
            *(("record_trajectories", f"train-{shard}", self._taught() / shards) for shard in range(shards)),
            ("record_validation", "valid", facts.valid),
        ):
            yield Job(rule, name, target=_batched(self._recording() * users), stored=users * size, **how)

    def _of_drafts(self) -> Iterator[Job]:
        s = self.settings
        size, taught = 4 * self.draft.weights, s.draft.training.distil
        teacher = Reading(self._training_tokens(s.draft.training)) if taught else Reading()
        from_target = ("target",) if taught or s.draft.model.from_target else ()
        recorded = (*(f"train-{shard}" for shard in range(s.trajectories.shards)), "valid")
        for seed in s.draft.seeds:
            how = {"stored": size, "precision": s.draft.training.precision, "processes": s.draft.training.processes}
            reading = self._language_model(s.draft.model, s.draft.training)
            yield Job("train_draft", f"base/{seed}", ("prepared", *from_target), teacher, reading, **how)
            for objective in s.alignment.objectives:
                training = s.alignment.training
                how |= {"precision": training.precision, "processes": training.processes}
                reading, name = self._alignment(objective, training), f"{objective}/{seed}"
                yield Job("align_draft", name, (f"base/{seed}", *recorded), draft=reading, **how)

    def _measurements(self) -> Iterator[Job]:
        s, facts = self.settings, self.facts
        measured, how = s.measurement, {"precision": s.target.model.dtype}
        users = min(measured.users or facts.test, facts.test)
        methods = [
            (k, n)
            for k in measured.beam_widths
            for n in measured.draft_beam_widths
            for plan in measured.plans
            for verification in measured.verifications
            if n >= k and (plan == "flat" or not verification.startswith("relaxed"))
        ]
        trees = [size for size in measured.tree_nodes for _ in ("flat", "shaped")]
        shaping = self._list(max(measured.beam_widths)) * 2
        target = _sum([self._list(k) for k in measured.beam_widths] + [self._verified(n) for _, n in methods]) * users
        target += _sum([shaping, *(self._verified(size / self._levels) for size in trees)]) * measured.tree_users
        draft = _sum(self._drafted(n) for _, n in methods) * users
        draft += _sum(self._drafted(size / self._levels) for size in trees) * measured.tree_users
        rows = users * (len(measured.beam_widths) + len(methods))
        for name in (f"{objective}/{seed}" for seed in s.draft.seeds for objective in s.alignment.objectives):
            reading = {"target": _batched(target), "draft": _batched(draft), "stored": rows}
            yield Job("evaluate_draft", f"evaluated/{name}", ("target", name), **reading, **how)
        drafts = tuple(f"{objective}/{s.draft.seeds[0]}" for objective in s.alignment.objectives)
        widest = max(measured.draft_beam_widths)
        yield Job(
            "record_search", "example", ("target", drafts[0]), self._verified(widest), self._drafted(widest), **how
        )
        lists = measured.timing_users * (measured.repeats + 2)
        for k in measured.beam_widths:
            widths = [n for n in measured.draft_beam_widths if n >= k] * len(measured.verifications) * len(drafts)
            generate = Reading(k * (self._prompt + facts.length - 1), facts.length)  # which copies prompts by beam
            target = _sum([generate, self._list(k), *(self._verified(n) for n in widths)]) * lists
            draft = _sum(self._drafted(n) for n in widths) * lists
            stored = lists * (2 + len(widths))
            yield Job("time_methods", f"timed/{k}", ("target", *drafts), target, draft, stored=stored, **how)

    def _figures(self) -> Iterator[Job]:
        s = self.settings
        drafts = [f"{objective}/{seed}" for seed in s.draft.seeds for objective in s.alignment.objectives]
        evaluated = tuple(f"evaluated/{name}" for name in drafts)
        timed = tuple(f"timed/{k}" for k in s.measurement.beam_widths)
        shown = {
            **dict.fromkeys(("speedup", "phases"), timed),
            **dict.fromkeys(("accepted", "levels", "calls", "trees"), evaluated),
            "pareto": (*evaluated, *timed),
            "recall": (*evaluated, "lists", "baselines"),
            "agreement": tuple(drafts),
            "loss": ("target", *drafts),
            "trie": ("prepared",),
            "example": ("example",),
        }
        yield from (Job("plot_figure", f"figure/{name}", after) for name, after in shown.items())
        yield Job("summarise_run", "summary", (*timed, *evaluated, "lists", "baselines"))

    def _taught(self) -> int:
        """Training prompts of which the target's lists are recorded."""
        return min(self.settings.trajectories.users or self.facts.train, self.facts.train)

    def _training_tokens(self, training: LanguageModelSettings) -> float:
        """Tokens of an epoch."""
        facts = self.facts
        if training.samples == "last_item":
            return facts.train * (self._prompt + facts.length)
        items = facts.interactions / facts.users
        if training.neighbours:
            items = max(items, (2 + training.neighbours.items) / 2)
        return facts.users * (1 + items * facts.length)

    def _language_model(self, model: ModelSettings, training: LanguageModelSettings) -> Reading:
        """All epochs: a token forward, backward, and once more forward where activations are not kept."""
        cost = _cost(training, adapters=model.lora is not None)
        valid = self.facts.valid * (self._prompt + self.facts.length)
        passes = cost * self.facts.train / training.micro_batch_size
        return Reading(cost * self._training_tokens(training) + valid, passes) * training.epochs

    def _alignment(self, objective: str, training: TrainingSettings) -> Reading:
        states = self.settings.trajectories.beam_width * (STATES if objective == "treekd" else 1)
        sample, cost = self._prompt + (self.facts.length - 1) * states, _cost(training)
        users = cost * self._taught() + self.facts.valid
        return Reading(users * sample, users / training.micro_batch_size) * training.epochs

    def _list(self, k: int) -> Reading:
        """The target's own beam search."""
        return Reading(self._prompt + (self.facts.length - 1) * k, self.facts.length)

    def _recording(self) -> Reading:
        """A search, and a pass over prompt and teacher tree."""
        width, levels = self.settings.trajectories.beam_width, self.facts.length - 1
        return self._list(width) + Reading(self._prompt + levels * STATES * width, 1)

    def _verified(self, width: float) -> Reading:
        """The target's part in a list by speculation with `width` drafted sequences a level."""
        return Reading(self._prompt + ROUNDS * self._levels * width, ROUNDS)

    def _drafted(self, width: float) -> Reading:
        """The draft's part."""
        return Reading(self._prompt + ROUNDS * self._levels * width, ROUNDS * self._levels)

    def _trajectory_bytes(self) -> float:
        """Of one user: float16 for each continuation of each state of the tree."""
        asked, facts = self.settings.trajectories, self.facts
        followed = facts.children() if asked.logits == "children" else facts.alphabets
        states = [1, *(min(STATES * asked.beam_width, prefixes) for prefixes in facts.prefixes)]
        return 2 * sum(state * after for state, after in zip(states, followed, strict=False))


def _cost(training: TrainingSettings, *, adapters: bool = False) -> int:
    return FORWARD + (ADAPTERS if adapters else ALL) + (FORWARD if training.gradient_checkpointing else 0)


def _sum(readings: Iterable[Reading]) -> Reading:
    return sum(readings, Reading())


def _batched(reading: Reading) -> Reading:
    return Reading(reading.tokens, reading.passes / BATCH)
