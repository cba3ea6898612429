"""Single frames judged, with a detector that says what a script tells it."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.drawn_jhmdb import draw_jhmdb
from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import square_xyxy
from tubedet.datasets.annotated_clips import AnnotatedDataset, LabelledBox
from tubedet.datasets.jhmdb_21 import load_jhmdb_21
from tubedet.evaluation.detection_rows import rows_table
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.frame_outcomes import FrameOutcome, frame_outcomes

WALK, RUN = 0, 1


def outcomes_of(detector: ScriptedDetector, data: AnnotatedDataset) -> list[FrameOutcome]:
    return list(frame_outcomes(detect_rows(detector, data), data))


@pytest.fixture
def data(tmp_path: Path) -> AnnotatedDataset:
    return load_jhmdb_21(draw_jhmdb(tmp_path, {"run": ["a"]}), part="test")


def at_square(frame: int, class_index: int) -> ScriptedBox:
    x1, y1, x2, y2 = square_xyxy(frame, 64, 48)
    return ScriptedBox(x1 / 64, y1 / 48, x2 / 64, y2 / 48, class_index)


def test_place_and_action_are_judged_apart(data: AnnotatedDataset) -> None:
    elsewhere = ScriptedBox(0.8, 0.8, 1.0, 1.0, RUN)
    script = [(at_square(0, RUN),), (at_square(1, WALK),), (elsewhere,), ()]

    outcomes = outcomes_of(ScriptedDetector(script=script), data)

    assert [outcome.frame for outcome in outcomes] == [0, 1, 2, 3]
    assert [outcome.box_right for outcome in outcomes] == [True, True, False, False]
    assert [outcome.action_right for outcome in outcomes] == [True, False, False, False]
    assert [outcome.found.label if outcome.found else None for outcome in outcomes] == [
        "run",
        "walk",
        "run",
        None,
    ]


def test_the_action_has_to_be_that_of_the_box_it_meets(data: AnnotatedDataset) -> None:
    (clip,) = data.clips
    runs, walks = data.class_names.index("run"), data.class_names.index("walk")
    square = LabelledBox(walks, clip.boxes_by_frame[0][0].box_xyxy)
    far = LabelledBox(runs, (0.0, 0.0, 4.0, 4.0))
    both = replace(clip, boxes_by_frame=((far, square),) * clip.frames)
    script = [(at_square(0, RUN),), (at_square(0, WALK),)]

    outcomes = outcomes_of(ScriptedDetector(script=script), replace(data, clips=(both,)))

    judged = [(o.box_right, o.action_right) for o in outcomes[:2]]
    assert judged == [(True, False), (True, True)]


def test_frames_without_annotation_are_left_out(data: AnnotatedDataset) -> None:
    (clip,) = data.clips
    bare = replace(clip, boxes_by_frame=((), *clip.boxes_by_frame[1:3], ()))

    outcomes = outcomes_of(ScriptedDetector(), replace(data, clips=(bare,)))

    assert [outcome.frame for outcome in outcomes] == [1, 2]


def test_frames_behind_the_annotation_are_not_judged(data: AnnotatedDataset) -> None:
    (clip,) = data.clips
    short = replace(clip, boxes_by_frame=clip.boxes_by_frame[:3])

    outcomes = outcomes_of(ScriptedDetector(), replace(data, clips=(short,)))

    assert [outcome.frame for outcome in outcomes] == [0, 1, 2]


def test_half_of_the_union_is_enough_to_meet(data: AnnotatedDataset) -> None:
    (clip,) = data.clips
    runs = data.class_names.index("run")
    truth = tuple((LabelledBox(runs, (0.0, 0.0, 10.0, bottom)),) for bottom in (10.0, 9.9))
    rows = rows_table(
        (clip.video, frame, None, "run", 0.9, 0.0, 0.0, 10.0, 20.0) for frame in (0, 1)
    )

    outcomes = frame_outcomes(rows, replace(data, clips=(replace(clip, boxes_by_frame=truth),)))

    assert [outcome.box_right for outcome in outcomes] == [True, False]
