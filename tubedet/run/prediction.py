"""Pairs of frames through a network, and every frame with the context window that names it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from torch import Tensor

from tubedet.run.asked_frames import AskedPair
from tubedet.runtime.detector import (
    Detector,
    PairPrediction,
    StepPrediction,
    StreamState,
    TemporalReach,
)
from tubedet.video.frame import VideoFrame
from tubedet.video.frame_pairs import FramePair

# A batch that a stride makes long closes early rather than hold more; a 4K frame is 25 MB.
MOST_FRAMES_HELD = 32
NO_PIXELS = np.empty((0, 0, 3), np.uint8)
NOTHING = PairPrediction()


class PredictedFrame(NamedTuple):
    """A frame behind the network.

    Attributes:
        frame: without pixels where nobody needs them any more.
        prediction: of its pair; with nothing where nothing was asked.
        is_reported, is_due: as in `AskedPair`.
        begins_shot: as in `FramePair`.
        window: the steps of its context window.
    """

    frame: VideoFrame
    prediction: PairPrediction
    is_reported: bool
    is_due: bool
    begins_shot: bool
    window: Sequence[StepPrediction] = ()


def predicted_frames(
    asked: Iterable[AskedPair],
    detector: Detector,
    to_clip: Callable[[Sequence[FramePair]], Tensor],
    *,
    batch_size: int = 1,
    needed_from: int = 0,
    with_pictures: bool = False,
) -> Iterator[PredictedFrame]:
    """Every frame with the prediction of its pair, as soon as its batch is predicted.

    The network is spared batches that end before `needed_from`, and only those: so the others are
    composed as if it had to begin with the first frame, and give the same numbers to the last bit.

    Args:
        asked: what is asked of every pair.
        detector: the network.
        to_clip: makes its input of several pairs.
        batch_size: at most so many pairs go through the network together.
        needed_from: the first frame whose prediction matters.
        with_pictures: frames that are reported keep their pixels.
    """
    state: StreamState | None = None
    for batch in _batches(asked, batch_size):
        if batch[0].begins:
            state = None
        given = [each for each in batch if not each.is_idle]
        predictions: Iterator[PairPrediction] = iter(())
        if given and given[-1].pair.at.frame >= needed_from:
            clip = to_clip([each.pair for each in given])
            tasks = [each.task for each in given if each.task]
            of_batch, state = detector.predict(clip, tasks, state)
            predictions = iter(of_batch)
        for each in batch:
            prediction = NOTHING if each.is_idle else next(predictions, NOTHING)
            frame = each.pair.at
            if not (with_pictures and each.is_reported):
                frame = replace(frame, rgb=NO_PIXELS)
            yield PredictedFrame(
                frame, prediction, each.is_reported, each.is_due, each.pair.shot_begins
            )


def _batches(asked: Iterable[AskedPair], batch_size: int) -> Iterator[list[AskedPair]]:
    """Runs of pairs of one shot; at most `batch_size` of them are given to the network."""
    batch: list[AskedPair] = []
    most_held = max(MOST_FRAMES_HELD, batch_size)
    for each in asked:
        if batch and each.begins:
            yield batch
            batch = []
        batch.append(each)
        given = sum(not one.is_idle for one in batch)
        if given in (0, batch_size) or len(batch) == most_held:
            yield batch
            batch = []
    if batch:
        yield batch


def with_windows(
    frames: Iterable[PredictedFrame], temporal: TemporalReach | None, tolerance_s: Fraction
) -> Iterator[PredictedFrame]:
    """The frames with their context windows: steps of the same shot, as near as `temporal` says.

    A frame waits for one later than its window, or of another shot; none without `temporal`, or
    where windows end with their frames.

    Args:
        frames: in their order.
        temporal: of the detector.
        tolerance_s: what is later than its window by no more than this is still in it.
    """
    if temporal is None:
        yield from frames
        return
    before_s, after_s = (
        Fraction(seconds) + tolerance_s
        for seconds in (temporal.seconds_before, temporal.seconds_after)
    )
    waiting: deque[PredictedFrame] = deque()
    steps: deque[tuple[Fraction, StepPrediction]] = deque()

    def release() -> PredictedFrame:
        one = waiting.popleft()
        time_s = one.frame.time_s
        while steps and time_s - steps[0][0] > before_s:
            steps.popleft()
        return one._replace(window=[step for at_s, step in steps if at_s - time_s <= after_s])

    for one in frames:
        while waiting and (one.begins_shot or one.frame.time_s - waiting[0].frame.time_s > after_s):
            yield release()
        if one.begins_shot:
            steps.clear()
        if one.prediction.step is not None:
            steps.append((one.frame.time_s, one.prediction.step))
        waiting.append(one)
        if not temporal.seconds_after:
            yield release()
    while waiting:
        yield release()
