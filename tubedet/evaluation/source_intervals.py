"""How far f-mAP would move with other sources: intervals by drawing the videos clips are cut from.

Clips of one source resemble one another. So it is sources that are drawn, as many as there are and
with replacement: Efron's bootstrap, by clusters. A draw's f-mAP is that of its clips, each counted
as often as its source was drawn; a class without ground truth among them is left out of its mean.
Nothing is matched again, since detections meet ground truth within a frame: what changes is how
often each hit, alarm and ground truth counts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.evaluation.frame_map import MatchedDetections, count_truths
from tubedet.evaluation.rules import ScoringRule, trapezoid

DRAWS = 1_000
SEED = 0
PERCENT = 95
AT_ONCE = 1 << 20  # points of curves that are held, 8 MB an array

Interval = tuple[float, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class SourceDraws:
    """How often each source is drawn.

    Attributes:
        source_of: the source's number by video.
        times: (D, S) of D draws among S sources.
    """

    source_of: dict[str, int]
    times: Floats

    def describe(self) -> str:
        """One line, to be shown next to the intervals."""
        draws, sources = self.times.shape
        return (
            f"{PERCENT} % percentile interval of {draws:,} draws of {sources} sources with "
            "replacement; a class without ground truth in a draw is left out of its mean"
        )


def draw_sources(clips: Sequence[AnnotatedClip], draws: int = DRAWS) -> SourceDraws | None:
    """Draw among the groups of the clips, the same at every call; None if there is one alone."""
    numbers = {group: number for number, group in enumerate(dict.fromkeys(c.group for c in clips))}
    sources = len(numbers)
    if sources < 2:
        return None
    times = np.random.default_rng(SEED).multinomial(sources, [1 / sources] * sources, draws)
    source_of = {clip.video: numbers[clip.group] for clip in clips}
    return SourceDraws(source_of, times.astype(np.float64))


def source_intervals(
    found: MatchedDetections,
    thresholds: Sequence[float],
    draws: SourceDraws,
    rule: ScoringRule,
    class_count: int,
) -> dict[float, Interval]:
    """The interval of f-mAP at each threshold; arguments as of `means_of_draws`."""
    tail = (100 - PERCENT) / 2
    intervals = {}
    for threshold in thresholds:
        means = means_of_draws(found, threshold, draws, rule, class_count)
        low, high = np.nanpercentile(means, [tail, 100 - tail])
        intervals[threshold] = (float(low), float(high))
    return intervals


def means_of_draws(
    found: MatchedDetections,
    threshold: float,
    draws: SourceDraws,
    rule: ScoringRule,
    class_count: int,
) -> Floats:
    """f-mAP (D,) of every draw, just as if its clips were scored anew.

    A class without ground truth in a draw is left out of that draw's mean, unless the rule counts
    all classes; a draw without any ground truth is NaN.

    Args:
        found: matches of all clips.
        threshold: one of the matches'.
        draws: of the sources of all clips.
        rule: that the matches were made by.
        class_count: as of `frame_map`.
    """
    classes, true_classes = (t["class_index"].to_numpy() for t in (found.detections, found.truth))
    sources, true_sources = (_sources(table, draws) for table in (found.detections, found.truth))
    correct = found.correct[threshold]
    total, counted, truths_of_draw = (np.zeros(len(draws.times)) for _ in range(3))
    for index in count_truths(found.truth["class_index"], rule, class_count):
        own = true_sources[true_classes == index]
        truths = draws.times @ np.bincount(own, minlength=draws.times.shape[1])
        of_class = classes == index
        total += _areas(correct[of_class], sources[of_class], truths, draws.times, rule)
        counted += (truths > 0) | rule.over_all_classes
        truths_of_draw += truths
    return np.divide(total, counted, out=np.full_like(total, np.nan), where=truths_of_draw > 0)


def _sources(table: pd.DataFrame, draws: SourceDraws) -> NDArray[np.intp]:
    """The source of every row (N,)."""
    return np.asarray(table["video"].map(draws.source_of), dtype=np.intp)


def _areas(
    correct: NDArray[np.bool_],
    sources: NDArray[np.intp],
    truths: Floats,
    times: Floats,
    rule: ScoringRule,
) -> Floats:
    """Average precision (D,) of one class in every draw.

    Args:
        correct: (N,) of its detections, by falling score.
        sources: (N,) of the same.
        truths: (D,) its ground truths in every draw.
        times: (D, S) of the draws.
        rule: whose area it is.
    """
    draws, number = times.shape
    if not correct.any():
        return np.zeros(draws)
    # Hits in a row are one step of the curve: of its points the last decides what the area is.
    begins = correct & ~np.concatenate([[False], correct[:-1]])
    begun = np.cumsum(begins)
    steps = int(begun[-1])
    hits = _by_source(sources[correct], begun[correct] - 1, (number, steps))
    alarms = _by_source(sources[~correct], begun[~correct], (number, steps + 1))
    alarms_before = np.cumsum(alarms[:, :-1], axis=1)
    at_once = max(1, AT_ONCE // steps)
    areas = []
    for start in range(0, draws, at_once):
        some = times[start : start + at_once]
        right, wrong = np.cumsum(some @ hits, axis=1), some @ alarms_before
        of_draw = np.maximum(truths[start : start + at_once], 1)[:, None]
        if rule.area is trapezoid:
            areas.append(_straight_lines(right, wrong) / of_draw[:, 0])
        else:
            shown = right + wrong
            precision = np.divide(right, shown, out=np.zeros_like(right), where=shown > 0)
            areas.append(rule.area(right / of_draw, precision))
    return np.concatenate(areas)


def _straight_lines(right: Floats, wrong: Floats) -> Floats:
    """What `trapezoid` gives (D,), times the ground truths, with all points of every step.

    Between n and n + w detections of a step, w hits and before them `wrong` alarms, the sum of the
    precisions behind each hit is w - wrong · (1/(n + 1) + … + 1/(n + w)); of those ahead likewise.

    Args:
        right: (D, K) hits up to the end of each step.
        wrong: (D, K) alarms before it.
    """
    end = (right + wrong).astype(np.intp)
    before = np.concatenate([np.zeros_like(right[:, :1]), right[:, :-1]], axis=1)
    begin = (before + wrong).astype(np.intp)
    sums = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, end.max() + 1))])
    behind = sums[end] - sums[begin]
    ahead = sums[np.maximum(end - 1, 0)] - sums[np.maximum(begin - 1, 0)]
    areas: Floats = (right - before - wrong * (behind + ahead) / 2).sum(axis=1)
    return areas


def _by_source(
    sources: NDArray[np.intp], steps: NDArray[np.intp], shape: tuple[int, int]
) -> Floats:
    """How many detections of each source (S, K) belong to each step."""
    counts = np.bincount(sources * shape[1] + steps, minlength=shape[0] * shape[1])
    return counts.reshape(shape).astype(np.float64)
