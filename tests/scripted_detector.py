"""A detector without a network, for tests of everything around one.

By default it boxes the brightest region of each first frame, so a bright square that moves gives a
box that moves. With a `script` it says exactly what the script says, one entry a frame.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from tubedet.models.yolov2.box_decoding import DecodedBoxes
from tubedet.runtime.detector import (
    PairPrediction,
    PairTask,
    StepPrediction,
    StreamState,
    TemporalReach,
)

FLAT_CONTRAST = 32.0  # a picture with less than this between darkest and brightest has no region


class ScriptedBox(NamedTuple):
    """A box in fractions of the frame, its class, and its score (overlap; class probability 1)."""

    x1: float
    y1: float
    x2: float
    y2: float
    class_index: int = 0
    score: float = 0.9


class ScriptedDetector:
    """Implements `tubedet.runtime.detector.Detector`; equal input gives equal output.

    `script[i]` holds the boxes of the i-th frame predicted since construction; past its end nothing
    is found. `batch_sizes` records the size of every batch, in order.
    """

    temporal: TemporalReach | None = None
    uses_flow_images = False
    weights_sha256 = None
    device_name: str | None = None
    precision: str | None = None
    description = "scripted, no network"

    def __init__(
        self,
        *,
        class_names: tuple[str, ...] = ("walk", "run"),
        input_size: int = 64,
        min_score: float = 0.25,
        script: Sequence[Sequence[ScriptedBox]] | None = None,
    ) -> None:
        self.class_names = class_names
        self.input_size = input_size
        self.min_score = min_score
        self.batch_sizes: list[int] = []
        self._script = script
        self._frames_seen = 0

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        """Of a clip (B, 3, 2, S, S) the boxes of every frame, a `ScriptedBox` a row."""
        self.batch_sizes.append(clip.shape[0])
        found = [torch.tensor(self._boxes_of(first_frame)) for first_frame in clip[:, :, 0]]
        return [PairPrediction(boxes.view(-1, len(ScriptedBox._fields))) for boxes in found], None

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        """The boxes of a frame; one that is nothing where there is none."""
        assert prediction.raw is not None
        rows = prediction.raw if len(prediction.raw) else torch.zeros(1, len(ScriptedBox._fields))
        class_prob = one_hot(rows[:, 4].long(), len(self.class_names))
        return DecodedBoxes(rows[None, :, :4], rows[None, :, 5], class_prob[None].float())

    def _boxes_of(self, rgb: Tensor) -> Sequence[ScriptedBox]:
        number = self._frames_seen
        self._frames_seen += 1
        if self._script is None:
            return brightest_region(rgb)
        return self._script[number] if number < len(self._script) else ()


def brightest_region(rgb: Tensor) -> tuple[ScriptedBox, ...]:
    """The box around all pixels of (3, H, W) in the upper tenth of its brightness range, if any."""
    grey = rgb.float().mean(dim=0)
    darkest, brightest = float(grey.min()), float(grey.max())
    if brightest - darkest < FLAT_CONTRAST:
        return ()
    rows, columns = torch.nonzero(grey >= brightest - 0.1 * (brightest - darkest), as_tuple=True)
    height, width = grey.shape
    return (
        ScriptedBox(
            x1=int(columns.min()) / width,
            y1=int(rows.min()) / height,
            x2=(int(columns.max()) + 1) / width,
            y2=(int(rows.max()) + 1) / height,
        ),
    )
