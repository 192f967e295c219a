"""One model reading one token tree: its cache, and the logits that the trie may need.

What a pass costs is kept small: the prompt's keys and values are stored once for all beams, nothing is ever moved in
the cache (nodes that failed are simply never seen again), and the head is applied to the asked nodes only and, under
`normalise: children`, to the item tokens only.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

from specbeam.decoding.cache import Empty, SlotLayer, empty_cache
from specbeam.decoding.graphs import Graphs, padded
from specbeam.decoding.support import TESTED_FAMILIES, check_attention, check_logits, check_trie
from specbeam.decoding.tree import ROOT, TokenTree
from specbeam.errors import SpecbeamError
from specbeam.trie import Trie


@dataclass(frozen=True)
class Scorer:
    """A model made ready to score the tokens of one trie. Make it with `of`, once for many searches."""

    model: PreTrainedModel
    trie: Trie
    normalise: str
    weight: Tensor
    """[A, hidden]: the head's rows for the trie's alphabet, or the whole head under `normalise: vocabulary`."""
    bias: Tensor | None
    body: Any
    """The model without its head, as called: compiled, if that was asked for."""
    empty: Empty
    graphs: Graphs | None = None
    """Passes captured for replay, if that was asked for."""

    @classmethod
    def of(
        cls,
        model: "PreTrainedModel | Scorer",
        trie: Trie,
        *,
        normalise: str,
        compile: bool = False,
        graphs: bool = False,
    ) -> "Scorer":
        """From a model of a tested family, or one that passes a probe; a Scorer is taken as it is.

        `compile` runs the model through torch.compile: the first passes take a minute, the rest are faster. `graphs`
        captures each shape of pass as a CUDA graph (specbeam.decoding.graphs). Raises SpecbeamError for a model whose
        lists could be wrong, and for graphs without a GPU.
        """
        if normalise not in ("children", "vocabulary"):
            raise SpecbeamError(f"normalise: expected 'children' or 'vocabulary', got {normalise!r}")
        if isinstance(model, Scorer):
            if model.trie is not trie or model.normalise != normalise:
                raise SpecbeamError("this Scorer was made for another trie or normalisation: make one for this search")
            return model
        if not isinstance(model, PreTrainedModel):
            raise SpecbeamError(
                f"expected a model of transformers, got {type(model).__name__}; fold adapters in by merge_and_unload()"
            )
        check_attention(model)
        check_logits(model)
        if model.base_model is model or model.get_output_embeddings() is None:
            raise SpecbeamError(f"{type(model).__name__}: expected a causal language model with a body and a head")
        if model.config.model_type not in TESTED_FAMILIES:
            _probe(model)
        weight, bias = _head(model, trie, normalise)
        body = torch.compile(model.base_model, dynamic=True) if compile else model.base_model
        empty = empty_cache(model)
        if graphs and model.device.type != "cuda":
            raise SpecbeamError(f"CUDA graphs need a model on a GPU, this one is on {model.device}")
        return cls(model, trie, normalise, weight, bias, body, empty, Graphs(body, empty) if graphs else None)

    def over(self, trie: Trie) -> "Scorer":
        """The same model made ready for another trie; raises SpecbeamError if it cannot write the trie's tokens."""
        weight, bias = _head(self.model, trie, self.normalise)
        return replace(self, trie=trie, weight=weight, bias=bias)

    @property
    def columns(self) -> Tensor:
        """int64 [edges + C]: the column of `logits` that holds each edge's token (see Trie.columns)."""
        return self.trie.columns if self.normalise == "children" else self.trie.padded_tokens

    def tree(self, prompts: Tensor, mask: Tensor | None = None) -> TokenTree:
        """A tree on `prompts` int64 [B, P] for a search in the trie, padded as captured passes need it."""
        if self.graphs:
            prompts, mask = padded(prompts, mask)
        return TokenTree(prompts, self.trie.depth - 1, mask)

    def logits(self, hidden: Tensor) -> Tensor:
        """float32 [..., columns] from the last hidden states [..., hidden]."""
        return F.linear(hidden, self.weight, self.bias).float()


