"""The embedded default is worth accelerating: its target has learned something."""

import pandas as pd
import pytest

pytestmark = pytest.mark.slow


def test_the_default_target_clearly_beats_popularity(checkout):
    # One thread: two that wait for one another, beside other tests, take four times as long.
    done = checkout.snakemake("target", "--config", 'threads={"target": 1}', config="config")
    assert done.returncode == 0, done.stdout
    ranking = pd.read_csv(checkout.folder / "results/default/synthetic/target/ranking.csv")
    at_ten = ranking[ranking["K"] == 10].set_index("recommender")
    assert at_ten.loc["target", "recall_low"] > 2 * at_ten.loc["popularity", "recall_high"]
