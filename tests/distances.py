"""How far sampled lists are from the target's own sample: prints the table of docs/method.md.

Total variation distance of inclusion probabilities over K, on the catalogue and models of equivalence/test_sampling.py.
"""

import sys

from inclusion import distance, sampled_lists
from models_for_tests import nearly, random_prompt, tiny_model
from specbeam.decoding.drafters import ModelDrafter
from specbeam.decoding.plan import Plan
from specbeam.decoding.reader import Scorer
from specbeam.decoding.rules import rule_of
from specbeam.trie import Trie

RUNS = 8000
ITEMS = [[2 + first, 20 + second] for first in range(8) for second in range(2)]
RULES = ("relaxed", "relaxed-ranked", "coupled")
CASES = [("target", 1, 4), ("near", 1, 1), ("near", 1, 2), ("near", 1, 4), ("near", 1, 6)]
CASES += [("near", 3, 3), ("near", 3, 5), ("near", 3, 8)]


def main() -> None:
    trie, prompt = Trie.of(ITEMS), random_prompt(0, 3)
    model = tiny_model(seed=3, peak=6.0)
    models = {"target": model, "near": nearly(model, 0.3)}
    scorers = {name: Scorer.of(model, trie, normalise="children") for name, model in models.items()}
    target = scorers["target"]
    sys.stdout.write("| draft | K | N | floor | " + " | ".join(RULES) + " |\n|---|---|---|---|---|---|---|\n")
    for draft, beam_width, width in CASES:
        options = {"beam_width": beam_width, "runs": RUNS}
        owns = {name: sampled_lists(target, prompt, rule_of(name, seed=1), **options) for name in RULES}
        again = sampled_lists(target, prompt, rule_of("relaxed", seed=3), **options)
        found = [distance(owns["relaxed"], again, len(ITEMS))]
        drafting = {"drafter": ModelDrafter.of(scorers[draft]), "plan": Plan.flat(width, 1, 2)}
        for name in RULES:
            helped = sampled_lists(target, prompt, rule_of(name, seed=2), **options, **drafting)
            found.append(distance(owns[name], helped, len(ITEMS)))
        values = " | ".join(f"{value:.3f}" for value in found)
        sys.stdout.write(f"| {draft} | {beam_width} | {width} | {values} |\n")


if __name__ == "__main__":
    main()
