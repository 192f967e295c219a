"""Records with the shape of real ones, for the tests of records, figures and the summary."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from specbeam import provenance
from specbeam.catalogue import Catalogue
from specbeam.files import write_json
from specbeam.measurement import records

OBJECTIVES = ("sft", "seqkd", "wordkd", "tvdkd", "atspeed_s", "atspeed_r", "treekd")
BEAM_WIDTHS = (1, 3, 5, 10, 20)
STAMP = {"device": "cpu", "threads": 2, "dtype": "float32", "seed": 1}
ENVIRONMENT = {
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "dirty": False,
    "versions": {"specbeam": "0.1.0", "torch": "2.13.0"},
    "cpu": "A Processor 9000",
    "device": "cpu",
    "threads": 2,
}
PROVENANCE = {
    "format": 1, "stage": "align", "code": "abc", "options": {"objective": "sft", "seed": 1}, "settings": {},
    "seeds": {"run": 1}, "host": "a-host", "slurm_job": None, "start": "2026-01-02T03:04:05+00:00", "seconds": 60.5,
    "cpu_seconds": 99.0, "memory_mb": 300, **ENVIRONMENT,
}  # fmt: skip
"""What lies beside a result."""


def fix_environment(monkeypatch) -> None:
    """Let records be stamped with the same machine wherever the tests run."""
    monkeypatch.setattr(provenance, "environment", lambda: dict(ENVIRONMENT))


def evaluation(
    objective: str,
    *,
    beam_widths=BEAM_WIDTHS,
    verifications=("strict", "relaxed"),
    users: int = 60,
    draft_beam_width: int = 40,
    seed: int = 1,
    plan: str = "flat",
) -> pd.DataFrame:
    """One objective's evaluation: strict returns the target's own lists, relaxed slightly other ones."""
    skill = OBJECTIVES.index(objective) / 10 + (0.05 if plan == "completed" else 0)
    generator = np.random.default_rng(
        [OBJECTIVES.index(objective), seed - 1] if seed > 1 else OBJECTIVES.index(objective)
    )
    rows = []
    for width in beam_widths:
        own = np.random.default_rng(width)  # the same lists whatever the objective
        recall = (own.random(users) < 0.05 + 0.01 * width) * own.choice([0.5, 1.0], users)
        for verification in (*verifications, "target"):
            first = generator.binomial(3, min(0.98, 0.75 - 0.025 * width + 0.5 * skill), users)
            found = recall if verification != "relaxed" else recall * (generator.random(users) < 0.9)
            alone = verification == "target"
            rows.append(
                pd.DataFrame(
                    {
                        "dataset": "synthetic",
                        "objective": objective,
                        "draft_seed": seed,
                        "plan": "" if alone else plan,
                        "verification": verification,
                        "K": width,
                        "N": 0 if alone else draft_beam_width,
                        "user": np.arange(users),
                        "accepted": 0 if alone else first,
                        "first_accepted": 0 if alone else first,
                        "rounds": 0 if alone else np.where(first == 3, 1, 2),
                        "target_calls": 4 if alone else np.where(first == 3, 1, 2),
                        "draft_calls": 0 if alone else 3,
                        "nodes": 0 if alone else 3 * draft_beam_width,
                        "same_as_target": verification != "relaxed",
                        "recall": found,
                        "ndcg": found * 0.6,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def trees(
    objective: str, *, beam_width: int = 20, sizes=(60, 120, 240), users: int = 15, seed: int = 1
) -> pd.DataFrame:
    """One objective's comparison of drafted trees: larger ones and shaped ones take fewer calls."""
    skill, rows = OBJECTIVES.index(objective) / 10, []
    generator = np.random.default_rng(OBJECTIVES.index(objective))
    for shape, gain in (("flat", 0.0), ("shaped", 0.15)):
        for size in sizes:
            calls = 1 + generator.binomial(3, max(0.02, 0.9 - size / 300 - gain - skill / 3), users)
            rows.append(
                pd.DataFrame(
                    {
                        "dataset": "synthetic",
                        "objective": objective,
                        "draft_seed": seed,
                        "shape": shape,
                        "widths": " ".join([str(size // 3)] * 3),
                        "K": beam_width,
                        "size": size,
                        "user": np.arange(users),
                        "accepted": 4 - calls,
                        "first_accepted": 4 - calls,
                        "rounds": calls,
                        "target_calls": calls,
                        "draft_calls": 3 * calls,
                        "nodes": size * calls,
                        "same_as_target": True,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def timing(
    beam_width: int,
    *,
    objectives=OBJECTIVES,
    verifications=("strict", "relaxed"),
    users: int = 12,
    repeats: int = 3,
    draft_beam_width: int = 40,
) -> pd.DataFrame:
    """One beam width's timing: generate slowest, plain in the middle, speculation faster by objective."""
    methods = [("generate", "", "", 0, 0.2 + 0.01 * beam_width), ("plain", "", "", 0, 0.05 + 0.002 * beam_width)]
    for verification in verifications:
        for objective in objectives:
            gain = 1.1 + OBJECTIVES.index(objective) / 10 + (0.1 if verification == "relaxed" else 0)
            seconds = methods[1][4] / gain
            methods.append(("speculative", objective, verification, draft_beam_width, seconds))
    generator = np.random.default_rng(beam_width)
    rows = []
    for user in range(users):
        length = generator.uniform(0.5, 1.5)
        for method, objective, verification, width, seconds in methods:
            for repeat in range(repeats + 1):
                timed = repeat < repeats
                total = seconds * length * generator.uniform(0.95, 1.1)
                draft = 0.35 if method == "speculative" else 0.0
                shares = (draft, 0.5, 0.08 if draft else 0.02, 0.03)
                phases = dict(zip(records.PHASES, [np.nan] * 4 if timed else [total * s for s in shares], strict=True))
                rows.append(
                    {
                        "dataset": "synthetic",
                        "K": beam_width,
                        "method": method,
                        "objective": objective,
                        "verification": verification,
                        "N": width,
                        "user": user,
                        "repeat": repeat if timed else 0,
                        "seconds": total,
                        **phases,
                        "timed": timed,
                        "target_calls": 4 if method != "speculative" else 2,
                    }
                )
    return pd.DataFrame(rows)


def ranking(*, beam_widths=BEAM_WIDTHS, users: int = 400, recommenders=("target", "popularity")) -> pd.DataFrame:
    """Quality on all test users: of target and popularity, and in baselines/ranking.csv of the other baselines."""
    levels = {"target": 0.02, "popularity": 0.006, "transitions": 0.008, "cooccurrence": 0.014, "sasrec": 0.015}
    rows = []
    for recommender in recommenders:
        for width in beam_widths:
            level = levels[recommender]
            recall, ndcg = level * width**0.6, level * 0.6 * width**0.4
            bounds = {
                "recall_low": recall * 0.9,
                "recall_high": recall * 1.1,
                "ndcg_low": ndcg * 0.9,
                "ndcg_high": ndcg * 1.1,
            }
            rows.append(
                {"recommender": recommender, "K": width, "users": users, "recall": recall, "ndcg": ndcg, **bounds}
            )
    return pd.DataFrame(rows)


def losses(*, epochs: int = 8, kept: int = 6, objective: str = "", seed: int = 1) -> pd.DataFrame:
    """A training that overfits after the kept epoch; that of an objective comes nearer to the target."""
    epoch = np.arange(1, epochs + 1)
    frame = pd.DataFrame(
        {
            "epoch": epoch,
            "step": epoch * 40,
            "train_loss": 4 * np.exp(-epoch / 4) + 2.2,
            "valid_loss": 4 * np.exp(-epoch / 4) + 2.5 + 0.15 * np.maximum(0, epoch - kept + 1) ** 2,
            "kept": epoch == kept,
        }
    )
    if not objective:
        return frame
    far = np.exp(-epoch * (1 + OBJECTIVES.index(objective) / 10) / 5) + 0.02 * seed
    by_level = {f"accepted_{level}": (1 - far / 2) ** level for level in (1, 2, 3)}
    measures = {"tvd": far / 2, "accepted": sum(by_level.values()), **by_level, "overlap": 1 - far / 2}
    return frame.assign(alignment=frame["valid_loss"] / 2, cross_entropy=frame["valid_loss"], **measures)


def identifiers(*, items: int = 400, length: int = 4) -> dict[int, list[str]]:
    """Identifiers whose trie is wide above and narrow below, some of them borne by two items."""
    generator = np.random.default_rng(0)
    drawn = np.stack([generator.geometric(1 / width, items) for width in (12, 20, 40, 80)[:length]], 1)
    return {item: [f"<{'abcd'[place]}_{token}>" for place, token in enumerate(row)] for item, row in enumerate(drawn)}


def example(*, objective: str = "atspeed_s") -> dict:
    """The explanation of a list of K = 2 by N = 3: level 1 accepted, of level 2 one missed, then the bonus level."""

    def node(number: int, path: str, fate: str, by_draft: int | None = None, by_target: int | None = None) -> dict:
        found = {"round": number, "level": len(path) // 4, "fate": fate}
        found["path"] = [path[at : at + 4] for at in range(0, len(path), 4)]
        for who, rank in (("draft", by_draft), ("target", by_target)):
            found |= {f"{who}_rank": rank, f"{who}_score": None if rank is None else -0.5 * rank}
        return found

    nodes = [
        node(1, "<a1>", "accepted", 1, 2), node(1, "<a2>", "accepted", 3, 1), node(1, "<a3>", "rejected", 2),
        node(1, "<a2><b1>", "accepted", 2, 1), node(1, "<a2><b2>", "missed", None, 2),
        node(1, "<a1><b1>", "rejected", 1), node(1, "<a3><b1>", "rejected", 3),
        node(2, "<a2><b2><c1>", "bonus", None, 1), node(2, "<a2><b1><c2>", "bonus", None, 2),
    ]  # fmt: skip
    listed = [
        {"rank": 1, "items": [7], "identifier": ["<a2>", "<b2>", "<c1>"], "score": -0.5},
        {"rank": 2, "items": [3, 8], "identifier": ["<a2>", "<b1>", "<c2>"], "score": -1.0},
    ]
    rounds = [{"start": 0, "drafted": 2, "accepted": 1}, {"start": 2, "drafted": 0, "accepted": 0}]
    history = [{"item": 1, "identifier": ["<a1>", "<b1>", "<c1>"]}]
    return {"user": 5, "targets": [8, 9], "chosen": "asked for", "objective": objective, "K": 2, "N": 3,
            "draft_length": 2, "target_calls": 2, "history": history, "rounds": rounds, "nodes": nodes,
            "list": listed}  # fmt: skip


def write_run(
    folder: Path, *, objectives=OBJECTIVES, beam_widths=BEAM_WIDTHS, verifications=("strict", "relaxed"), seeds=(1,)
) -> Path:
    """All record files of one small run, laid out as under results/<run>/<dataset>/."""
    settings = {"seed": 1, "decoding": {"draft_length": 3}}
    for objective, seed in product(objectives, seeds):
        place = f"{objective}/seed-{seed}"
        frame = evaluation(objective, beam_widths=beam_widths, verifications=verifications, seed=seed)
        path = folder / "measurement" / "evaluation" / f"{place}.parquet"
        records.write(frame, path, kind="evaluation", settings=settings, **STAMP)
        shapes = trees(objective, beam_width=max(beam_widths), seed=seed)
        path = folder / "measurement" / "trees" / f"{place}.parquet"
        records.write(shapes, path, kind="trees", settings=settings, **STAMP)
        write_losses(folder / "drafts" / place / "loss.csv", objective=objective, seed=seed)
    for width in beam_widths:
        frame = timing(width, objectives=objectives, verifications=verifications)
        path = folder / "measurement" / "timing" / f"K{width}.parquet"
        records.write(frame, path, kind="timing", settings=settings, **STAMP)
    write_losses(folder / "target" / "loss.csv")
    for seed in seeds:
        write_losses(folder / "drafts" / "base" / f"seed-{seed}" / "loss.csv")
    rated = {"target": ("target", "popularity"), "baselines": ("transitions", "cooccurrence", "sasrec")}
    for name, recommenders in rated.items():
        (folder / name).mkdir(exist_ok=True)
        frame = ranking(beam_widths=beam_widths, recommenders=recommenders)
        frame.to_csv(folder / name / "ranking.csv", index=False)
    Catalogue.of(identifiers()).save(folder / "prepared" / "catalogue.json")
    write_json(folder / "measurement" / "example.json", example(objective=objectives[0]))
    return folder


def inputs(run: Path) -> dict[str, list[Path]]:
    """What each figure is drawn from, in the folder that `write_run` filled."""
    evaluation, timing = (sorted((run / "measurement" / kind).rglob("*.parquet")) for kind in ("evaluation", "timing"))
    losses = sorted(run.glob("drafts/*/*/loss.csv"))
    return {
        **dict.fromkeys(("accepted", "levels", "calls"), evaluation),
        **dict.fromkeys(("speedup", "phases"), timing),
        "recall": [run / "target" / "ranking.csv", *evaluation],
        "pareto": [*evaluation, *timing],
        "trees": sorted((run / "measurement" / "trees").rglob("*.parquet")),
        "agreement": [path for path in losses if path.parents[1].name != "base"],
        "loss": [run / "target" / "loss.csv", *losses],
        "trie": [run / "prepared"],
        "example": [run / "measurement" / "example.json"],
    }


def write_losses(path: Path, **training) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    losses(**training).to_csv(path, index=False)
