"""Figures that others published, as rows of the paper's Tables I to IV.

Percent on UCF101-24, split 1; frames per second; for flow, end-point error in px and ms a frame.
Marks are the paper's: † untrimmed videos, ⋆ trimmed ones, ψ real time. A row's source says who
reported the figure: the paper, or the method's own paper or repository.
"""

from typing import NamedTuple

PAPER = "El-Nouby and Taylor (2018)"
OWN_PAPER = "the method's paper"
OWN_REPOSITORY = "the method's repository"
MARKS = (
    "† untrimmed videos (all frames), ⋆ trimmed ones (annotated frames), ψ real time; "
    "of later work only † and ⋆, where its code says so"
)


class AblationRow(NamedTuple):
    """A line of Table II: f-mAP in percent at IoU 0.2, 0.5 and 0.75."""

    model: str
    at_20: float
    at_50: float
    at_75: float


class PerformerRow(NamedTuple):
    """A line of Table III: f-mAP in percent at IoU 0.5."""

    model: str
    marks: str
    at_50: float
    source: str = PAPER


class SpeedRow(NamedTuple):
    """A line of Table IV: frames per second by batch size, on a GTX Titan X."""

    model: str
    batch_1: float | None
    batch_4: float


class FlowRow(NamedTuple):
    """A line of Table I: Sintel final, training part."""

    method: str
    error_px: float
    ms_a_frame: float


TABLE_1 = (
    FlowRow("DIS-Fast (CPU)", 6.31, 70),
    FlowRow("FlowNetS (GPU)", 5.45, 18),
    FlowRow("FlowNet2-CSS (GPU)", 3.55, 69),
    FlowRow("FlowNet2 (GPU)", 3.14, 123),
)
TABLE_2 = (
    AblationRow("Brox + VOC", 77.93, 70.64, 32.73),
    AblationRow("Brox + Kinetics", 80.24, 73.18, 33.81),
    AblationRow("FlowNet2 + VOC", 75.43, 66.97, 28.57),
    AblationRow("FlowNet2 + Kinetics", 79.41, 71.51, 32.83),
    AblationRow("Tuned FlowNet2 + VOC", 76.69, 69.03, 31.88),
    AblationRow("Tuned FlowNet2 + Kinetics", 81.31, 74.07, 34.41),
    AblationRow("Tuned FlowNet2-CSS + Kinetics", 79.90, 72.13, 32.24),
    AblationRow("Tuned FlowNet2-SD + Kinetics", 78.86, 71.67, 33.39),
)
TABLE_3 = (
    PerformerRow("Weinzaepfel et al.", "†", 35.84),
    PerformerRow("Hou et al.", "⋆", 41.37),
    PerformerRow("Peng et al.", "†", 65.37),
    PerformerRow("Singh et al. RGB + DIS-Fast", "† ψ", 65.66),
    PerformerRow("Singh et al. RGB + Brox", "†", 68.31),
    PerformerRow("Kalogeiton et al.", "†", 67.1),
    PerformerRow("Brox + Kinetics", "⋆", 73.18),
    PerformerRow("Tuned FlowNet2 + Kinetics", "⋆", 74.07),
    PerformerRow("Tuned FlowNet2-CSS + Kinetics", "⋆ ψ", 72.13),
    PerformerRow("Tuned FlowNet2-SD + Kinetics", "⋆ ψ", 71.67),
    # Later work. MOC scores every frame, YOWO and YOWOv2 those with ground truth; the others' code
    # was not read, so their rows bear no mark.
    PerformerRow("MOC RGB + flow, COCO", "†", 78.01, OWN_REPOSITORY),
    PerformerRow("YOWO", "⋆", 80.4, OWN_PAPER),
    PerformerRow("YOWO-Plus", "", 84.9, OWN_PAPER),
    PerformerRow("YOWO-Nano", "", 81.0, OWN_PAPER),
    PerformerRow("YOWOF-R18", "", 83.3, OWN_REPOSITORY),
    PerformerRow("YOWOv2-L, 16 frames", "⋆", 85.2, OWN_REPOSITORY),
    PerformerRow("YOWOv2-L, 32 frames", "⋆", 87.0, OWN_REPOSITORY),
    PerformerRow("YOWOv3-L", "", 88.33, OWN_PAPER),
    PerformerRow("Mamba-YOWO", "", 90.24, OWN_PAPER),
)
TABLE_4 = (
    SpeedRow("Singh et al. RGB + DIS-Fast", None, 28),
    SpeedRow("Tuned FlowNet2 + Kinetics", 12, 15),
    SpeedRow("Tuned FlowNet2-CSS + Kinetics", 17, 21),
    SpeedRow("Tuned FlowNet2-SD + Kinetics", 25, 31),
)
