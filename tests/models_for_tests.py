"""Tiny models with decided opinions, and random catalogues for them."""

import numpy as np
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

VOCABULARY = 160


def tiny_model(
    family: str = "llama", *, seed: int, hidden: int = 32, layers: int = 2, peak: float = 6.0
) -> PreTrainedModel:
    """A random model of a family; `peak` scales its weights: the larger, the more decided its predictions."""
    sizes = {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 2 * hidden,
    }
    common = {"vocab_size": VOCABULARY, "max_position_embeddings": 128, "attn_implementation": "sdpa"}
    common |= {"eos_token_id": None, "bos_token_id": None}  # so that no item token means something else
    grouped = {"num_key_value_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if family == "llama":
            model: PreTrainedModel = LlamaForCausalLM(LlamaConfig(**sizes, **common, **grouped))
        elif family == "qwen3":
            tied = {"tie_word_embeddings": True, "head_dim": 8}
            model = Qwen3ForCausalLM(Qwen3Config(**sizes, **common, **grouped, **tied))
        elif family == "mistral":
            model = MistralForCausalLM(MistralConfig(**sizes, **common, **grouped, sliding_window=None))
        else:
            model = GPT2LMHeadModel(
                GPT2Config(
                    n_positions=128, n_embd=hidden, n_layer=layers, n_head=4,
                    **{key: value for key, value in common.items() if key != "max_position_embeddings"},
                )
            )  # fmt: skip
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


def random_prompt(seed: int, length: int) -> torch.Tensor:
    """int64 [1, length]."""
    return torch.randint(2, VOCABULARY, (1, length), generator=torch.Generator().manual_seed(seed))
