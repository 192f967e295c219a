"""The draft that every objective starts from: a language model of users' histories, or of what the target says of them.

Apart from specbeam.target.train, so that a change of how drafts are trained does not train the target again.
"""

from pathlib import Path
from typing import Any

import torch

from specbeam import models
from specbeam.data.prepared import load
from specbeam.distillation import distilled
from specbeam.errors import SpecbeamError
from specbeam.target.train import learn, task_of
from specbeam.trie import Trie


def train_draft(
    *, prepared: Path, settings: Any, model: Path, losses: Path, threads: int, target: Path | None = None
) -> None:
    """Train the draft as a language model (what a pretrained draft brings from its pre-training), or distil `target`.

    Writes the model folder and the loss table, atomically. Raises SpecbeamError when draft.training.distil is set
    without a `target`, or a `target` is given that would not be read.
    """
    own = settings.draft
    if own.training.distil != (target is not None):
        raise SpecbeamError(
            f"train-draft: draft.training.distil is {str(own.training.distil).lower()}, so expected "
            f"{'the folder of the target' if own.training.distil else 'no target'}, got {target or 'none'}"
        )
    torch.set_num_threads(threads)
    data = load(prepared)
    task, builder = task_of(data, settings.prompt, own.training)
    if target is not None:
        device = models.choose_device(settings.device)
        teacher = models.load(target, dtype=settings.target.model.dtype, device=device)
        task = distilled(task, teacher, Trie.of(builder.identifiers).to(device), pad=builder.pad_id)
    learn(task, own, data.tokenizer, settings, model=model, losses=losses, name="draft")
