"""A tiny pretrained Llama with a tokenizer of words, as a folder, and a catalogue whose tokens it does not know."""

from pathlib import Path

import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from specbeam.catalogue import Catalogue

WORDS = ["<pad>", "<s>", "</s>", "<unk>", "the", "user", "bought"]
CATALOGUE = Catalogue.of({str(item): [f"<a_{item % 3}>", f"<b_{item}>"] for item in range(9)})


def save_pretrained(folder: Path, *, tied: bool = False, rows: int = len(WORDS)) -> Path:
    """Write model and tokenizer to `folder`, and return it; `rows` beyond the words are room that the model has."""
    words = Tokenizer(WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=words, **special).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=rows, tie_word_embeddings=tied, **sizes))
    model.save_pretrained(folder)
    return folder
