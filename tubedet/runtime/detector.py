"""The one small interface behind which a network runs: PyTorch today, an exported graph elsewhere.

It speaks CPU tensors on both sides, so that whoever feeds it need not know where it computes.
"""

from typing import Protocol

from torch import Tensor

from tubedet.models.yolov2.box_decoding import DecodedBoxes

DEFAULT_MIN_SCORE = 0.25  # Darknet's habit; a checkpoint that was measured says its own


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
    def min_score(self) -> float:
        """The score below which a detection of these weights is not worth showing."""

    def predict(self, clip: Tensor) -> DecodedBoxes:
        """Boxes of every pair of a batch.

        Args:
            clip: (B, 3, 2, S, S) float32 RGB, 0..255, on the CPU; time axis: frame, its successor.

        Returns:
            boxes_xyxy (B, N, 4) in fractions of the input, overlap (B, N), class_prob (B, N, C):
            float32, on the CPU.
        """
