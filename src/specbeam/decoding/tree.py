"""A tree of tokens grown on one shared prompt: which node hangs where, and what each may see.

All beams of a search are paths of one tree: the prompt is read once, each node once, and a node attends to the prompt
and to its own ancestors only (tree attention). The tree holds no model; specbeam.decoding.reader reads it with one,
and target and draft read the same tree.
"""

import torch
from torch import Tensor

ROOT = 0
"""Number of the node that stands for the prompt's last token."""


class TokenTree:
    """B prompts and the trees attached to them. Nodes are numbered in the order of `attach`, from 1; it only grows.

    Args:
        prompts: int64 [B, P] token ids, padded on the left.
        depth: levels of nodes below the root; what is attached below them counts as of the last level.
        mask: bool [B, P], False at padding; None when all prompts have the same length.
    """

    def __init__(self, prompts: Tensor, depth: int, mask: Tensor | None = None) -> None:
        self.prompts = prompts
        self.mask = torch.ones_like(prompts, dtype=torch.bool) if mask is None else mask
        self._tokens = prompts[:, -1:]  # [B, nodes]
        self._depths = torch.zeros_like(self._tokens)  # [B, nodes]
        self._paths = torch.zeros_like(prompts[:, :1, None].expand(-1, -1, depth + 1))  # [B, nodes, depth + 1]
        self._position = self.mask.sum(1, keepdim=True) - 1  # [B, 1]: of the prompt's last token

    @property
    def size(self) -> int:
        """Number of nodes, the root included; the next node attached gets this number."""
        return self._tokens.shape[1]

    def attach(self, tokens: Tensor, parents: Tensor) -> Tensor:
        """Add a node for each of `tokens` [B, m] under the nodes `parents` [B, m]; returns their numbers [B, m]."""
        levels = torch.arange(self._paths.shape[2], device=tokens.device)
        numbers = torch.arange(self.size, self.size + tokens.shape[1], device=tokens.device).expand_as(tokens)
        depths = (self._depths.gather(1, parents) + 1).clamp(max=len(levels) - 1)
        above = self._paths.gather(1, parents.unsqueeze(-1).expand(-1, -1, len(levels)))
        paths = torch.where(levels >= depths.unsqueeze(-1), numbers.unsqueeze(-1), above)
        self._tokens = torch.cat([self._tokens, tokens], 1)
        self._depths = torch.cat([self._depths, depths], 1)
        self._paths = torch.cat([self._paths, paths], 1)
        return numbers

    def lineage(self, nodes: Tensor, generations: int) -> Tensor:
        """The nodes [B, m * g] that end in `nodes` [B, m]: g - 1 ancestors of each (the root has itself), then they."""
        depths = self._depths.gather(1, nodes)
        paths = self._paths.gather(1, nodes.unsqueeze(-1).expand(-1, -1, self._paths.shape[2]))
        back = torch.arange(generations - 1, -1, -1, device=nodes.device).view(1, -1, 1)
        return paths.transpose(1, 2).gather(1, (depths.unsqueeze(1) - back).clamp(min=0)).flatten(1)

    def inputs(self, nodes: Tensor, *, prompt: bool, slots: int) -> dict[str, Tensor]:
        """Model inputs for a pass over `nodes` [B, m] whose keys lie in `slots` cache slots, with the prompt or after.

        The prompt's P tokens have slots 0 to P - 1 and node n has slot P - 1 + n, so that the root is the prompt's last
        token. Returns tokens, the bool mask [B, 1, tokens, slots] of what each may see, and positions; `prompt` puts
        the prompt's other P - 1 tokens in front.
        """
        before = self.prompts.shape[1] - 1
        tokens, depths = self._tokens.gather(1, nodes), self._depths.gather(1, nodes)
        paths = self._paths.gather(1, nodes.unsqueeze(-1).expand(-1, -1, self._paths.shape[2]))
        sees = self.mask.new_zeros(*nodes.shape, slots)
        sees[..., :before] = self.mask[:, None, :-1]
        sees.scatter_(2, paths + before, True)
        positions = self._position + depths
        if prompt:
            tokens = torch.cat([self.prompts[:, :-1], tokens], 1)
            positions = torch.cat([(self.mask.cumsum(1) - 1).clamp(min=0)[:, :-1], positions], 1)
            sees = torch.cat([self._prompt_sees(slots), sees], 1)
        return {"input_ids": tokens, "attention_mask": sees.unsqueeze(1), "position_ids": positions}

    def keep(self, rows: Tensor) -> None:
        """Go on with the prompts `rows` only."""
        for name in ("prompts", "mask", "_tokens", "_depths", "_paths", "_position"):
            setattr(self, name, getattr(self, name)[rows])

    def _prompt_sees(self, slots: int) -> Tensor:
        """bool [B, P - 1, slots]: causal, padding left out; padding sees itself, as softmax over nothing is NaN."""
        length = self.prompts.shape[1]
        causal = torch.ones(length - 1, slots, dtype=torch.bool, device=self.mask.device).tril()
        itself = torch.eye(length - 1, slots, dtype=torch.bool, device=self.mask.device)
        real = torch.nn.functional.pad(self.mask, (0, slots - length))
        return (causal & real.unsqueeze(1)) | itself
