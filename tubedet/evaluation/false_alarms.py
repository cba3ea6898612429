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
from tubedet.runtime.detector import Detector, context_windows
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import pair_frames
from tubedet.video.preprocess import stack_pairs

FRAMES_A_MINUTE = 30 * 60


@dataclass(frozen=True, slots=True)
class ThresholdRow:
    """What showing only boxes of at least `min_score` gives.

    Attributes:
        min_score: the threshold.
        precision: share of the shown boxes whose place and action are right; None if none is shown.
        recall: share of the true boxes that are met so.
        alarms_a_minute: actor-free frames with a box, in 1,800 frames.
    """

    min_score: float
    precision: float | None
    recall: float
    alarms_a_minute: float


def best_scores(detector: Detector, frames_rgb: Iterable[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """The highest score of every frame (T,) of footage that comes as pictures (H, W, 3)."""
    frames = (VideoFrame(t, None, Fraction(t), rgb) for t, rgb in enumerate(frames_rgb))
    predicted = (
        (None, detector.predict(stack_pairs([pair], detector.input_size))[0])
        for pair in pair_frames(frames)
    )
    scores = []
    for _, prediction, window in context_windows(predicted, detector.context_frames):
        assert prediction is not None
        _, overlap, class_prob = detector.decode(prediction, window)
        scores.append(float((overlap * class_prob.amax(dim=-1)).max()))
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
                alarms_a_minute=FRAMES_A_MINUTE * alarms,
            )
        )
    return rows
