"""transformers' `generate`, with its beam search done here.

`model.generate(**inputs, num_beams=K, ..., custom_generate=recommender.custom_generate)` prepares inputs and settings
as ever, and then calls `generate` below in place of its own beam search. What comes back is what that would have
returned. A setting that cannot be honoured is refused; none is ignored.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel
from transformers.generation import GenerateBeamDecoderOnlyOutput, GenerationMode
from transformers.generation.logits_process import (
    LogitNormalization,
    LogitsProcessorList,
    PrefixConstrainedLogitsProcessor,
)
from transformers.generation.stopping_criteria import EosTokenCriteria, MaxLengthCriteria, StoppingCriteriaList

from specbeam.decoding.lists import Ranking
from specbeam.decoding.reader import Scorer
from specbeam.errors import SpecbeamError
from specbeam.trie import NO_TOKEN, Trie


def generate(
    model: PreTrainedModel,
    input_ids: Tensor,
    *,
    target: Scorer,
    search: Callable[..., Ranking],
    logits_processor: LogitsProcessorList,
    stopping_criteria: StoppingCriteriaList,
    generation_config: GenerationConfig,
    **model_kwargs: Any,
) -> Tensor | GenerateBeamDecoderOnlyOutput:
    """What transformers' beam search returns; called by `model.generate`, with what it calls its own with.

    Args:
        model: whose `generate` calls.
        input_ids: int64 [B * K, P], every prompt K times (num_beams), padded on the left.
        target: the recommender's, which has to be `model` made ready.
        search: (prompts [B, P], K, mask=bool [B, P]) -> their lists.
        model_kwargs: what else the model would have been called with.

    Returns:
        Tokens [B * R, P + T] of the R best (num_return_sequences), prompts and padding included; or, with
        `return_dict_in_generate`, an object with them as `sequences`, and with `output_scores` their `sequences_scores`
        [B * R]. It has none of the `scores`, `beam_indices` and `past_key_values` by step.

    Raises SpecbeamError, saying what to change, for settings that the recommender cannot honour.
    """
    if model is not target.model:
        raise SpecbeamError("custom_generate: this recommender was made for another model; make one for this")
    trie, beams, length = target.trie, generation_config.num_beams, input_ids.shape[1]
    room = generation_config.max_length - length
    _check_search(generation_config, target.normalise)
    _check_stopping(generation_config, stopping_criteria, trie, room)
    _check_inputs(model_kwargs)
    allowed = _allowed(logits_processor)

    prompts = input_ids[::beams]
    mask = model_kwargs.get("attention_mask")
    mask = torch.ones_like(prompts, dtype=torch.bool) if mask is None else mask[::beams].bool()
    if not mask[:, -1].all():
        raise SpecbeamError("custom_generate: prompts are padded on the right; set the tokenizer's padding_side='left'")
    found = search(prompts.to(model.device), beams, mask=mask.to(model.device))
    best, returned = found.sequences.to(input_ids.device), generation_config.num_return_sequences
    if best.shape[1] < returned:
        raise SpecbeamError(
            f"num_return_sequences={returned}: the catalogue has {best.shape[1]} identifiers; ask for as many at most"
        )
    if allowed is not None:
        _check_constraint(allowed, prompts[0], best[0, 0], trie)

    best, scores = best[:, :returned].flatten(0, 1), found.scores[:, :returned].flatten().to(input_ids.device)
    lengths = (best != NO_TOKEN).sum(1)
    written = best[:, : lengths.max()].masked_fill(best[:, : lengths.max()] == NO_TOKEN, _filler(generation_config))
    sequences = torch.cat([prompts.repeat_interleave(returned, 0), written], 1)
    if not generation_config.return_dict_in_generate:
        return sequences
    scores = scores / lengths**generation_config.length_penalty if generation_config.output_scores else None
    return GenerateBeamDecoderOnlyOutput(sequences=sequences, sequences_scores=scores)


def _check_search(config: GenerationConfig, normalise: str) -> None:
    mode = config.get_generation_mode()
    if mode not in (GenerationMode.BEAM_SEARCH, GenerationMode.GREEDY_SEARCH):
        raise SpecbeamError(
            f"custom_generate: expected a beam search, these settings ask for {mode.value}; set do_sample=False and "
            "leave out what asks for it"
        )
    if (normalise == "children") != bool(config.renormalize_logits):
        raise SpecbeamError(
            f"renormalize_logits={config.renormalize_logits}, but the recommender has normalise={normalise!r}: "
            'renormalize_logits=True is "children", False is "vocabulary"; change one of them'
        )
    for name in ("output_logits", "output_attentions", "output_hidden_states", "token_healing"):
        if getattr(config, name):
            raise SpecbeamError(f"custom_generate: {name} cannot be had from it; leave it out")


def _check_stopping(config: GenerationConfig, criteria: StoppingCriteriaList, trie: Trie, room: int) -> None:
    """Refuse settings under which `generate` would not end each sequence where its identifier ends."""
    for criterion in criteria:
        if not isinstance(criterion, MaxLengthCriteria | EosTokenCriteria):
            raise SpecbeamError(
                f"custom_generate: {type(criterion).__name__} stops a search midway; leave that criterion out"
            )
    eos = config._eos_token_tensor
    eos = torch.tensor([], dtype=torch.int64) if eos is None else eos.cpu()
    tokens, ends = trie.tokens.cpu(), trie.ends[: len(trie.tokens)].cpu()
    stops = torch.isin(tokens, eos)
    if (stops & ~ends).any():
        token = int(tokens[stops & ~ends][0])
        raise SpecbeamError(f"eos_token_id: {token} stands inside an identifier; pass eos_token_id=None")
    all_stop, even = bool(stops[ends].all()), not any(trie.ending[:-1])
    if room < trie.depth or (room > trie.depth and not all_stop):
        raise SpecbeamError(
            f"max_new_tokens: expected {trie.depth}, the length of the identifiers, got {room}"
            + ("" if all_stop else "; more needs an end token (Recommender(end=...)) that is generate's eos_token_id")
        )
    if not even and not all_stop:
        raise SpecbeamError(
            "identifiers of different lengths: generate stops at an end token only; make the recommender with end=..., "
            "and pass it as eos_token_id"
        )
    if not even and (config.length_penalty != 0 or config.early_stopping is True):
        raise SpecbeamError(
            "identifiers of different lengths are ranked by their probability here: pass length_penalty=0.0 and "
            f"early_stopping=False; got {config.length_penalty} and {config.early_stopping}"
        )


def _check_inputs(given: dict[str, Any]) -> None:
    """Refuse inputs besides the prompts' tokens and padding."""
    cache, mask, positions = (given.get(name) for name in ("past_key_values", "attention_mask", "position_ids"))
    if cache is not None and cache.get_seq_length():
        raise SpecbeamError("custom_generate: it starts from the whole prompt; leave past_key_values out")
    if positions is not None:
        usual = torch.arange(positions.shape[1]) if mask is None else (mask.cpu().cumsum(1) - 1).clamp(min=0)
        real = torch.ones_like(positions, dtype=torch.bool) if mask is None else mask.bool()
        if ((positions.cpu() != usual) & real.cpu()).any():
            raise SpecbeamError("custom_generate: positions count the prompt's tokens from 0; leave position_ids out")
    known = {"past_key_values", "attention_mask", "position_ids", "use_cache", "logits_to_keep"}
    if unknown := [name for name, value in given.items() if name not in known and value is not None]:
        raise SpecbeamError(f"custom_generate: the model's input {unknown[0]} is not passed on; leave it out")


