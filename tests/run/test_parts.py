"""A run over parts of a video leaves what a run over the whole leaves, to the byte."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.scripted_run import TellingDetector, job_of, meta_of, run, telling_video
from tubedet.run.detection import DetectionWork
from tubedet.run.part_boxes import PartFound
from tubedet.run.parts import split
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.runtime.detector import TemporalReach
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.time_range import FrameNumber, Seconds, TimeRange

FRAMES = 80
KEYS = {"preset": "veryfast", "qp": "0", "g": "9", "bf": "2"}
SHORT = TemporalReach(step_seconds=1 / 15, state_steps=3, seconds_before=0.2, seconds_after=0.15)
ALL_BOXES = SelectionRule(min_score=0, max_boxes=None, nms_iou=None)


def found_in_parts(
    video: Path, plan: RunPlan, temporal: TemporalReach | None, part_s: float
) -> list[PartFound]:
    """Each by a detector of its own, as it is in another process."""
    work = DetectionWork(TellingDetector(temporal), plan)
    parts = split(video, work, part_s=part_s)
    return [
        DetectionWork(TellingDetector(temporal), plan).find_part(video, part, StopRequest())
        for part in parts
    ]


def outputs(folder: Path) -> dict[str, Any]:
    """Every file by its name, and the meta without the hour."""
    left: dict[str, Any] = {}
    for path in sorted(folder.iterdir()):
        is_meta = path.name.endswith(".meta.json")
        left[path.name] = meta_of(path) if is_meta else path.read_bytes()
    return left


def check(
    video: Path,
    tmp_path: Path,
    temporal: TemporalReach | None = SHORT,
    part_s: float = 0.5,
    formats: tuple[str, ...] = ("csv", "mp4"),
    **asked: Any,
) -> int:
    plan = RunPlan(**asked)
    found = found_in_parts(video, plan, temporal, part_s)
    detector = TellingDetector(temporal)
    run(job_of(video, tmp_path / "parts"), DetectionWork(detector, plan, parts=found), formats)
    whole = DetectionWork(TellingDetector(temporal), plan)
    run(job_of(video, tmp_path / "whole"), whole, formats)
    assert outputs(tmp_path / "parts") == outputs(tmp_path / "whole")
    assert detector.looked == []
    return len(found)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("parts") / "clip.mp4"
    return telling_video(path, frames=FRAMES, fps=Fraction(30), keys=KEYS)


@pytest.mark.parametrize("temporal", [SHORT, SHORT._replace(seconds_after=0), None])
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"rule": ALL_BOXES},
        {"link": False},
        {"smooth": False},
        {"find_cuts": True},
        {"span": TimeRange(FrameNumber(11), FrameNumber(70))},
        {"span": TimeRange(Seconds(Fraction(1, 7)), Seconds(Fraction(5, 2)))},
        {"max_frames": 70},
    ],
    ids=str,
)
def test_a_run_over_parts_leaves_what_a_run_over_the_whole_leaves(
    video: Path, tmp_path: Path, temporal: TemporalReach | None, asked: dict[str, Any]
) -> None:
    assert check(video, tmp_path, temporal, **asked) in (3, 4)
