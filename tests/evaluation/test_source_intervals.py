"""Intervals by source against a slow twin that scores repeated rows anew, and cases by hand."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.toy_example import Row, detections_of, toy_tables, truth_of
from tubedet.datasets.annotated_clips import AnnotatedClip, LabelledBox
from tubedet.errors import DatasetError
from tubedet.evaluation.frame_map import frame_map, match
from tubedet.evaluation.rules import RULES, TUBEDET, ScoringRule
from tubedet.evaluation.source_intervals import (
    DRAWS,
    SourceDraws,
    draw_sources,
    means_of_draws,
    source_intervals,
)

SOURCES = {"v0": 0, "v1": 1, "v2": 1, "v3": 2, "v4": 3}
BOX = (0.0, 0.0, 10.0, 10.0)


def random_tables(seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Boxes of four classes, the last of which is true in one video alone; equal scores occur."""
    rng = np.random.default_rng(seed)

    def rows(number: int, *, with_score: bool) -> list[Row]:
        made: list[Row] = []
        for _ in range(number):
            video, corner = int(rng.integers(5)), rng.integers(0, 8, 2)
            index = int(rng.integers(4 if video == 0 else 3))
            score = [float(rng.integers(1, 60)) / 60] if with_score else []
            box = np.concatenate([corner, corner + rng.integers(6, 12, 2)]).astype(float)
            made.append((f"v{video}", int(rng.integers(6)), index, *score, *box.tolist()))
        return made

    return detections_of(rows(220, with_score=True)), truth_of(rows(70, with_score=False))


def repeated(table: pd.DataFrame, times: dict[str, int]) -> pd.DataFrame:
    """Every row as often as its video is drawn, each time in a video of another name."""
    parts = [
        table[table["video"].map(times) > copy].assign(copy=copy) for copy in range(max(SIZES))
    ]
    every = pd.concat(parts).sort_index(kind="stable")
    names = every["video"] + "#" + every["copy"].astype(str)
    return every.assign(video=names).drop(columns="copy").reset_index(drop=True)


SIZES = range(1, 6)  # a source of four is drawn at most four times


def scored_anew(
    tables: tuple[pd.DataFrame, pd.DataFrame],
    times: dict[str, int],
    threshold: float,
    rule: ScoringRule,
) -> float:
    detections, truth = (repeated(table, times) for table in tables)
    try:
        return frame_map(detections, truth, [threshold], rule, class_count=5)[0].mean
    except DatasetError:  # no ground truth was drawn
        return float("nan")


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_draw_is_as_if_its_clips_were_scored_anew(rule: ScoringRule, seed: int) -> None:
    tables = random_tables(seed)
    times = np.random.default_rng(seed).multinomial(4, [0.25] * 4, 12).astype(np.float64)
    found = match(*tables, [0.2, 0.5], rule)

    for threshold in (0.2, 0.5):
        means = means_of_draws(found, threshold, SourceDraws(SOURCES, times), rule, 5)
        expected = [
            scored_anew(tables, {v: int(row[s]) for v, s in SOURCES.items()}, threshold, rule)
            for row in times
        ]
        assert means == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert np.ptp(means) > 0.01


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_every_source_once_is_the_f_map_itself(rule: ScoringRule) -> None:
    for tables in (random_tables(2), toy_tables()):
        videos = sorted({*tables[0]["video"], *tables[1]["video"]})
        sources = {video: number for number, video in enumerate(videos)}
        once = SourceDraws(sources, np.ones((1, len(sources))))
        for threshold in (0.2, 0.5, 0.75):
            (expected,) = frame_map(*tables, [threshold], rule, class_count=5)
            found = match(*tables, [threshold], rule)
            assert means_of_draws(found, threshold, once, rule, 5) == pytest.approx(
                expected.mean, abs=1e-9
            )


def test_a_class_without_ground_truth_in_a_draw_is_left_out_of_its_mean() -> None:
    """Class 0 is in source 0 alone and found, class 1 in source 1 alone and never found."""
    truth = truth_of([("v0", 0, 0, *BOX), ("v1", 0, 1, *BOX)])
    found = match(detections_of([("v0", 0, 0, 0.9, *BOX)]), truth, [0.5])
    draws = SourceDraws({"v0": 0, "v1": 1}, np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]]))

    assert means_of_draws(found, 0.5, draws, TUBEDET, 2).tolist() == [1.0, 0.5, 0.0]
    assert means_of_draws(found, 0.5, draws, RULES["gurkirt"], 2).tolist() == [0.5, 0.5, 0.0]


def test_the_interval_holds_95_of_100_draws() -> None:
    """Ten sources of a true box each, of which half are found: recall is binomial / 10."""
    truth = truth_of([(f"v{n}", 0, 0, *BOX) for n in range(10)])
    found = match(detections_of([(f"v{n}", 0, 0, 0.9, *BOX) for n in range(5)]), truth, [0.5])
    draws = draw_sources([clip(f"v{n}", f"v{n}") for n in range(10)])

    assert draws is not None
    assert draws.times.shape == (DRAWS, 10)
    assert set(draws.times.sum(axis=1)) == {10.0}
    # P(5 of 10 or fewer ... ) of Binomial(10, 1/2): 0.011 up to 1, 0.055 up to 2.
    assert source_intervals(found, [0.5], draws, TUBEDET, 1) == {0.5: (0.2, 0.8)}


def clip(video: str, group: str) -> AnnotatedClip:
    return AnnotatedClip(video, Path(video), 0, group, 64, 48, ((LabelledBox(0, BOX),),))


def test_clips_of_one_source_are_drawn_together_and_one_source_alone_is_not_drawn() -> None:
    draws = draw_sources([clip("a1", "a"), clip("b1", "b"), clip("a2", "a")])

    assert draws is not None
    assert draws.source_of == {"a1": 0, "b1": 1, "a2": 0}
    assert "1,000 draws of 2 sources" in draws.describe()
    assert draw_sources([clip("a1", "a"), clip("a2", "a")]) is None
