"""Target calls by the size and the shape of the drafted tree: the paper's flat N a level against widths by level."""

from typing import Any

import pandas as pd
import torch

from specbeam.decoding.drafters import Drafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Strict
from specbeam.decoding.trace import Trace, best_tree

BATCH = 8


def compare_trees(inputs: SearchInputs, target: Scorer, drafter: Drafter, settings: Any) -> pd.DataFrame:
    """Strict lists of test users at the largest K, for each size of tree in both shapes.

    Validation users, whose lists are not measured, decide the shape. Sizes that do not hold the beams of every level
    grow until they do. Columns: see specbeam.measurement.records, kind `trees`, without dataset and objective.
    """
    beam_width, levels = max(settings.measurement.beam_widths), target.trie.depth - 1
    users = settings.measurement.tree_users
    shaping = [history for _, history, _ in inputs.sampled_users("valid", users, settings.seed)]
    batches = [(prompts, mask) for _, prompts, mask in inputs.batches(shaping, BATCH, name="shape trees")]
    trace, plans = Trace.of(target, drafter, batches, beam_width, Strict()), []
    for size in sorted({max(size, levels * beam_width) for size in settings.measurement.tree_nodes}):
        plans.append(("flat", size, Plan((size // max(levels, 1),) * levels)))
        plans.append(("shaped", size, best_tree(trace, beam_width, size)))
    rows = []
    for user, history, _ in inputs.sampled_users("test", users, settings.seed):
        prompt = inputs.prompt(history)
        own = search(target, prompt, beam_width=beam_width)
        for shape, size, plan in plans:
            found = search(target, prompt, beam_width=beam_width, drafter=drafter, plan=plan)
            counters = found.counters
            rows.append(
                {
                    "shape": shape,
                    "widths": " ".join(map(str, plan.widths)),
                    "K": beam_width,
                    "size": size,
                    "user": user,
                    "target_calls": counters.target_calls,
                    "draft_calls": counters.draft_calls,
                    "nodes": counters.nodes,
                    "same_as_target": torch.equal(found.sequences, own.sequences),
                }
            )
    return pd.DataFrame(rows)