def _allowed(processors: LogitsProcessorList) -> Callable[[int, Tensor], list[int]] | None:
    """The prefix constraint that was given, if any; what else would change scores is refused."""
    allowed = None
    for processor in processors:
        if isinstance(processor, PrefixConstrainedLogitsProcessor):
            allowed = processor._prefix_allowed_tokens_fn
        elif not isinstance(processor, LogitNormalization):
            raise SpecbeamError(
                f"custom_generate: {type(processor).__name__} changes the scores, which cannot be followed; leave out "
                "the setting that asks for it"
            )
    return allowed


def _check_constraint(allowed: Callable[[int, Tensor], list[int]], prompt: Tensor, best: Tensor, trie: Trie) -> None:
    """Refuse a prefix constraint that allows other tokens than the items, as far as one identifier shows."""
    states, written = trie.walk(best.to(trie.tokens.device)).tolist(), best[best != NO_TOKEN]
    for depth in range(len(written)):
        state = states[depth - 1] if depth else 0
        ours = trie.tokens[trie.first_edge[state] : trie.first_edge[state + 1]].tolist()
        theirs = sorted(set(map(int, allowed(0, torch.cat([prompt, written[:depth]])))))
        if theirs != ours:
            raise SpecbeamError(
                f"prefix_allowed_tokens_fn allows {len(theirs)} tokens after {written[:depth].tolist()}, the "
                f"recommender's items {len(ours)}, or others: make the recommender of the same items (and end token)"
            )


def _filler(config: GenerationConfig) -> Tensor | int:
    """What stands behind shorter sequences; a pad token of 0 counts as none, as in transformers."""
    eos, pad = config._eos_token_tensor, config._pad_token_tensor
    return -1 if eos is None else (pad or eos[0])
