"""A tiny sentence-transformers model: a random BERT with a tokenizer of words, mean pooling and unit length."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = ["[PAD]", "[UNK]", "red", "green", "lipstick", "shampoo"]


def save_encoder(folder: Path) -> Path:
    """Write it to `folder`, and return that."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    base = folder.with_name(f"{folder.name}-base")
    PreTrainedTokenizerFast(tokenizer_object=words, model_max_length=16, **special).save_pretrained(base)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        BertModel(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes)).save_pretrained(base)
    inner = Transformer(str(base))
    SentenceTransformer(modules=[inner, Pooling(8, "mean"), Normalize()], device="cpu").save(str(folder))
    return folder
