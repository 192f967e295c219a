"""A tree of tokens grown on one shared prompt, and its keys and values in a model's cache.

All beams of a search are paths of one tree: the prompt is read once, each node once, and a node attends to the prompt
and to its own ancestors only (tree attention). The prompt is not copied per beam; the cache is written anew only where
speculation prunes the nodes that failed.
"""

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from specbeam.decoding.support import check_length

ROOT = 0
"""Number of the node that stands for the prompt's last token."""


class TokenTree:
    """B prompts, the trees attached to them, and the model's cache of everything read so far.

    Nodes are numbered in the order of `attach`, from 1; `ROOT` is the prompt's last token. `attach` is bookkeeping
    only; `forward` reads everything attached since the last call in one pass of the model.

    Args:
        model: a causal language model of a supported family (specbeam.decoding.support).
        prompts: int64 [B, P] token ids, padded on the left.
        mask: bool [B, P], False at padding; None when all prompts have the same length.
    """

    def __init__(self, model: PreTrainedModel, prompts: Tensor, mask: Tensor | None = None) -> None:
        self.model = model
        self.prompts = prompts
        self.mask = torch.ones_like(prompts, dtype=torch.bool) if mask is None else mask
        self.cache = DynamicCache()
        self.calls = 0
        """Forward passes so far."""
        self.nodes_read = 0
        """Nodes that those passes read, the prompt not counted."""
        self._tokens = prompts[:, -1:]  # [B, nodes]
        self._positions = self.mask.sum(1, keepdim=True) - 1  # [B, nodes]
        self._sees = self.mask.unsqueeze(1)  # [B, nodes, P + nodes - 1]: the cache slots that a node attends to
        self._read = 0  # nodes whose keys and values are in the cache
        self._logits: Tensor | None = None  # [B, nodes of the last pass, vocabulary]
        self._first = 0  # first node of the last pass

    @property
    def size(self) -> int:
        """Number of nodes, the root included; the next node attached gets this number."""
        return self._tokens.shape[1]

    def attach(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Add a node for each of `tokens` [B, m] under the nodes `parents` [B, m]; returns their numbers [B, m]."""
        batch, width = tokens.shape
        old = self.size
        inherited = self._sees.gather(1, parents.unsqueeze(-1).expand(-1, -1, self._sees.shape[2]))
        itself = torch.eye(width, dtype=torch.bool, device=tokens.device).expand(batch, -1, -1)
        blind = self._sees.new_zeros(batch, old, width)
        self._sees = torch.cat([torch.cat([self._sees, blind], 2), torch.cat([inherited, itself], 2)], 1)
        self._positions = torch.cat([self._positions, self._positions.gather(1, parents) + 1], 1)
        self._tokens = torch.cat([self._tokens, tokens], 1)
        return torch.arange(old, old + width, device=tokens.device).expand(batch, -1)

    def inputs(self) -> dict[str, Tensor]:
        """Model inputs for one pass over all nodes not read yet, the first time with the prompt.

        They are tokens, the bool mask [B, 1, tokens, slots] of what each may see, and positions.
        """
        check_length(self.model, self.prompts.shape[1] + self.size - 1)
        tokens, positions, sees = (x[:, self._read :] for x in (self._tokens, self._positions, self._sees))
        if self._read == 0:
            tokens = torch.cat([self.prompts[:, :-1], tokens], 1)
            positions = torch.cat([(self.mask.cumsum(1) - 1).clamp(min=0)[:, :-1], positions], 1)
            sees = torch.cat([self._prompt_sees(), sees], 1)
        return {"input_ids": tokens, "attention_mask": sees.unsqueeze(1), "position_ids": positions}

    @torch.inference_mode()
    def forward(self) -> None:
        """One pass of the model over all nodes not read yet; the first pass reads the prompt with them."""
        pending = self.size - self._read
        output = self.model(**self.inputs(), past_key_values=self.cache, use_cache=True, logits_to_keep=pending)
        self.calls += 1
        self.nodes_read += self.size - max(self._read, 1)
        self._logits, self._first, self._read = output.logits, self._read, self.size

    def logits(self, nodes: Tensor) -> Tensor:
        """float32 [B, m, vocabulary]: next-token logits after `nodes` [B, m], which the last pass read."""
        if self._logits is None or self._read < self.size:
            raise RuntimeError("logits of nodes that no pass has read: call forward() first")
        rows = (nodes - self._first).unsqueeze(-1).expand(-1, -1, self._logits.shape[-1])
        return self._logits.gather(1, rows).float()

    def prune(self, base: int, nodes: Tensor) -> Tensor:
        """Forget all nodes from number `base` on but `nodes` [B, k], which become base, base + 1, ... in that order.

        `nodes` lists ancestors before descendants, and read ones before those still to be read. Returns int64 [B, old
        size]: the new number of every old node (meaningless for the forgotten).
        """
        batch, device, prompt = nodes.shape[0], nodes.device, self.prompts.shape[1]
        kept = torch.cat([torch.arange(base, device=device).expand(batch, -1), nodes], 1)
        slots = torch.cat([torch.arange(prompt, device=device).expand(batch, -1), kept[:, 1:] + prompt - 1], 1)
        read = int((kept[0] < self._read).sum())
        if base < self._read:
            _keep_slots(self.cache, slots[:, : prompt + read - 1])
        numbers = torch.arange(kept.shape[1], device=device).expand(batch, -1)
        renumbered = torch.zeros_like(self._tokens).scatter(1, kept, numbers)
        rows = self._sees.gather(1, kept.unsqueeze(-1).expand(-1, -1, self._sees.shape[2]))
        self._sees = rows.gather(2, slots.unsqueeze(1).expand(-1, kept.shape[1], -1))
        self._tokens, self._positions = self._tokens.gather(1, kept), self._positions.gather(1, kept)
        self._read, self._logits = read, None
        return renumbered

    def _prompt_sees(self) -> Tensor:
        """bool [B, P - 1, P + nodes - 1]: causal, padding left out; it sees itself, as softmax over nothing is NaN."""
        length, width = self.prompts.shape[1], self._sees.shape[2]
        causal = torch.ones(length, width, dtype=torch.bool, device=self.mask.device).tril()
        itself = torch.eye(length, width, dtype=torch.bool, device=self.mask.device)
        real = torch.nn.functional.pad(self.mask, (0, width - length))
        return ((causal & real.unsqueeze(1)) | itself)[:, :-1]


def _keep_slots(cache: DynamicCache, slots: Tensor) -> None:
    """Keep only the key and value slots [B, s] of every layer, in that order."""
    for layer in cache.layers:
        index = slots[:, None, :, None].expand(-1, layer.keys.shape[1], -1, layer.keys.shape[3])
        layer.keys, layer.values = layer.keys.gather(2, index), layer.values.gather(2, index)
