"""Rankings of target and baselines, as figure and table read them."""

import pytest

import generated_records as generated
from specbeam.errors import SpecbeamError
from specbeam.figures import recall


def test_a_ranking_that_lacks_a_column_is_refused(tmp_path):
    generated.ranking().drop(columns="ndcg").to_csv(tmp_path / "ranking.csv")
    with pytest.raises(SpecbeamError, match=r"missing column\(s\) ndcg"):
        recall.read_rankings([tmp_path / "ranking.csv"])
    with pytest.raises(SpecbeamError, match=r"one ranking.csv among the inputs"):
        recall.read_rankings([tmp_path / "records.parquet"])


def test_a_recommender_that_two_rankings_rate_is_refused(tmp_path):
    for name in ("one", "other"):
        generated.ranking().to_csv(tmp_path / f"{name}.csv")
    with pytest.raises(SpecbeamError, match="target, popularity is rated twice"):
        recall.read_rankings([tmp_path / "one.csv", tmp_path / "other.csv"])


def test_every_baseline_that_was_rated_is_in_the_legend():
    quality = recall.data(generated.evaluation("sft"), generated.ranking(recommenders=["target", *recall.BASELINES]))
    legend = [text.get_text() for text in recall.draw(quality).legends[0].get_texts()]
    names = ("popularity", "last-item transitions", "co-occurrence", "SASRec")
    assert {f"{name} (400 users)" for name in names} <= set(legend)
