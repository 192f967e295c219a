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
    *, prepared: Path, settings: Any, seed: int, model: Path, losses: Path, threads: int, target: Path | None = None
) -> None:
    """Train the draft as a language model (what a pretrained draft brings from its pre-training), or distil `target`.

    The draft is new, pretrained, or some layers of `target`; `seed` decides its first weights and the order of
    batches, so that runs may train several. Writes the model folder and the loss table, atomically.
    Raises SpecbeamError when draft.training.distil or draft.model.from_target is set without a `target`, or a `target`
    is given that would not be read.
    """
    own = settings.draft
    distil, layers = own.training.distil, own.model.from_target
    if (distil or layers is not None) != (target is not None):
        raise SpecbeamError(
            f"train-draft: draft.training.distil is {str(distil).lower()} and draft.model.from_target is "
            f"{layers or 'null'}, so expected {'no target' if target else 'the folder of the target'}, "
            f"got {target or 'none'}"
        )
    torch.set_num_threads(threads)
    data = load(prepared)
    task, builder = task_of(data, settings, own.training)
    network = models.create(own.model, data.tokenizer, seed=seed) if layers is None else models.cut(target, layers)
    if distil:
        device = models.choose_device(settings.device)
        teacher = models.load(target, dtype=settings.target.model.dtype, device=device)
        task = distilled(task, teacher, Trie.of(builder.identifiers).to(device), pad=builder.pad_id)
    learn(task, network, own, settings, seed=seed, model=model, losses=losses, name="draft")
