"""Tiny models with decided opinions, random catalogues for them, and prompts of different lengths in one batch."""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
import transformers as hf
from torch import Tensor
from transformers import PreTrainedModel

VOCABULARY = 160

FAMILIES = {
    "llama": (hf.LlamaForCausalLM, hf.LlamaConfig, {}),
    "qwen3": (hf.Qwen3ForCausalLM, hf.Qwen3Config, {"head_dim": 8, "tie_word_embeddings": True}),
    "qwen3_moe": (
        hf.Qwen3MoeForCausalLM, hf.Qwen3MoeConfig,
        {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "mistral": (hf.MistralForCausalLM, hf.MistralConfig, {"sliding_window": None}),
    "gemma3_text": (hf.Gemma3ForCausalLM, hf.Gemma3TextConfig, {"head_dim": 8, "sliding_window": 128}),
    "phi3": (hf.Phi3ForCausalLM, hf.Phi3Config, {}),
    "gpt2": (hf.GPT2LMHeadModel, hf.GPT2Config, {}),
    "gpt_neox": (hf.GPTNeoXForCausalLM, hf.GPTNeoXConfig, {}),
    "opt": (hf.OPTForCausalLM, hf.OPTConfig, {}),
    "qwen2": (hf.Qwen2ForCausalLM, hf.Qwen2Config, {}),
    "cohere": (hf.CohereForCausalLM, hf.CohereConfig, {}),
    "granite": (hf.GraniteForCausalLM, hf.GraniteConfig, {"logits_scaling": 3.0}),
}  # fmt: skip


def tiny_model(
    family: str = "llama", *, seed: int, hidden: int = 32, layers: int = 2, peak: float = 6.0, context: int = 128
) -> PreTrainedModel:
    """A random model of a family; `peak` scales its weights: the larger, the more decided its predictions.

    All but gpt2, gpt_neox and opt have two keys for four queries (grouped-query attention); qwen3, gpt2, gemma3_text
    and opt tie the head to the embeddings.
    """
    kind, config, own = FAMILIES[family]
    sizes = {"vocab_size": VOCABULARY, "attn_implementation": "sdpa"}
    sizes |= {"eos_token_id": None, "bos_token_id": None, "pad_token_id": None}  # no item token means something else
    if family == "gpt2":
        sizes |= {"n_positions": context, "n_embd": hidden, "n_layer": layers, "n_head": 4}
    else:
        sizes |= {"hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 4}
        sizes |= {"max_position_embeddings": context}
        sizes |= {"ffn_dim": 2 * hidden, "word_embed_proj_dim": hidden} if family == "opt" else {
            "intermediate_size": 2 * hidden
        }  # fmt: skip
        sizes |= {} if family in ("gpt_neox", "opt") else {"num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = kind(config(**sizes | own))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight.mul_(peak)
    return model.eval()


def random_catalogue(seed: int, *, items: int = 300, length: int = 4, branching: int = 12) -> np.ndarray:
    """Distinct identifiers int64 [at most items, length]; every position has tokens of its own."""
    generator = np.random.default_rng(seed)
    columns = [2 + depth * branching + generator.integers(branching, size=items) for depth in range(length)]
    return np.unique(np.stack(columns, 1), axis=0)


def uneven_catalogue(seed: int, *, items: int = 40, longest: int = 4, branching: int = 4) -> list[list[int]]:
    """Distinct identifiers of 1 to `longest` tokens, some of them the beginning of others."""
    lengths = np.random.default_rng(seed + 1).integers(1, longest + 1, size=items)
    whole = np.random.default_rng(seed).integers(2, 2 + branching, size=(items, longest))
    return sorted({tuple(row[:length]) for row, length in zip(whole.tolist(), lengths, strict=True)})


def random_prompt(seed: int, length: int) -> Tensor:
    """int64 [1, length]."""
    return torch.randint(2, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))


def one_batch(prompts: Sequence[Tensor]) -> dict[str, Tensor]:
    """`prompts` [1, P] each, padded on the left: the arguments `prompts` and `mask` of a search."""
    longest = max(prompt.shape[1] for prompt in prompts)
    missing = [longest - prompt.shape[1] for prompt in prompts]
    padded = [torch.nn.functional.pad(prompt, (more, 0)) for prompt, more in zip(prompts, missing, strict=True)]
    return {"prompts": torch.cat(padded), "mask": torch.arange(longest) >= torch.tensor(missing)[:, None]}


def nearly(model: PreTrainedModel, noise: float) -> PreTrainedModel:
    """A copy with noise on its weights, in units of each weight's spread: a draft that is right now and then."""
    copy = deepcopy(model)
    with torch.no_grad():
        for seed, weight in enumerate(copy.parameters()):
            draw = torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed))
            weight.add_(noise * weight.std(correction=0) * draw)
    return copy
