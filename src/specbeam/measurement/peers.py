"""The peer to compare with: transformers' `generate`, constrained by its callback."""

from collections import defaultdict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel


def allowed_tokens(identifiers: np.ndarray, constraint: str) -> Callable[[Tensor], list[int]]:
    """A function from the tokens written so far (1D) to those allowed next, by look-up in a dict, as users do today.

    `identifiers` int [items, L]; `constraint` "trie" (real items) or "position" (any token seen at that position).
    """
    following: dict[tuple[int, ...] | int, set[int]] = defaultdict(set)
    for identifier in identifiers.tolist():
        for depth, token in enumerate(identifier):
            following[tuple(identifier[:depth]) if constraint == "trie" else depth].add(token)
    lists = {prefix: sorted(tokens) for prefix, tokens in following.items()}
    if constraint == "trie":
        return lambda written: lists[tuple(written.tolist())]
    return lambda written: lists[len(written)]


def generate(
    model: PreTrainedModel,
    prompt: Tensor,
    allowed: Callable[[Tensor], list[int]],
    *,
    beam_width: int,
    identifier_length: int,
    normalise: str,
) -> tuple[Tensor, Tensor]:
    """transformers' beam search for one prompt [1, P]: sequences [K, L] and accumulated scores [K], best first.

    The options are those of `generate_batch`.
    """
    mask = torch.ones_like(prompt, dtype=torch.bool)
    options = {"beam_width": beam_width, "identifier_length": identifier_length, "normalise": normalise}
    sequences, scores = generate_batch(model, prompt, mask, allowed, **options)
    return sequences[0], scores[0]


@torch.inference_mode()
def generate_batch(
    model: PreTrainedModel,
    prompts: Tensor,
    mask: Tensor,
    allowed: Callable[[Tensor], list[int]],
    *,
    beam_width: int,
    identifier_length: int,
    normalise: str,
) -> tuple[Tensor, Tensor]:
    """transformers' beam search for left-padded prompts [B, P]: sequences [B, K, L] and scores [B, K], best first.

    `mask` bool [B, P] is False at padding; `allowed` is made by `allowed_tokens`. `normalise="children"` is its
    `renormalize_logits=True`. With K = 1, generate searches greedily.
    """
    beams = {"length_penalty": 0.0, "early_stopping": False} if beam_width > 1 else {}
    config = GenerationConfig(
        num_beams=beam_width,
        num_return_sequences=beam_width,
        do_sample=False,
        max_new_tokens=identifier_length,
        renormalize_logits=normalise == "children",
        output_scores=True,
        output_logits=beam_width == 1,
        return_dict_in_generate=True,
        pad_token_id=0,
        **beams,
    )
    length = prompts.shape[1]
    found = model.generate(
        prompts,
        attention_mask=mask.long(),
        generation_config=config,
        prefix_allowed_tokens_fn=lambda _, tokens: allowed(tokens[length:]),
    )
    sequences = found.sequences[:, length:].unflatten(0, (-1, beam_width))
    if beam_width > 1:
        return sequences, found.sequences_scores.unflatten(0, (-1, beam_width))
    steps = found.scores if normalise == "children" else [step.log_softmax(-1) for step in found.logits]
    written = sequences[:, 0].unbind(1)
    each = [step.gather(1, tokens.unsqueeze(1)) for step, tokens in zip(steps, written, strict=True)]
    return sequences, torch.cat(each, 1).sum(1, keepdim=True)
