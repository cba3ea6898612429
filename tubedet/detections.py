"""What the detector says about a frame: frozen, plain Python, in source pixels."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Detection:
    """One box with its action.

    `box_xyxy` is in source pixels after rotation (x right, y down, half-open), inside the frame.
    `class_index` is the position of `label` in the detector's class names. `score` is
    overlap × class probability, in [0, 1]. `tube` is None until boxes are linked over time.
    `class_scores` are overlap × probability of every class, by class index, of this frame alone;
    they are what linking smooths, and empty if whoever made the detection doesn't know them.
    """

    label: str
    class_index: int
    score: float
    box_xyxy: tuple[float, float, float, float]
    tube: int | None = None
    class_scores: tuple[float, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class FrameDetections:
    """The detections of one frame, highest score first; empty when nothing was found.

    `frame` counts decoded frames from 0; `pts` is the source's own, None where it has none;
    `time_s` counts from the video's first frame. `ended_tubes` will not be seen again, in this
    frame or a later one.
    """

    frame: int
    pts: int | None
    time_s: float
    detections: tuple[Detection, ...]
    ended_tubes: tuple[int, ...] = ()
