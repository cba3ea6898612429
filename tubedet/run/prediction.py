"""Pairs of frames through a network, and every frame with the context window that names it."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

from torch import Tensor, stack

from tubedet.run.asked_frames import AskedPair
from tubedet.runtime.detector import (
    Detector,
    PairPrediction,
    StepPrediction,
    StreamState,
    TemporalReach,
)
from tubedet.video.frame import NO_PIXELS, VideoFrame
from tubedet.video.frame_pairs import FramePair

# A batch that a stride makes long closes early rather than hold more; a 4K frame is 25 MB.
MOST_FRAMES_HELD = 32
NOTHING = PairPrediction()

GivenPair = tuple[AskedPair, Tensor | None]
"""What is asked of a pair, and what the network is given of it: None where it is idle."""


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


def with_inputs(
    asked: Iterable[AskedPair], inputs_of: Callable[[FramePair], Tensor]
) -> Iterator[GivenPair]:
    """Every pair with the pictures that the network is given of it; None where it is idle."""
    for each in asked:
        yield each, None if each.is_idle else inputs_of(each.pair)


def predicted_frames(
    asked: Iterable[GivenPair],
    detector: Detector,
    *,
    batch_size: int = 1,
    needed_from: int = 0,
    with_pictures: bool = False,
) -> Iterator[PredictedFrame]:
    """Every frame with the prediction of its pair, as soon as its batch is predicted.

    The network is spared batches that end before `needed_from`, and only those: so the others are
    composed as if it had to begin with the first frame, and give the same numbers to the last bit.

    Args:
        asked: what is asked of every pair, `with_inputs`.
        detector: the network.
        batch_size: at most so many pairs go through the network together.
        needed_from: the first frame whose prediction matters.
        with_pictures: frames that are reported keep their pixels.
    """
    state: StreamState | None = None
    for batch in _batches(asked, batch_size):
        if batch[0][0].begins:
            state = None
        given = [(each, inputs) for each, inputs in batch if inputs is not None]
        predictions: Iterator[PairPrediction] = iter(())
        if given and given[-1][0].pair.at.frame >= needed_from:
            clip = stack([inputs for _, inputs in given])
            tasks = [each.task for each, _ in given if each.task]
            of_batch, state = detector.predict(clip, tasks, state)
            predictions = iter(of_batch)
        for each, inputs in batch:
            prediction = NOTHING if inputs is None else next(predictions, NOTHING)
            frame = each.pair.at
            if not (with_pictures and each.is_reported):
                frame = replace(frame, rgb=NO_PIXELS)
            yield PredictedFrame(
                frame, prediction, each.is_reported, each.is_due, each.pair.shot_begins
            )


def _batches(asked: Iterable[GivenPair], batch_size: int) -> Iterator[list[GivenPair]]:
    """Runs of pairs of one shot; at most `batch_size` of them are given to the network."""
    batch: list[GivenPair] = []
    most_held = max(MOST_FRAMES_HELD, batch_size)
    for each, inputs in asked:
        if batch and each.begins:
            yield batch
            batch = []
        batch.append((each, inputs))
        given = sum(one is not None for _, one in batch)
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
