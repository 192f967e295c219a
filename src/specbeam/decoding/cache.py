"""Keys and values of a token tree: every token has a place of its own, and nothing is ever moved.

The prompt is stored once for all beams. Nodes that failed verification stay where they are and are never seen again.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import CacheLayerMixin

from specbeam.errors import SpecbeamError

Empty = list[tuple[Tensor, Tensor]]
"""Keys and values [1, heads, 0, size] of each layer of a model."""


class SlotLayer(CacheLayerMixin):
    """Keys and values of one layer, each token's at a place of its own."""

    is_sliding = False

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        """`keys` and `values` [B, heads, slots, size] hold zeros: a masked NaN would still spread."""
        super().__init__()
        self.keys, self.values = keys, values
        self.is_initialized = True

    def expect(self, places: Tensor, slots: int) -> None:
        """The next `update` brings the tokens for `places` int64 [B, m]; `slots` places are in use then.

        Room for more is made here rather than in `update`, which is compiled with the model.
        """
        self._places, self._slots = places, slots
        if self.keys.shape[2] <= slots:
            more = (0, 0, 0, 3 * slots // 2 + 1 - self.keys.shape[2])
            self.keys, self.values = F.pad(self.keys, more), F.pad(self.values, more)

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Store the tokens; returns all keys and values in use."""
        for stored, fresh in ((self.keys, key_states), (self.values, value_states)):
            if len(fresh) == 1:
                stored.index_copy_(2, self._places[0], fresh)
            else:
                stored.scatter_(2, self._places[:, None, :, None].expand_as(fresh), fresh)
        return self.keys[:, :, : self._slots], self.values[:, :, : self._slots]

    def keep(self, rows: Tensor) -> None:
        """Drop all other rows."""
        self.keys, self.values = self.keys[rows], self.values[rows]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing is left to do."""

    def get_seq_length(self) -> int:
        """Places in use."""
        return self._slots

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Keys seen, and their offset; models ask only where no mask is given."""
        return self._slots, 0

    def get_max_length(self) -> int:
        """No limit."""
        return -1


@torch.inference_mode()
def empty_cache(model: PreTrainedModel) -> Empty:
    """What each layer stores of no tokens, found by reading one."""
    token = torch.zeros(1, 1, dtype=torch.int64, device=model.device)
    layers = getattr(model.base_model(input_ids=token, use_cache=True).past_key_values, "layers", [])
    stored = [(getattr(layer, "keys", None), getattr(layer, "values", None)) for layer in layers]
    if not stored or not all(isinstance(x, Tensor) and x.ndim == 4 for layer in stored for x in layer):
        raise SpecbeamError(
            f"{type(model).__name__}: expected attention with keys and values in every layer, which a token tree needs"
        )
    return [(keys[:, :, :0], values[:, :, :0]) for keys, values in stored]
