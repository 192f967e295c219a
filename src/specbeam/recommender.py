"""The library's main door: a target, its items and perhaps a draft go in; top-K lists come out.

    recommender = Recommender(target, Items.of(identifiers), draft=draft)
    lists = recommender(prompts, k=10)

Everything is held ready on the model's device, so make one recommender and keep it.
"""

from collections.abc import Callable, Collection, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from specbeam import drop_in, memory, models
from specbeam.data import prepared
from specbeam.data.item_keys import ItemKeys
from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.filters import Filters
from specbeam.decoding.inputs import Prompts, left_padded, prompt_rows
from specbeam.decoding.lists import Ranking, search
from specbeam.decoding.plan import Plan
from specbeam.decoding.planner import Planned, choose_plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Relaxed, Rule, rule_of
from specbeam.errors import SpecbeamError
from specbeam.finished_run import FinishedRun
from specbeam.items import Items
from specbeam.prompts import PromptBuilder
from specbeam.recommendations import Recommendations, named
from specbeam.subsets import Only, Shelf, Subset, Without


class Recommender:
    """Makes top-K lists of items. Lists are lossless under the verifications strict (default) and coupled."""

    def __init__(
        self,
        target: PreTrainedModel,
        items: Items,
        *,
        draft: PreTrainedModel | None = None,
        normalise: str = "children",
        end: int | None = None,
        start: int | None = None,
        prompt: Callable[[Sequence[Any]], Sequence[int]] | None = None,
        plan: Plan | None = None,
        draft_beam_width: int = 40,
        draft_length: int = 3,
        batch_size: int = 16,
        compile: bool = False,
        graphs: bool = False,
    ) -> None:
        """Make ready a causal language model of transformers, in eval mode and where it is to stay.

        Args:
            target: its lists are wanted.
            items: what can be recommended; also whatever `Items.of` takes.
            draft: a smaller model that knows the same item tokens, on the same device; without one, plain beam search.
            normalise: "children" (softmax over the tokens that the items allow) or "vocabulary" (over all tokens);
                generate's renormalize_logits=True and False.
            end: a token that the model was trained to write after every identifier; needed where one identifier is the
                beginning of another.
            start: first token of the prompts that `for_histories` makes.
            prompt: history of item ids -> token ids, for `for_histories`; without it, the tokens of the items.
            plan: how much to draft at every K that `tune` has not seen; Plan() is nothing. Without it, `draft_length`
                levels a round of `draft_beam_width` nodes (K, where that is more).
            batch_size: prompts searched at once.
            compile: run the models through torch.compile; the first passes take a minute, the rest are faster.
            graphs: on a GPU, capture each shape of pass as a CUDA graph; the first lists take longer.

        Weights must not change afterwards: what is needed of the heads is copied. Raises SpecbeamError for models and
        items that do not go together.
        """
        if normalise not in ("children", "vocabulary"):
            raise SpecbeamError(f"normalise: expected children or vocabulary, got {normalise!r}")
        if batch_size < 1:
            raise SpecbeamError(f"batch_size: expected 1 or more prompts at once, got {batch_size}")
        if prompt is not None and start is not None:
            raise SpecbeamError("prompt and start were given: prompt makes the whole prompt, so leave start out")
        if draft is not None and draft.device != target.device:
            raise SpecbeamError(f"target on {target.device}, draft on {draft.device}: move one with .to(device)")
        self._shelf = Shelf.of(items, [target, *([draft] if draft else [])], end=end)
        trie, options = self._shelf.trie, {"normalise": normalise, "compile": compile, "graphs": graphs}
        self.target = Scorer.of(target, trie, **options)
        self.drafter: ModelDrafter | None = None
        if draft is not None:
            self.drafter = ModelDrafter.of(Scorer.of(draft, trie, **options))
        self.plans: dict[tuple[int, int], Plan] = {}
        """The plans that `tune` chose, by K and batch size; change them as you like."""
        self._flat = (draft_beam_width, draft_length)
        self._plan, self._batch_size = plan, batch_size
        self._start, self._prompt, self._end = start, prompt, end

    @property
    def items(self) -> Items:
        """What can be recommended."""
        return self._shelf.items

    @classmethod
    def load(
        cls, folder: Path | str, *, objective: str | None = None, device: str = "auto", keys: bool = False,
        **options: Any,
    ) -> "Recommender":  # fmt: skip
        """The models of a finished run, from its data set's folder, such as results/default/synthetic.

        `objective` names the draft (None: atspeed_s if the run has it, else its first; "none": no draft), `device` is
        auto, cpu or cuda, `options` are those of Recommender. With `keys`, items are called as in the user's own files
        (text), where the data have such keys, rather than by number. Prompts, precision, normalisation and draft length
        are those of the run; lists hold real items, whatever constraint it had. Raises SpecbeamError for a folder
        without a finished run, and for an objective without a draft.
        """
        run = FinishedRun.of(folder)
        values, place, data = run.settings, run.draft(objective), prepared.load(run.prepared)
        builder = PromptBuilder(
            style=values.prompt.style, history=values.prompt.history, tokenizer=data.tokenizer, catalogue=data.catalogue
        )
        items, prompt = Items.of_catalogue(data.catalogue, data.tokenizer), builder
        if keys and (own := run.item_keys()) is not None:
            items, prompt = items.renamed(own.keys), _of_keys(own, builder, last=values.prompt.history)
        where = models.choose_device(device)
        draft = place and models.load(place, dtype=values.draft.model.dtype, device=where)
        of_run = {"normalise": values.decoding.normalise, "draft_length": values.decoding.draft_length}
        return cls(
            models.load(run.target, dtype=values.target.model.dtype, device=where),
            items,
            **{"draft": draft, "prompt": prompt, **of_run, **options},
        )

    def with_items(
        self, items: Items, *, prompt: Callable[[Sequence[Any]], Sequence[int]] | None = None
    ) -> "Recommender":
        """The same models over another catalogue, with no training; this recommender stays as it is.

        Of the models only the heads' rows for the item tokens are copied. An item that is new needs an identifier of
        tokens that the models know. `prompt` is as in Recommender, for one that would not know the new items. Plans of
        `tune` are kept. Raises SpecbeamError for items that the models cannot write.
        """
        models, other = [self.target.model, *([self.drafter.scorer.model] if self.drafter else [])], copy(self)
        other._shelf = Shelf.of(items, models, end=self._end)
        other.target = self.target.over(other._shelf.trie)
        other.drafter = self.drafter and ModelDrafter.of(self.drafter.scorer.over(other._shelf.trie))
        other.plans, other._prompt = dict(self.plans), prompt or self._prompt
        return other

    def subset(self, items: Collection[Any]) -> Subset:
        """A part of the catalogue (in stock, of a region) as `only` of any number of lists; make it once and keep it.

        Raises SpecbeamError for an item that the catalogue does not have.
        """
        return self._shelf.subset(items)

    def __call__(
        self, prompts: Prompts, k: int = 10, *, mask: Tensor | None = None, verification: str = "strict",
        temperature: float = 1.0, seed: int = 0, only: Only = None, without: Without = None,
    ) -> list[Recommendations]:  # fmt: skip
        """The top-k lists of `prompts`, in their order; a list is shorter only where what it may name is.

        `prompts` are lists of token ids, one list, or a tensor [B, P] with `mask` (0 at padding). `verification` is
        strict (the target's beam search), coupled (k items drawn from the target without replacement), relaxed or
        relaxed-ranked (the paper's sampling, not lossless); `temperature` and `seed` are those of the sampled ones. A
        coupled draw depends on seed and prompt alone, a relaxed one on the draft too.

        Lists are those of a recommender of the items of `only` (a `subset`) that are not in `without` (item ids). Both
        are for all prompts, or a list with one (a list or set of ids) a prompt; a list of which nothing is left is
        empty. Raises SpecbeamError for what cannot be searched, and for items that the catalogue does not have.
        """
        rule, rows = self._rule(verification, temperature, seed), self._rows(prompts, mask)
        filters = self._shelf.filters(only, without, len(rows))
        lists: list[Recommendations | None] = [None] * len(rows)

        def work(chosen: list[int]) -> list[Recommendations]:
            (padded, real), some = self._padded([rows[place] for place in chosen]), [filters[place] for place in chosen]
            found = self.search(padded, k, mask=real, rule=rule, filters=self._shelf.of_search(some))
            return named(found, self._shelf, some, k)

        for chosen, made in memory.halving(work, _by_length(rows), self._batch_size, name="recommend"):
            for place, one in zip(chosen, made, strict=True):
                lists[place] = one
        return lists

    def for_histories(
        self, histories: Sequence[Sequence[Any]], k: int = 10, *, repeats: bool = True, without: Without = None,
        **options: Any,
    ) -> list[Recommendations]:  # fmt: skip
        """The top-k lists of users who had the items `histories`, oldest first; `options` as when called.

        Without `repeats` no list names an item of its own history. Raises SpecbeamError for an item without an
        identifier.
        """
        prompts = [self.prompt(history) for history in histories]
        if not repeats:
            own = [{item for item in history if item in self.items} for history in histories]
            others = self._shelf.left_out(without, len(histories))
            without = [some | more for some, more in zip(own, others, strict=True)]
        return self(prompts, k, without=without, **options)

    def prompt(self, history: Sequence[Any]) -> list[int]:
        """The token ids that `for_histories` puts to the model for one history of item ids."""
        if self._prompt is not None:
            return list(self._prompt(history))
        start = [] if self._start is None else [self._start]
        return start + [token for item in history for token in self.items.tokens_of(item)]

    def tune(
        self,
        prompts: Prompts | None = None,
        *,
        histories: Sequence[Sequence[Any]] | None = None,
        k: int = 10,
        batch_size: int | None = None,
    ) -> Planned:
        """Choose what to draft at `k` by measuring on this machine, and draft so from now on, or not at all.

        `prompts` or `histories` are some dozens like those to come, `batch_size` how many of them come at once (as many
        as are searched at once). Other batch sizes go by the nearest that was tuned. Lists stay the same; only their
        time changes. Raises SpecbeamError without a draft, and without examples.
        """
        if self.drafter is None:
            raise SpecbeamError("tune: there is no draft to plan with; give one as Recommender(draft=...)")
        if (prompts is None) == (histories is None):
            raise SpecbeamError("tune: expected examples, either prompts or histories=...")
        examples = prompts if histories is None else [self.prompt(history) for history in histories]
        rows = self._rows(examples, None)
        size = min(batch_size or self._batch_size, max(len(rows), 1))
        rows = rows[: len(rows) // size * size]  # full batches only: one batch size is planned for
        planned = choose_plan(self.target, self.drafter, self._batches(rows, size), beam_width=k)
        self.plans[k, size] = planned.plan
        return planned

    def plan(self, k: int, batch_size: int) -> Plan:
        """What is drafted at `k` and a batch size: what `tune` chose for the nearest, the plan given, or the flat."""
        if self.drafter is None:
            return Plan()
        tuned = [size for width, size in list(self.plans) if width == k]  # another thread may tune
        if tuned:
            return self.plans[k, min(tuned, key=lambda size: abs(size - batch_size))]
        return self._plan or self._flat_plan(k)

    def _flat_plan(self, k: int) -> Plan:
        width, length = self._flat
        return Plan.flat(max(width, k), length, self.target.trie.depth)

    def search(
        self, prompts: Tensor, k: int, *, mask: Tensor, rule: Rule | None = None, filters: Filters | None = None
    ) -> Ranking:
        """One batch as tensors, prompts [B, P] padded on the left and mask bool [B, P]; see specbeam.decoding.lists."""
        plan = self.plan(k, len(prompts))
        if isinstance(rule, Relaxed) and any(plan.widths):
            plan = self._flat_plan(k)  # sampling needs a flat draft
        how = {"beam_width": k, "mask": mask, "rule": rule, "drafter": self.drafter, "plan": plan, "filters": filters}
        return search(self.target, prompts, **how)

    def custom_generate(self, model: PreTrainedModel, input_ids: Tensor, **arguments: Any) -> Any:
        """For `model.generate(..., num_beams=K, custom_generate=recommender.custom_generate)`; specbeam.drop_in."""
        return drop_in.generate(model, input_ids, target=self.target, search=self.search, **arguments)

    def _rule(self, verification: str, temperature: float, seed: int) -> Rule:
        if verification == "strict" and temperature != 1:
            raise SpecbeamError(f"temperature: expected 1 under strict, which does not sample; got {temperature}")
        if verification == "coupled" and self.target.normalise != "children":
            raise SpecbeamError("coupled draws from a distribution over items: it needs normalise='children'")
        return rule_of(verification, temperature, seed)

    def _rows(self, prompts: Prompts, mask: Tensor | None) -> list[list[int]]:
        return prompt_rows(prompts, mask, self.target.model.get_input_embeddings().num_embeddings)

    def _batches(self, rows: list[list[int]], size: int) -> list[tuple[Tensor, Tensor]]:
        """Prompts [B, P] and mask [B, P] of prompts of similar lengths."""
        order = [rows[place] for place in _by_length(rows)]
        return [self._padded(order[first : first + size]) for first in range(0, len(order), size)]

    def _padded(self, rows: list[list[int]]) -> tuple[Tensor, Tensor]:
        padded, real = left_padded(rows, 0)
        return padded.to(self.target.model.device), real.to(self.target.model.device)


def _by_length(rows: list[list[int]]) -> list[int]:
    return sorted(range(len(rows)), key=lambda place: len(rows[place]))


def _of_keys(own: ItemKeys, builder: PromptBuilder, *, last: int) -> Callable[[Sequence[Any]], list[int]]:
    """Prompts for histories of keys, of which the `last` ones count."""
    return lambda history: builder(own.numbers(history[-last:]))
