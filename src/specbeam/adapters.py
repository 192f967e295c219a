"""Low-rank adapters (LoRA) on a pretrained model, and their folding into its weights."""

from collections.abc import Sequence

from transformers import PreTrainedModel

from specbeam.errors import SpecbeamError
from specbeam.settings import LoraSettings


def with_adapters(model: PreTrainedModel, lora: LoraSettings, items: Sequence[int]) -> PreTrainedModel:
    """A peft model: adapters on the named projections, and trained rows of embedding and head, all in float32.

    Adapters alone would leave the item tokens where they start, all at one point. `lora.rows`: "new" trains the rows of
    the tokens `items`, in the embedding and in the head; "all" trains both matrices whole. A trained weight costs 16
    bytes (itself, its gradient, two moments of Adam): of LLaMA-7B with the items of Beauty 0.1 GB for the new rows, 4.3
    GB for all, so "new" is the default, although each pass then copies both matrices (0.5 GB in bfloat16). The rows of
    words stay what pre-training made them. Raises SpecbeamError for projections that the model does not have.
    """
    from peft import LoraConfig, get_peft_model

    head = model.get_output_embeddings()
    names = {module: name.rpartition(".")[2] for name, module in model.named_modules()}
    parts = sorted({names[module] for module in (model.get_input_embeddings(), head)})
    if lora.rows == "new":
        if not items:
            raise ValueError("lora.rows new: expected the item tokens whose rows to train, got none")
        if getattr(head, "bias", None) is not None:
            raise SpecbeamError("lora.rows new: expected a head without bias, this model's has one; set rows: all")
        rows = {"trainable_token_indices": dict.fromkeys(parts, sorted(items))}
    else:
        rows = {"modules_to_save": parts, "ensure_weight_tying": bool(model.config.tie_word_embeddings)}
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.modules,
        **rows,
    )
    try:
        adapted = get_peft_model(model, config)
    except ValueError as error:
        raise SpecbeamError(f"lora.modules: expected names of projections of this model: {error}") from error
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()  # peft keeps them in the base's precision
    return adapted


def moved(adapted: PreTrainedModel, base: PreTrainedModel) -> PreTrainedModel:
    """The trained weights of `adapted` on another copy of its base, such as one that is not quantised."""
    from peft import get_peft_model

    trained = {name: weight.detach() for name, weight in adapted.named_parameters() if weight.requires_grad}
    copy = get_peft_model(base, adapted.peft_config["default"])
    unknown = copy.load_state_dict(trained, strict=False).unexpected_keys
    if unknown:
        raise RuntimeError(f"trained weights that the base in full precision does not have: {unknown}")
    return copy
