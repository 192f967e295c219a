"""Beam search over a token tree: the target's reference result, and the loop that drafts.

Source: docs/method.md, "Beam search". L forward passes, one over the prompt and L - 1 over K tokens.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from torch import Tensor
from transformers import PreTrainedModel

from specbeam.decoding.beams import Beams, Candidates, expand
from specbeam.decoding.counters import Counters
from specbeam.decoding.rules import Rule, Strict
from specbeam.decoding.support import check_model
from specbeam.decoding.tree import TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

Timer = Callable[[str], AbstractContextManager[None]]


def untimed(_: str) -> AbstractContextManager[None]:
    """The timer of ordinary runs: none."""
    return nullcontext()


@dataclass
class Ranking:
    """The recommendation lists of B prompts, best first."""

    sequences: Tensor
    """int64 [B, K, L] token ids."""
    scores: Tensor
    """float32 [B, K] accumulated log-probabilities; -inf where fewer than K continuations exist."""
    states: Tensor
    """int64 [B, K] trie states; `trie.rows[states]` are rows of the identifiers."""
    counters: Counters = field(default_factory=Counters)

    @classmethod
    def of(cls, beams: Beams, counters: Counters) -> "Ranking":
        """Final beams sorted by score (equal scores in the order that they had), cut to those that exist in any row.

        Raises SpecbeamError if the model gave scores that are no numbers: `top_k` puts them first, so none gets lost.
        """
        if beams.scores.isnan().any():
            raise SpecbeamError("the model's scores are not numbers: decode in float32 or bfloat16, or train again")
        scores, order = beams.scores.sort(dim=1, descending=True, stable=True)
        width = int(scores.isfinite().sum(1).max())
        sequences = beams.sequences.gather(1, order.unsqueeze(-1).expand(-1, -1, beams.level))
        return cls(sequences[:, :width], scores[:, :width], beams.states.gather(1, order)[:, :width], counters)


def beam_search(
    model: PreTrainedModel,
    prompts: Tensor,
    trie: Trie,
    *,
    beam_width: int,
    mask: Tensor | None = None,
    normalise: str = "children",
    rule: Rule | None = None,
    timer: Timer = untimed,
) -> Ranking:
    """Constrained beam search by `model` alone over a batch of prompts.

    Args:
        model: a supported causal language model.
        prompts: int64 [B, P], padded on the left; `mask` bool [B, P] is False at padding.
        trie: the constraint, on the model's device.
        beam_width: K.
        normalise: "children" or "vocabulary" (specbeam.decoding.beams.expand).
        rule: Strict (default) for the K best; Relaxed for the target's own sampled beam search.

    Returns:
        Ranking of min(K, items) sequences a prompt.
    """
    check_search(model, prompts, trie, beam_width)
    tree, rule = TokenTree(model, prompts, mask), rule or Strict()
    beams = Beams.root(prompts.shape[0], prompts.device)
    for level in range(trie.depth):
        with timer("target"):
            tree.forward()
        candidates = score(tree, beams, trie, normalise, timer)
        beams, _ = candidates.take(rule.choose(candidates.scores, beam_width), beams)
        if level < trie.depth - 1:
            beams.nodes = tree.attach(beams.sequences[..., -1], beams.nodes)
    return Ranking.of(beams, Counters(target_calls=tree.calls, nodes=tree.nodes_read))


def score(tree: TokenTree, beams: Beams, trie: Trie, normalise: str, timer: Timer) -> Candidates:
    """The scored continuations of `beams`, whose nodes the last pass of `tree` read."""
    with timer("constraint"):
        children = trie.children(beams.states, beams.level)
    return expand(tree.logits(beams.nodes), beams, children, normalise)


def check_search(model: PreTrainedModel, prompts: Tensor, trie: Trie, beam_width: int) -> None:
    """Raise SpecbeamError for a model, a prompt or a width that no search can work on."""
    check_model(model)
    if model.training:
        raise SpecbeamError("the model is in training mode, its dropout would change the lists: call model.eval()")
    if beam_width < 1:
        raise SpecbeamError(f"beam width: expected 1 or more items a list, got {beam_width}")
    if prompts.ndim != 2 or prompts.shape[1] == 0:
        raise SpecbeamError(f"prompts: expected token ids of shape [batch, length > 0], got {tuple(prompts.shape)}")
    context = getattr(model.config, "max_position_embeddings", None)
    if context is not None and prompts.shape[1] + trie.depth - 1 > context:
        raise SpecbeamError(
            f"a prompt of {prompts.shape[1]} tokens and an identifier of {trie.depth} exceed the model's context "
            f"of {context}: shorten prompt.history"
        )
    if trie.vocabulary > model.config.vocab_size:
        raise SpecbeamError(
            f"the catalogue uses token ids up to {trie.vocabulary - 1}, the model writes {model.config.vocab_size} "
            "tokens: they do not belong together"
        )
    if trie.tokens.device != prompts.device:
        raise SpecbeamError(f"trie on {trie.tokens.device}, prompts on {prompts.device}: move one with .to(device)")
