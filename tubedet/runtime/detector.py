"""The one small interface behind which a network runs: PyTorch today, an exported graph elsewhere.

It takes and gives CPU tensors, so that whoever feeds it need not know where it computes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from tubedet.models.yolov2.box_decoding import DecodedBoxes

DEFAULT_MIN_SCORE = 0.25  # Darknet's habit; a checkpoint that was measured says its own

Item = TypeVar("Item")


class PairPrediction(NamedTuple):
    """What a network predicts of one pair of frames, on the CPU.

    `raw` predictions (A*(5+C), h, w) of the pair by itself; `motion_maps` (27, h, w) of its flow
    for the context window, None for a detector without one.
    """

    raw: Tensor
    motion_maps: Tensor | None = None


class Detector(Protocol):
    """Something that finds actions in pairs of frames."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Labels in the order of the `class_prob` axis."""

    @property
    def input_size(self) -> int:
        """Side S in pixels of the square clips that `predict` takes."""

    @property
    def uses_flow_images(self) -> bool:
        """Whether the second frame of a clip has to be a pre-computed flow image."""

    @property
    def weights_sha256(self) -> str | None:
        """Hash of the checkpoint file, None if no file stands behind the detector."""

    @property
    def description(self) -> str:
        """Preset, device and precision, for people and run records."""

    @property
    def device_name(self) -> str | None:
        """What it runs on, by its maker's name; None if no network stands behind the detector."""

    @property
    def precision(self) -> str | None:
        """Of its convolutions: fp32, bf16 or fp16; None as above."""

    @property
    def min_score(self) -> float:
        """The score below which a detection of these weights is not worth showing."""

    @property
    def context_frames(self) -> int:
        """Frames before and after a pair whose predictions `decode` takes; 0 for its own alone."""

    def predict(self, clip: Tensor) -> Sequence[PairPrediction]:
        """Run the network on a batch of B pairs: a prediction of each.

        Args:
            clip: (B, 3, 2, S, S) float32 RGB, 0..255, on the CPU; time axis: frame, its successor.
        """

    def decode(self, prediction: PairPrediction, window: Sequence[PairPrediction]) -> DecodedBoxes:
        """Boxes of a pair.

        Args:
            prediction: of the pair.
            window: of the pairs within `context_frames`, itself included, in any order.

        Returns:
            boxes_xyxy (1, N, 4) in fractions of the input, overlap (1, N), class_prob (1, N, C):
            float32, on the CPU.
        """


def context_windows(
    frames: Iterable[tuple[Item, PairPrediction | None]], context_frames: int
) -> Iterator[tuple[Item, PairPrediction | None, list[PairPrediction]]]:
    """Frames with the predictions that there are in the context window of each, its own included.

    A frame is yielded once `context_frames` more have been taken, or the last one has been.

    Args:
        frames: one after the other; None for one without a prediction.
        context_frames: frames before and after.
    """
    held: deque[tuple[Item, PairPrediction | None]] = deque()
    window: deque[PairPrediction | None] = deque(maxlen=2 * context_frames + 1)
    for item, prediction in frames:
        held.append((item, prediction))
        window.append(prediction)
        if len(held) > context_frames:
            yield *held.popleft(), _present(window)
    while held:
        if len(window) > len(held) + context_frames:
            window.popleft()
        yield *held.popleft(), _present(window)


def _present(predictions: Iterable[PairPrediction | None]) -> list[PairPrediction]:
    return [each for each in predictions if each is not None]
