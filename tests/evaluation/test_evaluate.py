"""Whole evaluations on videos made here, with a detector that says what a script tells it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.synthetic_video import square_xyxy, write_video
from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.errors import DatasetError, OutputError
from tubedet.evaluation.evaluate import ClipEvaluated, evaluate_detector
from tubedet.evaluation.plots import plot_precision_recall
from tubedet.evaluation.results_table import write_per_class_csv, write_result_json
from tubedet.evaluation.scoring import EvaluationResult, Protocol

FRAMES, WIDTH, HEIGHT = 4, 64, 48
WALK, RUN = 0, 1


def right_box(frame: int, class_index: int, score: float = 0.9) -> ScriptedBox:
    """The white square of a frame, as the detector would give it."""
    x1, y1, x2, y2 = square_xyxy(frame, WIDTH, HEIGHT)
    return ScriptedBox(x1 / WIDTH, y1 / HEIGHT, x2 / WIDTH, y2 / HEIGHT, class_index, score)


def right_script(class_index: int, score: float = 0.9) -> list[Sequence[ScriptedBox]]:
    return [(right_box(t, class_index, score),) for t in range(FRAMES)]


@pytest.fixture
def data(tmp_path: Path) -> AnnotatedDataset:
    """One clip of each of two classes, the square being the actor."""
    clips = []
    for class_index, label in enumerate(("walk", "run")):
        path = write_video(tmp_path / f"{label}.avi", frames=FRAMES, width=WIDTH, height=HEIGHT)
        squares = (square_xyxy(t, WIDTH, HEIGHT) for t in range(FRAMES))
        boxes = tuple((LabelledBox(class_index, square),) for square in squares)
        clips.append(AnnotatedClip(label, path, class_index, label, WIDTH, HEIGHT, boxes))
    return AnnotatedDataset("d", 1, "test", ("walk", "run"), tuple(clips), ("run/absent",))


def result_of(
    data: AnnotatedDataset,
    script: Sequence[Sequence[ScriptedBox]],
    class_names: tuple[str, ...] = ("walk", "run"),
) -> EvaluationResult:
    *_, result = evaluate_detector(ScriptedDetector(class_names=class_names, script=script), data)
    assert isinstance(result, EvaluationResult)
    return result


def test_perfect_detections_give_one_and_a_wrong_class_counts_as_such(
    data: AnnotatedDataset,
) -> None:
    all_walk = result_of(data, right_script(WALK) + right_script(WALK, score=0.5)).to_dict()

    per_class = all_walk["per_class"]
    assert per_class["walk"] == {"ground_truths": 4, "ap": {"0.2": 1.0, "0.5": 1.0, "0.75": 1.0}}
    assert per_class["run"]["ap"]["0.5"] == 0.0
    assert all_walk["f_map"] == {"0.2": 0.5, "0.5": 0.5, "0.75": 0.5}
    assert all_walk["box_right"] == 1.0


def test_the_result_says_what_was_measured_and_how(data: AnnotatedDataset) -> None:
    result = result_of(data, right_script(WALK) + right_script(RUN)).to_dict()

    assert (result["videos"], result["frames"]) == (2, 8)
    assert result["missing_videos"] == ["run/absent"]
    assert (result["data"], result["split"], result["part"]) == ("d", 1, "test")
    assert (
        "annotated frames, one box a frame; rule tubedet: VOC all-points area" in result["protocol"]
    )
    assert result["detector"] == "scripted, no network"


def test_a_low_score_counts_too(data: AnnotatedDataset) -> None:
    script = right_script(WALK, score=0.001) + right_script(RUN, score=0.001)

    assert result_of(data, script).to_dict()["f_map"]["0.75"] == 1.0


def test_only_the_best_box_of_a_frame_counts(data: AnnotatedDataset) -> None:
    two = [(right_box(t, WALK, 0.4), ScriptedBox(0, 0, 0.1, 0.1, RUN, 0.6)) for t in range(FRAMES)]

    result = result_of(data, two + right_script(RUN))

    assert result.box_right == 0.5
    assert result.to_dict()["per_class"]["walk"]["ap"]["0.5"] == 0.0


def test_all_boxes_count_besides_where_that_is_asked_for(data: AnnotatedDataset) -> None:
    two = [(right_box(t, WALK, 0.4), ScriptedBox(0, 0, 0.1, 0.1, RUN, 0.6)) for t in range(FRAMES)]
    detector = ScriptedDetector(script=two + right_script(RUN))

    *_, result = evaluate_detector(detector, data, Protocol(all_classes=True), batch_size=3)

    assert isinstance(result, EvaluationResult)
    figures = result.to_dict()
    assert figures["per_class"]["walk"]["ap"]["0.5"] == 0.0
    assert figures["all_classes"]["per_class"]["walk"]["ap"]["0.5"] == 1.0
    assert figures["errors"]["counts"]["background"] == FRAMES
    assert (figures["batch_size"], max(detector.batch_sizes)) == (3, 3)
    assert figures["frames_per_second"] > 0


def test_classes_meet_by_name_whatever_their_order(data: AnnotatedDataset) -> None:
    script = right_script(2) + right_script(0)

    result = result_of(data, script, class_names=("run", "swim", "walk")).to_dict()

    assert result["f_map"]["0.5"] == 1.0
    assert result["unnameable_classes"] == []


def test_classes_that_the_detector_does_not_know_are_named(data: AnnotatedDataset) -> None:
    result = result_of(data, right_script(0) + right_script(0), class_names=("walk", "swim"))

    assert result.source.unnameable == ("run",)


def test_alarms_in_frames_without_annotation_count_in_one_protocol_only(
    data: AnnotatedDataset,
) -> None:
    walk, run = data.clips
    bare = replace(walk, boxes_by_frame=(*walk.boxes_by_frame[:2], (), ()))
    script = [(right_box(t, WALK, 0.5 + t / 10),) for t in range(FRAMES)]  # false alarms score best

    result = result_of(replace(data, clips=(bare, run)), script + right_script(RUN)).to_dict()

    assert result["f_map"]["0.5"] == 1.0
    assert result["f_map_all_frames"]["0.5"] == pytest.approx((0.5 + 1) / 2)


def test_every_clip_is_reported_as_it_is_done(data: AnnotatedDataset) -> None:
    *progress, _ = evaluate_detector(ScriptedDetector(), data)

    assert progress == [ClipEvaluated("walk", 1, 2), ClipEvaluated("run", 2, 2)]


def test_the_rest_is_measured_when_a_clip_cannot_be_read(data: AnnotatedDataset) -> None:
    data.clips[1].path.write_bytes(b"this is no video")

    figures = result_of(data, right_script(WALK)).to_dict()

    assert list(figures["failed_clips"]) == ["run"]
    assert figures["failed_clips"]["run"].startswith("run: a clip of the data set is bad: ")
    # All of walk is found and nothing of run: the mean of 1 and 0, and four boxes missed.
    assert figures["f_map"]["0.5"] == 0.5
    assert (figures["errors"]["counts"]["missed"], figures["boxes_not_decoded"]) == (FRAMES, FRAMES)


def test_data_of_which_no_clip_can_be_run_is_an_error_that_names_the_first(
    data: AnnotatedDataset,
) -> None:
    for clip in data.clips:
        clip.path.write_bytes(b"this is no video")

    with pytest.raises(DatasetError, match="walk: a clip of the data set is bad: "):
        list(evaluate_detector(ScriptedDetector(), data))


def test_a_clip_of_another_size_than_annotated_counts_as_not_run(data: AnnotatedDataset) -> None:
    write_video(data.clips[0].path, frames=FRAMES, width=2 * WIDTH, height=HEIGHT)

    figures = result_of(data, right_script(RUN)).to_dict()

    assert "annotated are frames of 64x48, found 128x48" in figures["failed_clips"]["walk"]
    assert figures["per_class"]["run"]["ap"]["0.5"] == 1.0


def test_a_clip_of_quite_another_length_counts_as_not_run(data: AnnotatedDataset) -> None:
    walk, run = data.clips
    longer = replace(walk, boxes_by_frame=walk.boxes_by_frame * 3)

    script = right_script(WALK) + right_script(RUN)
    figures = result_of(replace(data, clips=(longer, run)), script).to_dict()

    assert "expected the 12 frames that are annotated, found 4" in figures["failed_clips"]["walk"]
    assert (figures["boxes_not_decoded"], figures["f_map"]["0.5"]) == (12, 0.5)


@pytest.mark.parametrize(("annotated", "missed"), [(FRAMES + 1, 1), (FRAMES - 1, 0)])
def test_a_clip_a_frame_longer_or_shorter_than_annotated_is_cut_to_the_shorter(
    data: AnnotatedDataset, annotated: int, missed: int
) -> None:
    walk, run = data.clips
    boxes = (*walk.boxes_by_frame, walk.boxes_by_frame[-1])[:annotated]
    data = replace(data, clips=(replace(walk, boxes_by_frame=boxes), run))

    result = result_of(data, right_script(WALK) + right_script(RUN))

    figures = result.to_dict()
    assert figures["decoded_frames_of_other_lengths"] == {"walk": FRAMES}
    assert figures["boxes_not_decoded"] == figures["errors"]["counts"]["missed"] == missed
    assert len(result.rows) == min(annotated, FRAMES) + FRAMES
    # Every box that is found is right: the area is the recall.
    recall = (annotated - missed) / annotated
    assert figures["per_class"]["walk"]["ap"]["0.5"] == pytest.approx(recall)


def test_the_files_hold_the_figures(data: AnnotatedDataset, tmp_path: Path) -> None:
    result = result_of(data, right_script(WALK) + right_script(RUN))

    write_result_json(result, tmp_path / "r.json")
    write_per_class_csv(result, tmp_path / "r.csv")

    assert json.loads((tmp_path / "r.json").read_text("utf-8")) == result.to_dict()
    table = pd.read_csv(tmp_path / "r.csv")
    assert table.to_dict("list") == {
        "class": ["walk", "run"],
        "ground_truths": [4, 4],
        "ap@0.2": [1.0, 1.0],
        "ap@0.5": [1.0, 1.0],
        "ap@0.75": [1.0, 1.0],
    }


def test_curves_become_a_picture(data: AnnotatedDataset, tmp_path: Path) -> None:
    result = result_of(data, right_script(WALK))

    plot_precision_recall(result, tmp_path / "curves.png")

    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_a_file_that_cannot_be_written_is_named(data: AnnotatedDataset, tmp_path: Path) -> None:
    result = result_of(data, right_script(WALK))

    with pytest.raises(OutputError, match=r"r\.json: could not be written"):
        write_result_json(result, tmp_path / "none" / "r.json")
    with pytest.raises(OutputError, match=r"r\.png: could not be written"):
        plot_precision_recall(result, tmp_path / "none" / "r.png")


def test_only_linked_boxes_are_smoothed_and_measured_as_tubes(data: AnnotatedDataset) -> None:
    flicker = [right_script(RUN)[t] if t == 3 else right_script(WALK)[t] for t in range(FRAMES)]
    script = [*flicker, *right_script(RUN)]

    alone = result_of(data, script)
    detector = ScriptedDetector(class_names=("walk", "run"), script=script)
    *_, linked = evaluate_detector(detector, data, link=True)

    assert isinstance(linked, EvaluationResult)
    assert (alone.trimmed[0].curves[WALK].average_precision, alone.video_map) == (0.75, None)
    assert linked.trimmed[0].curves[WALK].average_precision == 1.0
    assert linked.video_map is not None
    assert set(linked.video_map.values()) == {1.0}


def test_stored_flow_is_looked_for_where_it_is_said_to_be(
    data: AnnotatedDataset, tmp_path: Path
) -> None:
    detector = ScriptedDetector(class_names=("walk", "run"), script=[])
    detector.uses_flow_images = True

    with pytest.raises(DatasetError, match=r"flow.walk.00001\.jpg"):
        list(evaluate_detector(detector, data, flow_images=tmp_path / "flow"))
