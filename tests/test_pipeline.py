from collections.abc import Sequence
from fractions import Fraction
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from torch import Tensor

from tests.scripted_detector import ScriptedBox, ScriptedDetector, brightest_region
from tests.scripted_run import (
    TellingDetector,
    job_of,
    meta_of,
    pictures_of,
    rows_of,
    run,
    telling_video,
)
from tests.small_detector import small_config, small_network
from tests.synthetic_video import corrupt, square_xyxy, write_video
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.errors import DatasetError, UsageError, VideoError
from tubedet.notes import Note
from tubedet.pipeline import detect_video, load_detector, process_video, stream_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone, VideoDone
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import PairPrediction, PairTask, StreamState, TemporalReach
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.time_range import FrameNumber, TimeRange

CENTRE = ScriptedBox(0.25, 0.25, 0.75, 0.75)


class PairRecorder(ScriptedDetector):
    """Remembers which two frames every pair showed, told by the square's place."""

    def __init__(self) -> None:
        super().__init__(input_size=320)
        self.pairs: list[tuple[int, int]] = []

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        for pair in clip:
            first, second = (round(brightest_region(pair[:, t])[0].x1 * 160) for t in (0, 1))
            self.pairs.append((first, second))
        return super().predict(clip, tasks, state)


class FlowImageDetector(ScriptedDetector):
    """Remembers the mean colour of the second frame of every pair."""

    def __init__(self) -> None:
        super().__init__()
        self.uses_flow_images = True
        self.colours: list[tuple[int, ...]] = []

    def predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None = None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        for pair in clip:
            self.colours.append(
                tuple(round(float(mean)) for mean in pair[:, 1].float().mean(dim=(1, 2)))
            )
        return super().predict(clip, tasks, state)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames; the square stands at x = 2 · frame, so a box says which frame it was found in."""
    return write_video(tmp_path / "clip.mp4", frames=10)


def test_every_frame_has_one_entry_with_the_source_time_and_the_box_of_its_own_picture(
    video: Path,
) -> None:
    found = list(detect_video(video, ScriptedDetector(input_size=320)))
    assert [each.frame for each in found] == list(range(10))
    assert [each.time_s for each in found] == pytest.approx([n / 24 for n in range(10)])
    for each in found[:-1]:  # the last frame's pair starts at the one before it
        box = each.detections[0].box_xyxy
        assert box == pytest.approx(square_xyxy(each.frame, 320, 240), abs=2)


def test_every_frame_is_paired_with_its_successor_and_the_last_with_its_predecessor(
    video: Path,
) -> None:
    recorder = PairRecorder()
    list(detect_video(video, recorder))
    assert recorder.pairs == [*((t, t + 1) for t in range(9)), (8, 9)]


def test_a_stride_and_a_range_pair_frames_with_their_successors_in_the_source(video: Path) -> None:
    recorder = PairRecorder()
    found = list(detect_video(video, recorder, start_frame=2, end_frame=9, stride=3))
    assert [each.frame for each in found] == [2, 5, 8]
    assert recorder.pairs == [(2, 3), (5, 6), (8, 9)]


def test_a_range_in_seconds_ends_before_its_end(video: Path) -> None:
    found = detect_video(video, ScriptedDetector(), start_s=2 / 24, end_s=3.5 / 24)
    assert [each.frame for each in found] == [2, 3]


@pytest.mark.parametrize("number", [3, np.int64(3)])
def test_a_number_of_a_frame_is_one_whatever_its_type(video: Path, number: int) -> None:
    found = detect_video(video, ScriptedDetector(), start_frame=number, end_frame=number + 2)
    assert [each.frame for each in found] == [3, 4]


@pytest.mark.parametrize("second", [0, 0.0, np.int64(0), np.float32(0)])
def test_a_second_is_one_whatever_its_type(video: Path, second: float) -> None:
    found = detect_video(video, ScriptedDetector(), start_s=second, max_frames=1)
    assert [each.frame for each in found] == [0]
    with pytest.raises(VideoError, match=r"found 10 from 0 s to 0\.375 s"):
        next(detect_video(video, ScriptedDetector(), start_s=second + 1))


@pytest.mark.parametrize("limit", ["start", "end"])
def test_a_moment_in_two_units_is_a_usage_error(video: Path, limit: str) -> None:
    both: dict[str, Any] = {f"{limit}_s": 1, f"{limit}_frame": 24}
    with pytest.raises(UsageError, match="found both: 1 s and frame 24"):
        next(detect_video(video, ScriptedDetector(), **both))


def test_at_most_max_frames_are_detected(video: Path) -> None:
    found = detect_video(video, ScriptedDetector(), stride=2, max_frames=3)
    assert [each.frame for each in found] == [0, 2, 4]


def test_the_batch_size_changes_how_often_the_network_runs_and_nothing_else(video: Path) -> None:
    online, batched = ScriptedDetector(), ScriptedDetector()
    assert list(detect_video(video, batched, batch_size=4)) == list(detect_video(video, online))
    assert batched.batch_sizes == [4, 4, 2]
    assert online.batch_sizes == [1] * 10


def test_a_wide_stride_does_not_make_a_batch_hold_more_than_32_frames(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=70, width=64, height=64)
    detector = ScriptedDetector()
    found = detect_video(video, detector, stride=20, batch_size=4)
    assert [each.frame for each in found] == [0, 20, 40, 60]
    assert detector.batch_sizes == [2, 2]  # held were frames 0–31 and 40–69, not 0–60


def test_a_batch_size_above_32_is_kept(tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=50, width=64, height=64)
    detector = ScriptedDetector()
    assert len(list(detect_video(video, detector, batch_size=40))) == 50
    assert detector.batch_sizes == [40, 10]


def test_detections_come_as_soon_as_a_batch_is_decoded(video: Path) -> None:
    detector = ScriptedDetector()
    assert next(detect_video(video, detector)).frame == 0
    assert detector.batch_sizes == [1]


def test_without_a_rule_the_weights_threshold_and_one_box_a_frame_hold(video: Path) -> None:
    boxes = [CENTRE._replace(score=0.3), CENTRE._replace(score=0.6, class_index=1)]
    detector = ScriptedDetector(script=[boxes, [CENTRE._replace(score=0.2)]], min_score=0.25)
    found = list(detect_video(video, detector, max_frames=2))
    assert [[box.label for box in each.detections] for each in found] == [["run"], []]


def test_a_rule_replaces_that(video: Path) -> None:
    boxes = [CENTRE._replace(score=0.3), CENTRE._replace(score=0.6, class_index=1)]
    rule = SelectionRule(min_score=0.1, max_boxes=None)
    found = next(detect_video(video, ScriptedDetector(script=[boxes]), rule=rule))
    assert [box.label for box in found.detections] == ["run", "walk"]
    assert found.detections[0].box_xyxy == (80, 60, 240, 180)


@pytest.mark.parametrize(
    "span", [{"start_frame": 10}, {"start_s": 5}, {"start_s": 0.1, "end_frame": 1}], ids=str
)
def test_a_range_without_a_frame_is_a_video_error(video: Path, span: dict[str, Any]) -> None:
    with pytest.raises(VideoError, match="choose another range"):
        list(detect_video(video, ScriptedDetector(), **span))


@pytest.mark.parametrize("name", ["stride", "max_frames", "batch_size"])
def test_a_number_below_one_is_a_usage_error(name: str) -> None:
    numbers: dict[str, Any] = {name: 0}
    with pytest.raises(UsageError, match="expected 1 or more, found 0"):
        RunPlan(**numbers)


def test_a_checkpoint_alone_gives_a_detector_whose_boxes_do_not_depend_on_the_batch(
    tmp_path: Path, video: Path
) -> None:
    """With a small seeded network, which detects nothing sensible."""
    config = small_config()
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, small_network(config), CheckpointHeader(config=config.to_dict()))
    detector = load_detector(checkpoint, device="cpu", precision="fp32")
    rule = SelectionRule(min_score=0)
    single = list(detect_video(video, detector, rule=rule))
    batched = list(detect_video(video, detector, rule=rule, batch_size=4))
    assert len(single) == 10
    for one, other in zip(single, batched, strict=True):
        assert one.detections[0].box_xyxy == pytest.approx(other.detections[0].box_xyxy, abs=0.01)


@pytest.mark.parametrize(("latency", "after"), [("half-second", 16 / 30), ("none", 0)])
def test_weights_of_light_give_a_detector_with_a_memory(
    tmp_path: Path, latency: str, after: float
) -> None:
    config = small_config("light")
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, small_network(config), CheckpointHeader(config=config.to_dict()))
    detector = load_detector(checkpoint, precision="fp32", latency=latency, runtime="torch")
    assert detector.temporal is not None
    assert detector.temporal.seconds_after == after
    with pytest.raises(UsageError, match="latency 'some' is unknown; choose one of half-second, n"):
        load_detector(checkpoint, latency="some")


@pytest.mark.parametrize("after_s", [0.5, 0.0])
def test_the_meta_says_what_a_memory_does_to_scores_and_to_the_delay(
    tmp_path: Path, after_s: float
) -> None:
    video = telling_video(tmp_path / "clip.mp4", frames=6)
    detector = TellingDetector(TemporalReach(1 / 15, 28, 0.5, after_s))
    run(job_of(video), DetectionWork(detector, RunPlan()), ["json"])
    meta = meta_of(video.parent / "out/clip.meta.json")
    expected = {"score": "overlap", "cuts": True, "smooth": after_s > 0}
    assert meta["settings"] | expected == meta["settings"]
    assert meta["runtime"]["delay_s"] == (0.77 if after_s else 0)


def test_with_a_memory_a_range_is_written_drawn_and_counted_as_it_was_asked_for(
    tmp_path: Path,
) -> None:
    video = telling_video(tmp_path / "clip.mp4", frames=40)
    plan = RunPlan(span=TimeRange(FrameNumber(20), FrameNumber(26)), stride=2)
    work = DetectionWork(TellingDetector(TemporalReach(1 / 15, 28, 0.5, 0.5)), plan)
    *frames, done = process_video(job_of(video), work, ["mp4", "csv"])
    assert frames == [FrameDone(n, 6) for n in range(1, 7)]
    assert isinstance(done, VideoDone)
    assert (done.frames, done.processed, done.partial) == (6, 3, False)
    assert len(pictures_of(video.parent / "out/clip.tubedet.mp4")) == 6
    assert {row["frame"] for row in rows_of(video.parent / "out/clip.csv")} <= {"20", "22", "24"}
    meta = meta_of(video.parent / "out/clip.meta.json")
    assert (meta["first_frame"], meta["processed_frames"]) == (20, 3)


def test_flow_images_of_the_frame_itself_are_the_second_half_of_the_input(
    tmp_path: Path, video: Path
) -> None:
    import cv2

    folder = tmp_path / "flow"
    folder.mkdir()
    for number in range(1, 11):
        bgr = np.full((240, 320, 3), (10, 128, 20 * number), np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.jpg"), bgr)
    detector = FlowImageDetector()
    list(detect_video(video, detector, flow_images=folder))
    for number, colour in enumerate(detector.colours, start=1):
        assert colour == pytest.approx((20 * number, 128, 10), abs=2)

    (folder / "00004.jpg").unlink()
    with pytest.raises(DatasetError, match=r"flow/00004\.jpg"):
        list(detect_video(video, FlowImageDetector(), flow_images=folder))


def test_flow_images_and_a_detector_that_needs_them_come_together(video: Path) -> None:
    with pytest.raises(UsageError, match="needs a folder of flow images"):
        next(detect_video(video, FlowImageDetector()))
    with pytest.raises(UsageError, match="makes its own flow"):
        next(detect_video(video, ScriptedDetector(), flow_images=video.parent))


@pytest.mark.parametrize("link", [True, False])
def test_boxes_are_linked_unless_that_is_left_out(video: Path, link: bool) -> None:
    found = list(detect_video(video, ScriptedDetector(), link=link))
    assert {box.tube for each in found for box in each.detections} == {0 if link else None}
    assert list(detect_video(video, ScriptedDetector())) == list(
        detect_video(video, ScriptedDetector(), link=True)
    )


def test_a_run_says_every_frame_and_leaves_its_outputs_and_the_meta(video: Path) -> None:
    work = DetectionWork(ScriptedDetector(), RunPlan())
    events = list(process_video(job_of(video), work, ["mp4", "csv", "json"]))
    done = events.pop()
    assert events == [FrameDone(n, 10) for n in range(1, 11)]
    assert isinstance(done, VideoDone)
    names = ["clip.csv", "clip.json", "clip.tubedet.mp4", "clip.meta.json"]
    assert [path.name for path in done.outputs] == names
    assert (done.frames, done.processed, done.found, done.partial) == (10, 10, 10, False)
    assert sorted(path.name for path in (video.parent / "out").iterdir()) == sorted(names)


def test_a_run_writes_the_rows_that_detect_video_gives(video: Path) -> None:
    script = [[CENTRE._replace(class_index=n % 2, score=0.5 + n / 40)] for n in range(10)]
    run(job_of(video), DetectionWork(ScriptedDetector(script=script), RunPlan()), ["csv"])
    rows = rows_of(video.parent / "out/clip.csv")
    found = detect_video(video, ScriptedDetector(script=script))
    boxes = [(each.frame, box) for each in found for box in each.detections]
    assert [(row["frame"], row["tube"], row["label"], row["score"]) for row in rows] == [
        (str(frame), str(box.tube), box.label, f"{box.score:.4f}") for frame, box in boxes
    ]
    assert len(rows) == 10


def test_rows_on_a_stream_are_those_of_a_file(video: Path) -> None:
    stream = StringIO()
    work = DetectionWork(ScriptedDetector(), RunPlan(stride=2))
    *frames, done = stream_video(job_of(video), work, stream)
    assert frames == [FrameDone(n, 10) for n in range(1, 11)]
    assert isinstance(done, VideoDone)
    assert (done.frames, done.processed, done.partial, done.outputs) == (10, 5, False, ())
    run(job_of(video), DetectionWork(ScriptedDetector(), RunPlan(stride=2)), ["jsonl"])
    assert stream.getvalue() == (video.parent / "out/clip.jsonl").read_text()


def test_the_meta_says_what_was_processed_and_how(video: Path) -> None:
    rule = SelectionRule(min_score=0.5, classes=frozenset({"walk"}))
    span = TimeRange(FrameNumber(2), FrameNumber(9))
    plan = RunPlan(span=span, stride=3, rule=rule, max_frames=2, batch_size=2, link=False)
    run(job_of(video), DetectionWork(ScriptedDetector(), plan), ["json"])
    meta = meta_of(video.parent / "out/clip.meta.json")
    status = video.stat()
    expected = {
        "video": "clip.mp4",
        "source": {"bytes": status.st_size, "modified_ns": status.st_mtime_ns},
        "width": 320,
        "height": 240,
        "fps": "24/1",
        "frames_in_container": 10,
        "start": "2f",
        "end": "9f",
        "first_frame": 2,
        "stride": 3,
        "processed_frames": 2,
        "complete": True,
        "notes": [],
        "class_names": ["walk", "run"],
        "runtime": {"detector": "scripted, no network", "batch_size": 2, "delay_s": 0.0},
        "resume": None,
    }
    assert meta | expected == meta
    assert meta["settings"] == {
        "input_size": 64,
        "max_frames": 2,
        "video_stream": None,
        "flow_images": None,
        "cuts": False,
        "score": "product",
        "vote": False,
        "min_score": 0.5,
        "classes": ["walk"],
        "max_boxes": 1,
        "nms_iou": 0.45,
        "smooth": False,
        "link": False,
    }
    written = (video.parent / "out/clip.json").read_bytes()
    told = {"name": "clip.json", "bytes": len(written), "sha256": sha256(written).hexdigest()}
    assert meta["outputs"] == {"json": told}
    within = meta_of(video.parent / "out/clip.json")["meta"]
    assert within == meta | {"outputs": {}}, "but for what only a finished file can tell of itself"


def test_with_a_stride_the_mp4_keeps_every_frame_and_shows_the_last_box_faintly(
    video: Path,
) -> None:
    script = [[CENTRE]] * 5
    run(job_of(video), DetectionWork(ScriptedDetector(script=script), RunPlan(stride=2)))
    out = video.parent / "out"
    assert [row["frame"] for row in rows_of(out / "clip.csv")] == ["0", "2", "4", "6", "8"]
    drawn, plain = pictures_of(out / "clip.tubedet.mp4"), pictures_of(video)
    assert len(drawn) == 10
    left_edge = np.s_[90:150, 79:82]  # of the box 80..240 x 60..180
    changes = [
        np.abs(new[left_edge].astype(int) - old[left_edge]).mean()
        for new, old in zip(drawn, plain, strict=True)
    ]
    assert min(changes[0::2]) > 1.3 * max(changes[1::2])
    assert min(changes[1::2]) > 10


def test_max_frames_ends_the_mp4_before_the_next_frame_that_would_be_detected(video: Path) -> None:
    plan = RunPlan(stride=3, max_frames=2)
    done = run(job_of(video), DetectionWork(ScriptedDetector(), plan))
    assert (done.frames, done.processed) == (6, 2)
    assert len(pictures_of(video.parent / "out/clip.tubedet.mp4")) == 6


def cut_off_video(folder: Path, suffix: str) -> Path:
    """The first part of 60 frames; MP4 keeps its index in front, as from a broken download."""
    video = write_video(folder / f"clip{suffix}", frames=60, width=64, height=48)
    if suffix == ".mp4":
        run(job_of(video), DetectionWork(ScriptedDetector(), RunPlan()), ["mp4"])
        (folder / "out/clip.tubedet.mp4").replace(video)
    return corrupt(video, keep=0.75)  # an AVI of 60 such frames is half header and first picture


@pytest.mark.parametrize(
    ("suffix", "promise"), [(".mp4", "60"), (".avi", "60"), (".mkv", "about 60")]
)
def test_a_source_that_is_cut_off_is_said_to_be_so(
    tmp_path: Path, suffix: str, promise: str
) -> None:
    video = cut_off_video(tmp_path, suffix)
    done = run(job_of(video), DetectionWork(ScriptedDetector(), RunPlan()))
    assert 0 < done.frames < 57
    note = f"the container promises {promise} frames, {done.frames} could be read"
    assert [each for each in done.notes if "promises" in each.text] == [
        Note(f"{note}: the file may be cut off", loss=True)
    ]
    assert done.has_loss
    meta = meta_of(video.parent / "out/clip.meta.json")
    assert meta["notes"] == [{"text": each.text, "loss": each.loss} for each in done.notes]
    with av.open(str(video.parent / "out/clip.tubedet.mp4")) as container:
        stream = container.streams.video[0]
        seconds = float((stream.duration or 0) * (stream.time_base or 0))
    assert seconds == pytest.approx(done.frames / 24, abs=0.05), "no frame stands still"


@pytest.mark.parametrize(
    "plan",
    [RunPlan(max_frames=5), RunPlan(span=TimeRange(None, FrameNumber(5)))],
    ids=["max_frames", "end"],
)
def test_a_run_that_was_to_end_early_says_nothing_of_missing_frames(
    video: Path, plan: RunPlan
) -> None:
    assert run(job_of(video), DetectionWork(ScriptedDetector(), plan)).notes == ()


def test_a_variable_rate_whose_last_frame_is_where_the_duration_ends_is_not_cut_off(
    tmp_path: Path,
) -> None:
    stamps = [*range(0, 400, 40), 1900, 3000]
    video = write_video(
        tmp_path / "clip.mkv", fps=Fraction(25), timestamps=stamps, time_base=Fraction(1, 1000)
    )
    done = run(job_of(video), DetectionWork(ScriptedDetector(), RunPlan()))
    assert (done.frames, done.notes) == (12, ())