class Reader:
    """Reads the nodes of `tree` with a model; `calls` and `nodes_read` count passes, and nodes without the prompt."""

    def __init__(self, scorer: Scorer, tree: TokenTree) -> None:
        self.scorer = scorer
        self.tree = tree
        self.calls = 0
        self.nodes_read = 0
        batch = len(tree.prompts)
        if scorer.graphs:
            self._captured = scorer.graphs.borrow(batch, tree.prompts.shape[1])
        else:
            layers = [SlotLayer(*(x.expand(batch, -1, -1, -1) for x in layer)) for layer in scorer.empty]
            self._cache = Cache(layers=layers)

    def read(self, nodes: Tensor) -> Tensor:
        """float32 [B, m, columns]: next-token logits after `nodes` [B, m], in one pass of the model.

        The first pass reads the prompt too, so its nodes have to hold the root. A node's ancestors have to be among the
        nodes of this pass or of earlier ones; nodes may be read again.
        """
        first = self.calls == 0
        before, slots = self.tree.prompts.shape[1] - 1, self.tree.prompts.shape[1] - 1 + self.tree.size
        places = nodes + before
        if first:
            places = torch.cat([torch.arange(before, device=nodes.device).expand(len(nodes), -1), places], 1)
        hidden = self._pass(nodes, places, slots)
        self.calls += 1
        self.nodes_read += nodes.shape[1] - first
        return self.scorer.logits(hidden[:, -nodes.shape[1] :])

    def keep(self, rows: Tensor) -> None:
        """Go on with the prompts `rows` only; the tree has to keep them too."""
        if self.scorer.graphs:
            self._captured.keep(rows)
        else:
            for layer in self._cache.layers:
                layer.keep(rows)

    def close(self) -> None:
        """Nothing more is read: captured passes are free for the next search."""
        if self.scorer.graphs:
            self.scorer.graphs.give_back(self._captured)

    def _pass(self, nodes: Tensor, places: Tensor, slots: int) -> Tensor:
        first = self.calls == 0
        if self.scorer.graphs:
            if slots > self._captured.capacity:
                self._captured = self.scorer.graphs.grown(self._captured, slots)
            inputs = self.tree.inputs(nodes, prompt=first, slots=self._captured.capacity)
            return self._captured.read(places=places, **inputs)
        inputs = self.tree.inputs(nodes, prompt=first, slots=slots)
        for layer in self._cache.layers:
            layer.expect(places, slots)
        return self.scorer.body(**inputs, past_key_values=self._cache, use_cache=True).last_hidden_state


def _head(model: PreTrainedModel, trie: Trie, normalise: str) -> tuple[Tensor, Tensor | None]:
    """The weight [columns, hidden] and the bias of the head, as far as the trie needs them."""
    check_trie(model, trie)
    head = model.get_output_embeddings()
    weight, bias = head.weight.detach(), getattr(head, "bias", None)
    bias = None if bias is None else bias.detach()
    if normalise == "children":
        return weight[trie.alphabet], None if bias is None else bias[trie.alphabet]
    return weight, bias


@torch.inference_mode()
def _probe(model: PreTrainedModel) -> None:
    """Raise SpecbeamError unless reading a small tree gives the logits of ordinary causal passes over its paths."""
    family = model.config.model_type
    advice = f"tested families are {', '.join(TESTED_FAMILIES)}"
    if model.dtype != torch.float32:
        raise SpecbeamError(
            f"model family {family!r} is untested, and its tree attention can be probed in float32 only, not in "
            f"{model.dtype}: {advice}"
        )
    generator = torch.Generator().manual_seed(0)
    size = min(model.get_input_embeddings().num_embeddings, 1000)
    tokens = torch.randint(size, (2, 12), generator=generator).to(model.device)
    mask = torch.ones(2, 8, dtype=torch.bool, device=model.device)
    mask[1, :3] = False
    tree = TokenTree(tokens[:, :8], 2, mask)
    head = model.get_output_embeddings()
    parts = (head.weight, getattr(head, "bias", None), model.base_model, empty_cache(model))
    reader = Reader(Scorer(model, None, "vocabulary", *parts), tree)
    root = torch.full_like(tokens[:, :1], ROOT)
    children = tree.attach(tokens[:, 8:10], root.expand(-1, 2))
    found = [reader.read(torch.cat([root, children], 1))]
    found.append(reader.read(tree.attach(tokens[:, 10:], children.flip(1))))  # 10 below 9, 11 below 8
    for row in range(2):
        for at, path in enumerate(([], [8], [9], [9, 10], [8, 11])):
            expected = model(tokens[row, [*range(3 * row, 8), *path]].unsqueeze(0), use_cache=False).logits[0, -1]
            error = (torch.cat(found, 1)[row, at].log_softmax(-1) - expected.log_softmax(-1)).abs().max().item()
            if not error < 1e-3 * max(1.0, expected.std().item()):
                raise SpecbeamError(
                    f"model family {family!r} is untested, and it reads a token tree otherwise than its paths one by "
                    f"one (log-probabilities differ by {error:.2g}): {advice}"
                )
