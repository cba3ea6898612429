"""What motion adds to a detector: the same evaluation with other second frames in the pairs.

With a copy of the first frame nothing moves. With the second frame of another clip there is motion,
but not that of the action. A detector that looks at the first frame alone loses nothing by either.
"""

from collections.abc import Callable, Iterator, Sequence
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from tubedet.datasets.annotated_clips import AnnotatedDataset
from tubedet.datasets.augmentation import View
from tubedet.datasets.clip_frames import ClipFrames
from tubedet.datasets.frame_pair_sampling import pair_at
from tubedet.errors import DatasetError
from tubedet.evaluation.evaluate import evaluate_detector
from tubedet.evaluation.scoring import EvaluationResult
from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.runtime.detector import (
    Detector,
    PairPrediction,
    PairTask,
    StepPrediction,
    StreamState,
)


class OtherSecondFrame:
    """A detector whose flow is that to `second(clip)`, (1, 3, S, S), instead of the second frame.

    A video backbone is still given the true frames.
    """

    def __init__(self, detector: Detector, second: Callable[[Tensor], Tensor]) -> None:
        self.class_names, self.input_size = detector.class_names, detector.input_size
        self.uses_flow_images, self.min_score = detector.uses_flow_images, detector.min_score
        self.weights_sha256, self.description = detector.weights_sha256, detector.description
        self.device_name, self.precision = detector.device_name, detector.precision
        self.temporal = detector.temporal
        self._detector, self._second = detector, second

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        """As the detector, at the edited clip; `second` is asked once a pair."""
        predictions = []
        for pair, task in zip(torch.split(clip, 1), tasks, strict=True):
            prediction, state = self._of_pair(pair, task, state)
            predictions.append(prediction)
        return predictions, state

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        """As the detector."""
        return self._detector.decode(prediction, window)

    def _of_pair(
        self, pair: Tensor, task: PairTask, state: StreamState | None
    ) -> tuple[PairPrediction, StreamState | None]:
        edited = torch.stack([pair[:, :, 0], self._second(pair)], dim=2)
        if self.temporal is None:
            (prediction,), _ = self._detector.predict(edited, [task])
            return prediction, None
        # The true frames go first, so that no edited one is left to be a backbone step.
        nothing = PairTask(boxes=False, is_step=False)
        if state is None:
            _, state = self._detector.predict(pair, [nothing])
        _, after = self._detector.predict(
            pair, [nothing._replace(next_is_step=task.next_is_step)], state
        )
        of_step = task._replace(boxes=False, next_is_step=False)
        of_boxes = task._replace(is_step=False, next_is_step=False)
        (step,), _ = self._detector.predict(edited, [of_step], state)
        (boxes,), _ = self._detector.predict(edited, [of_boxes], after)
        return PairPrediction(boxes.raw, step.step), after


def motion_ablation(
    detector: Detector, data: AnnotatedDataset
) -> Iterator[tuple[str, EvaluationResult]]:
    """Evaluate three times, yielding what the second frame was and the result.

    Raises:
        DatasetError: as `evaluate_detector`; if a clip can't be run or has another length than
            annotated; if one clip has more than half of all frames, so that some of its frames find
            no partner elsewhere.
    """
    as_it_is = _evaluated(detector, data)
    for video, frames in as_it_is.source.decoded_frames.items():
        raise DatasetError(f"{video}: expected as many frames as annotated, found {frames}")
    yield "as it is", as_it_is
    still = OtherSecondFrame(detector, lambda clip: clip[:, :, 0])
    yield "copy of the first", _evaluated(still, data)
    with TemporaryDirectory() as folder:  # decoded frames of a whole part do not fit into memory
        others = second_frames_of_other_clips(data, ClipFrames(folder), detector.input_size)
        shuffled = OtherSecondFrame(detector, lambda _: next(others))
        yield "of another clip", _evaluated(shuffled, data)


def second_frames_of_other_clips(
    data: AnnotatedDataset, frames: ClipFrames, size: int
) -> Iterator[Tensor]:
    """For every pair of the data in its order a second frame (1, 3, size, size), 0..255.

    All second frames of the data come, each once, and none to a pair of its own clip: the pairs are
    listed with the clips in random order, and each is given the frame half the list further on.
    """
    order = np.random.default_rng(0).permutation(len(data.clips)).tolist()
    pairs = [(clip, frame) for clip in order for frame in range(data.clips[clip].frames)]
    half = len(pairs) // 2
    other = dict(zip(pairs, pairs[half:] + pairs[:half], strict=True))
    for (own, _), (index, frame) in sorted(other.items()):
        clip = data.clips[index]
        if index == own:
            raise DatasetError(f"{clip.video}: holds more than half of all frames: none to swap")
        second = frames.of(clip)[pair_at(clip, frame).second]
        (seen,) = View((0, 0, clip.width, clip.height)).frames(second[None], size)
        yield torch.from_numpy(seen).permute(2, 0, 1)[None].float()


def _evaluated(detector: Detector, data: AnnotatedDataset) -> EvaluationResult:
    *_, result = evaluate_detector(detector, data)
    assert isinstance(result, EvaluationResult)
    return result
