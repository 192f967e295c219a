"""Target calls by the size and the shape of the drafted tree: the paper's flat N a level against widths by level."""

from itertools import chain
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

from specbeam.decoding.drafters import Drafter
from specbeam.decoding.inputs import SearchInputs
from specbeam.decoding.lists import search
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import Strict
from specbeam.decoding.trace import Trace, best_tree
from specbeam.measurement.counting import BATCH, counts, same_lists


def compare_trees(inputs: SearchInputs, target: Scorer, drafter: Drafter, settings: Any) -> pd.DataFrame:
    """Strict lists of test users at the largest K, for each size of tree in both shapes.

    Validation users, whose lists are not measured, decide the shape. Sizes that do not hold the beams of every level
    grow until they do. Columns: see specbeam.measurement.records, kind `trees`, without dataset, objective and seed.
    """
    beam_width, levels = max(settings.measurement.beam_widths), target.trie.depth - 1
    users = settings.measurement.tree_users
    shaping = [history for _, history, _ in inputs.sampled_users("valid", users, settings.seed)]
    batches = [(prompts, mask) for _, prompts, mask in inputs.batches(shaping, BATCH, name="shape trees")]
    trace, plans = Trace.of(target, drafter, batches, beam_width, Strict()), []
    for size in sorted({max(size, levels * beam_width) for size in settings.measurement.tree_nodes}):
        plans.append(("flat", size, Plan((size // max(levels, 1),) * levels)))
        plans.append(("shaped", size, best_tree(trace, beam_width, size)))
    users = inputs.sampled_users("test", users, settings.seed)

    def work(chosen: np.ndarray, prompts: Tensor, mask: Tensor) -> list[list[dict[str, Any]]]:
        rows: list[list[dict[str, Any]]] = [[] for _ in chosen]
        batch = {"beam_width": beam_width, "mask": mask, "apart": True}
        own = search(target, prompts, **batch)
        for shape, size, plan in plans:
            found = search(target, prompts, drafter=drafter, plan=plan, **batch)
            names = {"shape": shape, "widths": " ".join(map(str, plan.widths)), "K": beam_width, "size": size}
            each = zip(rows, chosen, found.counters.each, same_lists(found, own), strict=True)
            for of_user, i, counters, same in each:
                of_user.append({**names, "user": users[i][0], **counts(counters), "same_as_target": same})
        return rows

    rows = inputs.in_batches(work, [history for _, history, _ in users], BATCH, name="trees")
    return pd.DataFrame(chain.from_iterable(rows)).sort_values("user", kind="stable", ignore_index=True)
