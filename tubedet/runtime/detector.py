"""The one small interface behind which a network runs: PyTorch today, an exported graph elsewhere.

It speaks CPU tensors on both sides, so that whoever feeds it need not know where it computes.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeVar

from torch import Tensor

from tubedet.models.yolov2.box_decoding import DecodedBoxes

DEFAULT_MIN_SCORE = 0.25  # Darknet's habit; a checkpoint that was measured says its own

Item = TypeVar("Item")


class Glimpse(NamedTuple):
    """What a network makes of one pair, on the CPU, small enough to be kept for a second.

    `raw` predictions (A*(5+C), h, w) of the pair by itself; `energies` (27, h, w) of its flow, None
    where only the pair has a say.
    """

    raw: Tensor
    energies: Tensor | None = None


class Detector(Protocol):
    """Something that finds actions in pairs of frames."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Labels in the order of the `class_prob` axis."""

    @property
    def input_size(self) -> int:
        """Side S in pixels of the square clips that `look` takes."""

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
    def min_score(self) -> float:
        """The score below which a detection of these weights is not worth showing."""

    @property
    def reach(self) -> int:
        """Frames before and after that `predict` wants glimpses of; 0 where it wants none."""

    def look(self, clip: Tensor) -> Sequence[Glimpse]:
        """Run the network on a batch of B pairs: a glimpse of each.

        Args:
            clip: (B, 3, 2, S, S) float32 RGB, 0..255, on the CPU; time axis: frame, its successor.
        """

    def predict(self, glimpse: Glimpse, around: Sequence[Glimpse]) -> DecodedBoxes:
        """Boxes of a pair.

        Args:
            glimpse: of the pair.
            around: of the pairs within reach, itself included, in whatever order.

        Returns:
            boxes_xyxy (1, N, 4) in fractions of the input, overlap (1, N), class_prob (1, N, C):
            float32, on the CPU.
        """


def with_surroundings(
    frames: Iterable[tuple[Item, Glimpse | None]], reach: int
) -> Iterator[tuple[Item, Glimpse | None, list[Glimpse]]]:
    """Frames with the glimpses that there are within reach of each, its own included.

    A frame comes once `reach` more have been taken, or the last one has. Till then it is held.

    Args:
        frames: one after the other; None for one that was not looked at.
        reach: frames before and after.
    """
    held: deque[tuple[Item, Glimpse | None]] = deque()
    near: deque[Glimpse | None] = deque(maxlen=2 * reach + 1)
    for item, glimpse in frames:
        held.append((item, glimpse))
        near.append(glimpse)
        if len(held) > reach:
            yield *held.popleft(), _present(near)
    while held:
        if len(near) > len(held) + reach:
            near.popleft()
        yield *held.popleft(), _present(near)


def _present(glimpses: Iterable[Glimpse | None]) -> list[Glimpse]:
    return [glimpse for glimpse in glimpses if glimpse is not None]
