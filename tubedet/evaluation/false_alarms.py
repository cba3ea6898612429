"""What a threshold costs: precision and recall where there are actors, alarms where there are none.

An alarm is a frame of actor-free footage in which something is shown. With one box a frame that is
a frame whose best score reaches the threshold.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tubedet.evaluation.frame_outcomes import FrameOutcome
from tubedet.run.asked_frames import asked_pairs
from tubedet.run.picking import rule_for, timed_boxes
from tubedet.run.plan import FramePlan
from tubedet.run.prediction import (
    predicted_frames,
    with_inputs,
    with_windows,
)
from tubedet.run.reach import Reach, tolerance_s
from tubedet.run.steps import with_steps
from tubedet.runtime.detector import Detector
from tubedet.tubes.best_box import SelectionRule
from tubedet.tubes.smoothing import smooth
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.preprocess import FrameGeometry, PairInputs

RATE = Fraction(30)
FRAMES_A_MINUTE = int(RATE) * 60


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """What showing only boxes of at least `min_score` gives.

    Attributes:
        min_score: the threshold.
        precision: share of the shown boxes whose place and action are right; None if none is shown.
        recall: share of the true boxes that are met so.
        box_right: share of the true boxes that are met whatever the action.
        alarms_a_minute: actor-free frames with a box, in 1,800 frames.
    """

    min_score: float
    precision: float | None
    recall: float
    box_right: float
    alarms_a_minute: float


def best_scores(detector: Detector, frames_rgb: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The highest score of every frame (T,) of footage of 30 frames a second, as it is shown.

    Args:
        detector: from `load_detector`.
        frames_rgb: pictures (H, W, 3).
    """
    temporal = detector.temporal
    frames = (VideoFrame(t, None, t / RATE, rgb) for t, rgb in enumerate(frames_rgb))
    pairs = pair_frames(frames, find_cuts=temporal is not None)
    reach = Reach.of(temporal, RATE, smooth=False, find_cuts=False)
    stepped = with_steps(pairs, RATE, temporal and temporal.step_seconds)
    asked = asked_pairs(stepped, FramePlan(), reach)
    inputs = PairInputs(detector.input_size)
    predicted = predicted_frames(with_inputs(asked, inputs.inputs_of), detector)
    frames_with_windows = with_windows(predicted, temporal, tolerance_s(RATE))
    rule = rule_for(detector, SelectionRule(min_score=0.0))
    timed = timed_boxes(frames_with_windows, detector, rule, FrameGeometry(1, 1))
    shown = smooth(timed, with_scores=True) if temporal and temporal.seconds_after else timed
    scores = [max((box.score for box in each.detections or ()), default=0.0) for each in shown]
    return np.array(scores)


def threshold_table(
    outcomes: Iterable[FrameOutcome],
    actor_free_scores: NDArray[np.float64],
    thresholds: Sequence[float],
) -> list[ThresholdRow]:
    """One row a threshold.

    Args:
        outcomes: of annotated frames.
        actor_free_scores: best score of every frame that shows no actor.
        thresholds: in [0, 1].

    Raises:
        ValueError: without an outcome or an actor-free frame.
    """
    outcomes = list(outcomes)
    if not outcomes or not actor_free_scores.size:
        raise ValueError("no annotated frame, or no actor-free one, to measure thresholds on")
    scores = np.array([o.found.score if o.found else -np.inf for o in outcomes])
    right = np.array([outcome.action_right for outcome in outcomes])
    placed = np.array([outcome.box_right for outcome in outcomes])
    truths = sum(len(outcome.truth) for outcome in outcomes)
    rows = []
    for threshold in thresholds:
        shown, hits = (scores >= threshold).sum(), (right & (scores >= threshold)).sum()
        alarms = float((actor_free_scores >= threshold).mean())
        rows.append(
            ThresholdRow(
                min_score=threshold,
                precision=float(hits / shown) if shown else None,
                recall=float(hits / truths),
                box_right=float((placed & (scores >= threshold)).sum() / truths),
                alarms_a_minute=FRAMES_A_MINUTE * alarms,
            )
        )
    return rows
