"""The one small interface behind which a network runs: PyTorch today, an exported graph elsewhere.

It takes and gives CPU tensors, so that whoever feeds it need not know where it computes.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from torch import Tensor

from tubedet.models.yolov2.box_decoding import DecodedBoxes

DEFAULT_MIN_SCORE = 0.25  # Darknet's habit; a checkpoint that was measured says its own

StreamState = tuple[Tensor, ...]
"""What a network keeps of the frames before: tensors that only the detector itself understands."""


class PairTask(NamedTuple):
    """What is asked of a pair of frames.

    Attributes:
        boxes: whether boxes are asked for.
        is_step: whether the frame that boxes belong to is one that the video backbone is given.
        next_is_step: the same of its successor, the second frame of the pair, in the same shot.
        seconds: between both frames.
    """

    boxes: bool = True
    is_step: bool = True
    next_is_step: bool = False
    seconds: float = 1 / 30


class StepPrediction(NamedTuple):
    """What the context windows of the frames around take of a backbone step.

    `logits` (C, h, w) of actions; `flow_maps` (9, h, w) of the pair that begins with it.
    """

    logits: Tensor
    flow_maps: Tensor


class PairPrediction(NamedTuple):
    """What a network predicts of one pair of frames, on the CPU; None for what was not asked.

    `raw` predictions as the detector's own `decode` takes them; `step` for context windows.
    """

    raw: Tensor | None = None
    step: StepPrediction | None = None


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
    def temporal(self) -> "TemporalReach | None":
        """What of a video around a frame its boxes depend on; None: on its pair alone."""

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        """Run the network on B consecutive pairs of one shot.

        Pairs of which a task asks nothing may be left out.

        Args:
            clip: (B, 3, 2, S, S) uint8 or float32 RGB, 0..255, on the CPU; time axis: frame, its
                successor.
            tasks: B of them.
            state: what the call for the pairs before has returned; None where a shot begins, or
                for a detector without `temporal`.

        Returns:
            A prediction of each pair, and the state for those that follow in the same shot.
        """

    def decode(
        self, prediction: PairPrediction, window: Sequence[StepPrediction] = ()
    ) -> DecodedBoxes:
        """Boxes of a pair.

        Args:
            prediction: of the pair, one with boxes.
            window: the steps in its context window.

        Returns:
            boxes_xyxy (1, N, 4) in fractions of the input, overlap (1, N), class_prob (1, N, C):
            float32, on the CPU.
        """


class TemporalReach(NamedTuple):
    """What of a video a prediction depends on besides its own pair.

    Attributes:
        step_seconds: the aim for the time between two backbone steps.
        state_steps: so many steps of the past, at most, have a say in the state.
        seconds_before: a context window begins so long before its frame,
        seconds_after: and ends so long after it.
    """

    step_seconds: float
    state_steps: int
    seconds_before: float
    seconds_after: float
