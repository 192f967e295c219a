"""Which models the tree attention is right for. A wrong list returned quietly is the worst outcome, so: refuse."""

from transformers import PreTrainedModel

from specbeam.errors import SpecbeamError

TESTED_FAMILIES = ("llama", "qwen3", "mistral", "gpt2")
"""`config.model_type` of the families whose beam search is compared with `generate` in tests/equivalence."""


def check_model(model: PreTrainedModel) -> None:
    """Raise SpecbeamError unless `model` takes a 4D boolean mask correctly, as tested against generate."""
    family, attention = model.config.model_type, model.config._attn_implementation
    if family not in TESTED_FAMILIES:
        raise SpecbeamError(
            f"model family {family!r} is not among those whose tree attention is tested "
            f"({', '.join(TESTED_FAMILIES)}); add it to tests/equivalence and to "
            "specbeam.decoding.support once its lists equal generate's"
        )
    if attention != "sdpa":
        raise SpecbeamError(f"tree attention needs attn_implementation='sdpa', the model was loaded with {attention!r}")


def check_length(model: PreTrainedModel, length: int) -> None:
    """Raise SpecbeamError when `length` slots (prompt and tree) outgrow a sliding window, whose mask is not ours."""
    window = getattr(model.config, "sliding_window", None)
    if window is not None and length > window:
        raise SpecbeamError(
            f"prompt and tree take {length} slots, the model's sliding window is {window}: shorten prompt.history, "
            "or narrow the draft"
        )
