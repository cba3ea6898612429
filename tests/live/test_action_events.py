"""When actions start and end, of boxes that a test lays down frame by frame; 10 frames a second."""

import json
from pathlib import Path

import pytest

from tests.live.file_stream import FileStream
from tests.synthetic_video import write_video
from tubedet.detections import Detection, FrameDetections
from tubedet.live.action_events import ActionEvent, ActionEvents


@pytest.fixture
def events(tmp_path: Path) -> ActionEvents:
    """Of a stream whose time 0 is 05:22:33.120 UTC."""
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48)
    return ActionEvents(FileStream(video), "rtsp://cam")


def box(frame: int, tube: int | None = 0, label: str = "walk") -> Detection:
    return Detection(label, 0, 0.5 + frame / 1000, (float(frame), 1.0, 30.0, 40.0), tube)


def frame(number: int, *boxes: Detection, ended: tuple[int, ...] = ()) -> FrameDetections:
    return FrameDetections(number, number, number / 10, boxes, ended)


def told(events: ActionEvents, frames: list[FrameDetections]) -> list[tuple[int, ActionEvent]]:
    """Each event with the frame at which it is said."""
    return [(each.frame, event) for each in frames for event in events.add(each)]


def test_a_start_is_said_after_half_a_second_with_its_own_frame_and_time(
    events: ActionEvents,
) -> None:
    ((said_at, start),) = told(events, [frame(n, box(n)) for n in range(3, 12)])
    assert said_at == 8  # 0.5 s behind frame 3
    assert json.loads(start.to_json()) == {
        "event": "start",
        "video": "rtsp://cam",
        "tube": 0,
        "label": "walk",
        "score": 0.503,
        **{"x1": 3.0, "y1": 1.0, "x2": 30.0, "y2": 40.0},
        "frame": 3,
        "time_s": 0.3,
        "at": "2026-11-30T05:22:33.420Z",
    }
    assert events.going_on == ["walk"]


def test_an_end_is_that_of_the_last_box_and_says_how_long_it_was(events: ActionEvents) -> None:
    frames = [frame(n, box(n)) for n in range(10)]
    frames += [frame(n) for n in range(10, 15)] + [frame(15, ended=(0,))]
    _, (said_at, end) = told(events, frames)
    assert said_at == 15
    assert json.loads(end.to_json()) == {
        "event": "end",
        "video": "rtsp://cam",
        "tube": 0,
        "label": "walk",
        "score": 0.509,
        **{"x1": 9.0, "y1": 1.0, "x2": 30.0, "y2": 40.0},
        "frame": 9,
        "time_s": 0.9,
        "at": "2026-11-30T05:22:34.020Z",
        "duration_s": 0.9,
        "boxes": 10,
    }
    assert events.going_on == []
    assert events.rest() == []


def test_what_does_not_last_half_a_second_is_no_event(events: ActionEvents) -> None:
    frames = [frame(n, box(n)) for n in range(5)] + [frame(5, ended=(0,))]
    assert told(events, frames) == []
    assert events.rest() == []


def test_a_box_without_a_tube_is_no_event(events: ActionEvents) -> None:
    assert told(events, [frame(n, box(n, None)) for n in range(20)]) == []


def test_another_action_of_a_tube_ends_the_one_before(events: ActionEvents) -> None:
    frames = [frame(n, box(n)) for n in range(8)]
    frames += [frame(n, box(n, label="run")) for n in range(8, 16)]
    assert [(at, e.event, e.label, e.frame) for at, e in told(events, frames)] == [
        (5, "start", "walk", 0),
        (8, "end", "walk", 7),
        (13, "start", "run", 8),
    ]
    assert [(e.event, e.label, e.frame) for e in events.rest()] == [("end", "run", 15)]


def test_tubes_start_and_end_on_their_own(events: ActionEvents) -> None:
    frames = [frame(n, box(n)) for n in range(4)]
    frames += [frame(n, box(n), box(n, 1, "run")) for n in range(4, 12)]
    frames += [frame(12, box(12, 1, "run"), ended=(0,))]
    said = [(at, e.event, e.tube, e.frame) for at, e in told(events, frames)]
    assert said == [(5, "start", 0, 0), (9, "start", 1, 4), (12, "end", 0, 11)]
