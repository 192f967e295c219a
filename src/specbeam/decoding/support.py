"""Which models tree attention is right for. A wrong list returned quietly is the worst outcome, so: refuse."""

import torch
from torch import Tensor
from transformers import PreTrainedModel

from specbeam.errors import SpecbeamError
from specbeam.trie import Trie

TESTED_FAMILIES = ("llama", "qwen3", "qwen3_moe", "mistral", "gemma3_text", "phi3", "gpt2", "gpt_neox", "opt")
"""`config.model_type` of the families whose lists are compared with `generate`'s in tests/equivalence.

Models of other families are probed when they are first used (specbeam.decoding.reader), or refused.
"""


def check_attention(model: PreTrainedModel) -> None:
    """Raise SpecbeamError unless `model` runs the attention that takes a mask of our own."""
    attention = model.config._attn_implementation
    if attention != "sdpa":
        raise SpecbeamError(
            f"tree attention needs attn_implementation='sdpa', the model was loaded with {attention!r}: load it with "
            "attn_implementation='sdpa', or call model.set_attn_implementation('sdpa')"
        )


def check_logits(model: PreTrainedModel) -> None:
    """Raise SpecbeamError for a model that changes the logits after its head, which is applied here by itself."""
    if getattr(model.config.get_text_config(), "final_logit_softcapping", None):
        raise SpecbeamError("the model caps its logits (final_logit_softcapping), which the search does not follow")


def check_trie(model: PreTrainedModel, trie: Trie) -> None:
    """Raise SpecbeamError unless the model can write every token of the trie."""
    written = model.get_output_embeddings().weight.shape[0]
    if trie.vocabulary > written:
        raise SpecbeamError(
            f"the catalogue uses token ids up to {trie.vocabulary - 1}, the model writes {written} "
            "tokens: they do not belong together"
        )


def check_mask(prompts: Tensor, mask: Tensor) -> None:
    """Raise SpecbeamError unless `mask` is bool, of the prompts' shape, and (looked at on a CPU only) pads the left."""
    if mask.dtype != torch.bool or mask.shape != prompts.shape:
        raise SpecbeamError(
            f"mask: expected bool of the prompts' shape {tuple(prompts.shape)}, got {mask.dtype} {tuple(mask.shape)}"
        )
    if mask.device.type == "cpu" and not (mask[:, -1].all() and (mask[:, 1:] >= mask[:, :-1]).all()):
        raise SpecbeamError("mask: expected padding (False) on the left of each prompt only, and a token at its end")


def check_search(model: PreTrainedModel, prompts: Tensor, trie: Trie, beam_width: int) -> None:
    """Raise SpecbeamError for a model, prompts or a width that no search can work on."""
    check_attention(model)
    if model.training:
        raise SpecbeamError("the model is in training mode, its dropout would change the lists: call model.eval()")
    if beam_width < 1:
        raise SpecbeamError(f"beam width: expected 1 or more items a list, got {beam_width}")
    if prompts.ndim != 2 or 0 in prompts.shape or prompts.dtype != torch.int64:
        raise SpecbeamError(
            f"prompts: expected int64 token ids of shape [batch, length > 0], got {prompts.dtype} of shape "
            f"{tuple(prompts.shape)}"
        )
    for name, limit in (("context", "max_position_embeddings"), ("sliding window", "sliding_window")):
        length = getattr(model.config.get_text_config(), limit, None)
        if length is not None and prompts.shape[1] + trie.depth - 1 > length:
            raise SpecbeamError(
                f"a prompt of {prompts.shape[1]} tokens and an identifier of {trie.depth} exceed the model's {name} of "
                f"{length}: shorten prompt.history"
            )
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    short = rope.get("original_max_position_embeddings")
    if rope.get("rope_type") in ("longrope", "dynamic") and short and prompts.shape[1] + trie.depth - 1 > short:
        raise SpecbeamError(
            f"a prompt of {prompts.shape[1]} tokens and an identifier of {trie.depth} exceed {short}, beyond which the "
            f"positions of this model ({rope['rope_type']}) depend on what else is read: shorten prompt.history"
        )
    if trie.tokens.device != prompts.device:
        raise SpecbeamError(f"trie on {trie.tokens.device}, prompts on {prompts.device}: move one with .to(device)")
