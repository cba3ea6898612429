"""A run that goes on from what an interrupted one has left ends as if nothing had happened.

The network of these tests says other things of every frame, and of what is within its reach.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.scripted_run import (
    TellingDetector,
    WorkThatFails,
    ending,
    job_of,
    meta_of,
    names_in,
    pictures_of,
    rows_of,
    run,
    sound_of,
    telling_video,
    times_of,
)
from tubedet.batch.earlier_results import Existing, what_is_left
from tubedet.errors import OutputError, UsageError
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import VideoDone
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.runtime.detector import TemporalReach
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.time_range import FrameNumber, TimeRange
from tubedet.writers.csv import CsvWriter
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.writer import FrameResult, Writer

FRAMES = 24
ROWS = ["csv", "jsonl", "json", "segments"]
RULE = SelectionRule(min_score=0.2, max_boxes=None)
# So short that most frames do not depend on the first ones, nor on the last.
SHORT = TemporalReach(step_seconds=1 / 15, state_steps=0, seconds_before=0.05, seconds_after=0.1)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return telling_video(tmp_path_factory.mktemp("source") / "clip.mp4", audio=["aac"])


@dataclass(frozen=True)
class Resumed:
    """What went on: its end, and the frames that the network was shown."""

    done: VideoDone
    looked: list[int]


def work_of(plan: RunPlan, detector: TellingDetector | None = None) -> DetectionWork:
    return DetectionWork(detector or TellingDetector(), plan)


def resume(
    job: VideoJob,
    plan: RunPlan,
    formats: list[str],
    *,
    detector: TellingDetector | None = None,
    after: int | None = None,
) -> Resumed:
    """As `--resume` does; stopped again after so many frames."""
    detector = detector or TellingDetector()
    todo = what_is_left(job, work_of(plan, detector), formats, Existing(resume=True), begun=True)
    work = DetectionWork(detector, plan, earlier=todo.earlier)
    done = run(job, work, todo.formats, after=after, overwrite=todo.overwrite)
    return Resumed(done, detector.looked)


def content_of(folder: Path) -> dict[str, object]:
    """The rows as they were written, to the byte; of the JSON but for the meta."""
    read: dict[str, object] = {
        name: (folder / f"clip.{name}").read_bytes() for name in ("csv", "jsonl", "segments.csv")
    }
    return read | {"json": json.loads((folder / "clip.json").read_text())["detections"]}


def frames_due(plan: RunPlan) -> list[int]:
    """By hand: all of the telling video that the stride falls on."""
    return list(range(0, FRAMES, plan.stride))


PLANS = [
    RunPlan(stride=stride, batch_size=batch_size, rule=RULE, link=link)
    for stride in (1, 3)
    for batch_size in (1, 4)
    for link in (True, False)
]


@pytest.mark.parametrize("source", ["csv", "jsonl", "json"])
@pytest.mark.parametrize("reach", [None, SHORT], ids=["pairs", "temporal"])
@pytest.mark.parametrize("plan", PLANS, ids=lambda p: f"{p.stride}-{p.batch_size}-{p.link}")
def test_rows_gone_on_from_equal_those_of_an_undisturbed_run_to_the_byte(
    tmp_path: Path, video: Path, plan: RunPlan, reach: TemporalReach | None, source: str
) -> None:
    run(job_of(video, tmp_path / "whole"), work_of(plan, TellingDetector(reach)), ROWS)
    expected = content_of(tmp_path / "whole")
    assert len(rows_of(tmp_path / "whole/clip.csv")) > FRAMES / plan.stride, "much may be lost"

    for stopped in (1, 7, 12, 23):
        job = job_of(video, tmp_path / f"stopped after {stopped}")
        run(job, work_of(plan, TellingDetector(reach)), [source], after=stopped)
        resumed = resume(job, plan, ROWS, detector=TellingDetector(reach))

        assert content_of(job.folder) == expected
        assert not resumed.done.partial
        assert (resumed.done.frames, resumed.done.processed) == (FRAMES, len(frames_due(plan)))
        meta = meta_of(job.folder / "clip.meta.json")
        assert (meta["complete"], meta["first_frame"]) == (True, 0)
        assert meta["processed_frames"] == len(frames_due(plan))
        assert not [name for name in names_in(job.folder) if "partial" in name]


@pytest.mark.parametrize(("stride", "stopped"), [(1, 9), (3, 8), (3, 10), (1, 23)])
def test_the_network_sees_only_frames_that_are_not_known(
    tmp_path: Path, video: Path, stride: int, stopped: int
) -> None:
    plan = RunPlan(stride=stride, rule=RULE)
    job = job_of(video, tmp_path)
    run(job, work_of(plan), ["csv"], after=stopped)
    resumed = resume(job, plan, ["csv"])
    shown = {min(frame, FRAMES - 2) for frame in frames_due(plan) if frame >= stopped}
    # The last processed frame may be shown again: the known ones end there.
    assert shown <= set(resumed.looked) <= shown | {stopped - 1}


@pytest.mark.parametrize("smooth", [False, True])
@pytest.mark.parametrize("stopped", [30, 70])
def test_a_network_with_a_memory_begins_where_the_unknown_frames_need_it(
    tmp_path: Path, smooth: bool, stopped: int
) -> None:
    video = telling_video(tmp_path / "clip.mp4", frames=80)
    plan, temporal = RunPlan(rule=RULE, smooth=smooth), SHORT._replace(state_steps=1)
    run(job_of(video, tmp_path / "whole"), work_of(plan, TellingDetector(temporal)), ROWS)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan, TellingDetector(temporal)), ["csv"], after=stopped)
    resumed = resume(job, plan, ROWS, detector=TellingDetector(temporal))
    assert content_of(job.folder) == content_of(tmp_path / "whole")
    # At 24 a second: three steps of two frames, 0.05 s of window, 0.27 s of smoothing; half more.
    spared = stopped - (21 if smooth else 11)
    assert resumed.looked[0] in (spared, spared + 1)


@pytest.mark.parametrize(("stopped", "shown_from"), [(1, 0), (4, 4), (5, 4), (7, 4), (8, 8)])
def test_batches_are_composed_as_if_nothing_were_known(
    tmp_path: Path, video: Path, stopped: int, shown_from: int
) -> None:
    plan = RunPlan(batch_size=4, rule=RULE)
    job = job_of(video, tmp_path)
    run(job, work_of(plan), ["csv"], after=stopped)
    detector = TellingDetector()
    resume(job, plan, ["csv"], detector=detector)
    assert detector.batch_sizes == [4] * ((FRAMES - shown_from) // 4)
    assert detector.looked == [*range(shown_from, FRAMES - 1), FRAMES - 2]


@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("max_boxes", [1, None])
def test_with_a_class_filter_rows_are_the_same_too(
    tmp_path: Path, video: Path, link: bool, max_boxes: int | None
) -> None:
    """Tubes that are not reported go on all the same."""
    rule = SelectionRule(min_score=0.2, max_boxes=max_boxes, classes=frozenset({"run"}))
    plan = RunPlan(rule=rule, link=link)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    assert {row["label"] for row in rows_of(tmp_path / "whole/clip.csv")} == {"run"}
    for stopped in (3, 8, 15):
        job = job_of(video, tmp_path / f"stopped after {stopped}")
        run(job, work_of(plan), ["jsonl"], after=stopped)
        resume(job, plan, ROWS)
        assert content_of(job.folder) == content_of(tmp_path / "whole")


@pytest.mark.parametrize(("stride", "stopped"), [(1, 5), (3, 8), (1, 20)])
def test_an_mp4_is_drawn_anew_from_the_rows_and_equals_an_undisturbed_one(
    tmp_path: Path, video: Path, stride: int, stopped: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit as it goes into the encoder, which on a busy machine spends its bits otherwise."""
    drawn: list[NDArray[np.uint8]] = []
    write = Mp4Writer.write

    def watched(writer: Mp4Writer, result: FrameResult) -> None:
        drawn.append(result.frame.rgb.copy())
        write(writer, result)

    monkeypatch.setattr(Mp4Writer, "write", watched)
    plan = RunPlan(stride=stride, rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ["mp4", "csv"])
    expected = list(drawn)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan), ["mp4", "csv"], after=stopped)
    drawn.clear()
    resume(job, plan, ["mp4", "csv"])

    assert len(drawn) == FRAMES
    pairs = zip(drawn, expected, strict=True)
    assert [frame for frame, pair in enumerate(pairs) if not np.array_equal(*pair)] == []
    plain = pictures_of(video)[0]
    assert np.abs(drawn[0].astype(int) - plain).max() > 60, "the first picture has its boxes"
    whole, resumed = (each / "clip.tubedet.mp4" for each in (tmp_path / "whole", job.folder))
    assert times_of(resumed) == times_of(whole) == times_of(video)
    assert np.array_equal(sound_of(resumed), sound_of(whole))
    for one, other in zip(pictures_of(resumed), pictures_of(whole), strict=True):
        assert np.abs(one.astype(int) - other).mean() < 3


def test_a_range_is_gone_on_from_where_it_was_left(tmp_path: Path, video: Path) -> None:
    span = TimeRange(FrameNumber(4), FrameNumber(20))
    plan = RunPlan(span=span, stride=2, max_frames=6, rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan), ["csv"], after=5)
    assert meta_of(job.folder / "clip.partial.meta.json")["processed_frames"] == 3
    resumed = resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")
    assert [f for f in resumed.looked if f > 8] == [10, 12, 14]


def test_a_run_may_be_stopped_and_gone_on_from_many_times(tmp_path: Path, video: Path) -> None:
    plan = RunPlan(rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan), ROWS, after=4)
    for after in (9, 10, 18):
        assert resume(job, plan, ROWS, after=after).done.partial
        assert meta_of(job.folder / "clip.partial.meta.json")["processed_frames"] == after
    resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")


def test_going_on_and_stopping_before_the_end_of_what_is_known_loses_nothing(
    tmp_path: Path, video: Path
) -> None:
    plan = RunPlan(rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan), ROWS, after=12)
    resume(job, plan, ROWS, after=3)
    assert meta_of(job.folder / "clip.partial.meta.json")["processed_frames"] == 12
    assert resume(job, plan, ROWS).looked[0] >= 11
    assert content_of(job.folder) == content_of(tmp_path / "whole")


def test_what_such_a_stop_leaves_is_sound_by_itself(tmp_path: Path, video: Path) -> None:
    """Its rows end before those that it was to go on from, and so must what goes with them."""
    plan = RunPlan(rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "stopped")
    run(job, work_of(plan), ROWS, after=12)
    resume(job, plan, ROWS, after=3)
    for name in names_in(job.folder):
        if name.startswith("clip.partial."):
            (job.folder / name).unlink()
    resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")


def test_a_format_that_was_being_added_and_stopped_is_sound_by_itself(
    tmp_path: Path, video: Path
) -> None:
    plan = RunPlan(rule=RULE)
    job = job_of(video, tmp_path / "out")
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    run(job, work_of(plan), ["csv"])
    resume(job, plan, ["jsonl"], after=6)
    for name in ("clip.csv", "clip.meta.json"):
        (job.folder / name).unlink()
    resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")


@pytest.mark.parametrize("at", [1, 6, 13])
def test_a_run_that_failed_is_gone_on_from_like_one_that_was_stopped(
    tmp_path: Path, video: Path, at: int
) -> None:
    plan = RunPlan(rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "failed")
    ending(job, WorkThatFails(RuntimeError("broken"), at, plan=plan), ["csv"], RuntimeError)
    resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")


@pytest.mark.parametrize("failing", [Mp4Writer, CsvWriter])
@pytest.mark.parametrize("at", [1, 6, 13])
def test_a_run_whose_output_failed_is_gone_on_from_too(
    tmp_path: Path,
    video: Path,
    at: int,
    failing: type[Writer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The frame that could not be written was linked already when its writer failed."""
    plan = RunPlan(rule=RULE)
    run(job_of(video, tmp_path / "whole"), work_of(plan), ROWS)
    job = job_of(video, tmp_path / "failed")
    write = failing.write

    def fail(writer: Any, result: FrameResult) -> None:
        if result.frame.frame == at:
            raise OutputError("no room")
        write(writer, result)

    with monkeypatch.context() as broken:
        broken.setattr(failing, "write", fail)
        ending(job, work_of(plan), ["mp4", "csv", "jsonl"], OutputError)
    resume(job, plan, ROWS)
    assert content_of(job.folder) == content_of(tmp_path / "whole")


def test_labels_that_look_like_something_else_are_taken_over(tmp_path: Path, video: Path) -> None:
    odd = ("=SUM(A1)", "nan", "007")
    for source in ("csv", "jsonl", "json"):
        plan = RunPlan(rule=RULE, link=False)

        def work(earlier: Any = None, plan: RunPlan = plan) -> DetectionWork:
            detector = TellingDetector()
            detector.class_names = odd
            return DetectionWork(detector, plan, earlier=earlier)

        whole, job = (
            job_of(video, tmp_path / f"{source}/a"),
            job_of(video, tmp_path / f"{source}/b"),
        )
        run(whole, work(), ROWS, spreadsheet_safe=True)
        run(job, work(), [source], after=9, spreadsheet_safe=True)
        todo = what_is_left(job, work(), ROWS, Existing(resume=True), begun=True)
        assert todo.earlier is not None
        run(job, work(todo.earlier), ROWS, spreadsheet_safe=True)
        assert content_of(job.folder) == content_of(whole.folder)
        labels = {row["label"] for row in rows_of(job.folder / "clip.csv")}
        assert labels == {"'=SUM(A1)", "nan", "007"}


def detector_with(**changes: Any) -> TellingDetector:
    detector = TellingDetector()
    for name, value in changes.items():
        setattr(detector, name, value)
    return detector


PLAN = RunPlan(rule=RULE)
OTHERS: dict[str, tuple[RunPlan, TellingDetector, str]] = {
    "weights": (PLAN, detector_with(weights_sha256="ab"), "weights was None, is ab now"),
    "input size": (PLAN, detector_with(input_size=64), "input_size was 96, is 64 now"),
    "precision": (PLAN, detector_with(description="telling in bf16"), "in bf16"),
    "batch": (replace(PLAN, batch_size=2), TellingDetector(), "'batch_size': 2"),
    "stride": (replace(PLAN, stride=2), TellingDetector(), "stride was 1, is 2 now"),
    "linking": (replace(PLAN, link=False), TellingDetector(), "link was True, is False now"),
    "maximum": (replace(PLAN, max_frames=9), TellingDetector(), "max_frames was None, is 9 now"),
    "stream": (replace(PLAN, video_stream=1), TellingDetector(), "video_stream was None, is 1"),
    "range": (
        replace(PLAN, span=TimeRange(None, FrameNumber(20))),
        TellingDetector(),
        "end was None, is 20f now",
    ),
    "score": (
        replace(PLAN, rule=replace(RULE, min_score=0.21)),
        TellingDetector(),
        r"min_score was 0\.2, is 0\.21 now",
    ),
    "boxes": (
        replace(PLAN, rule=replace(RULE, max_boxes=1)),
        TellingDetector(),
        "max_boxes was None, is 1 now",
    ),
    "classes": (
        replace(PLAN, rule=replace(RULE, classes=frozenset({"run"}))),
        TellingDetector(),
        "classes was None, is",
    ),
    "suppression": (
        replace(PLAN, rule=replace(RULE, nms_iou=0.5)),
        TellingDetector(),
        r"nms_iou was 0\.45, is 0\.5 now",
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_run_with_other_settings_is_refused_and_told_what_is_different(
    tmp_path: Path, video: Path, name: str
) -> None:
    plan, detector, difference = OTHERS[name]
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=5)
    before = content(tmp_path)
    with pytest.raises(UsageError, match=rf"clip\.partial\.meta\.json: .*{difference}"):
        resume(job, plan, ["csv"], detector=detector)
    assert content(tmp_path) == before


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_in(folder)}


def test_another_video_of_that_name_starts_anew_and_leaves_the_partial_result(
    tmp_path: Path,
) -> None:
    video = telling_video(tmp_path / "clip.mp4")
    job = job_of(video)
    run(job, work_of(PLAN), ["csv"], after=9)
    kept = content(job.folder)
    telling_video(video, frames=12)

    assert resume(job, PLAN, ["csv"], after=4).looked == list(range(4))
    assert {name: data for name, data in content(job.folder).items() if name in kept} == kept
    assert len(set(frames_of(job.folder / "clip.partial-2.csv"))) == 4
    assert resume(job, PLAN, ["csv"]).looked == [4, 5, 6, 7, 8, 9, 10, 10]
    after = content(job.folder)
    assert set(after) == {*kept, "clip.csv", "clip.meta.json"}
    assert {name: after[name] for name in kept} == kept


def frames_of(path: Path) -> list[int]:
    return [int(row["frame"]) for row in rows_of(path)]


def test_a_longer_partial_result_outlives_a_shorter_one_and_is_the_one_gone_on_from(
    tmp_path: Path, video: Path
) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=9)
    longer = content(tmp_path)
    run(job, work_of(PLAN), ["csv"], after=4)
    assert {**content(tmp_path), **longer} == content(tmp_path)
    assert names_in(tmp_path) == [
        "clip.partial-2.csv",
        "clip.partial-2.meta.json",
        "clip.partial.csv",
        "clip.partial.meta.json",
    ]
    assert meta_of(tmp_path / "clip.partial-2.meta.json")["processed_frames"] == 4
    resumed = resume(job, PLAN, ["csv"])
    assert resumed.looked[0] >= 8
    assert names_in(tmp_path) == ["clip.csv", "clip.meta.json"]


def test_a_longer_partial_result_takes_the_place_of_a_shorter_one(
    tmp_path: Path, video: Path
) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=4)
    run(job, work_of(PLAN), ["jsonl"], after=9)
    assert names_in(tmp_path) == ["clip.partial.jsonl", "clip.partial.meta.json"]


def test_rows_outlive_a_longer_run_that_writes_pictures_alone(tmp_path: Path, video: Path) -> None:
    """Otherwise the next run would have nothing to go on from."""
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=9)
    rows = (tmp_path / "clip.partial.csv").read_bytes()
    run(job, work_of(PLAN), ["mp4"], after=12)
    assert (tmp_path / "clip.partial.csv").read_bytes() == rows
    run(job, work_of(PLAN), ["mp4"])
    assert (tmp_path / "clip.partial.csv").read_bytes() == rows
    assert resume(job, PLAN, ["csv"]).looked[0] >= 8
    assert names_in(tmp_path) == ["clip.csv", "clip.meta.json", "clip.tubedet.mp4"]


def test_a_shorter_partial_result_replaces_a_longer_one_if_that_is_allowed(
    tmp_path: Path, video: Path
) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=9)
    run(job, work_of(PLAN), ["csv"], after=4, overwrite=True)
    assert names_in(tmp_path) == ["clip.partial.csv", "clip.partial.meta.json"]
    assert meta_of(tmp_path / "clip.partial.meta.json")["processed_frames"] == 4


@pytest.mark.parametrize("damage", ["cut", "gone", "only pictures"])
def test_a_partial_result_without_its_rows_is_not_gone_on_from(
    tmp_path: Path, video: Path, damage: str
) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["mp4"] if damage == "only pictures" else ["csv"], after=9)
    if damage == "cut":
        rows = tmp_path / "clip.partial.csv"
        rows.write_bytes(rows.read_bytes()[:-50])
    elif damage == "gone":
        (tmp_path / "clip.partial.csv").unlink()
    resumed = resume(job, PLAN, ["csv"])
    assert resumed.looked == [*range(FRAMES - 1), FRAMES - 2]


def test_rows_that_somebody_edited_do_not_pass_for_the_networks_and_stay(
    tmp_path: Path, video: Path
) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=9)
    rows = tmp_path / "clip.partial.csv"
    label = rows_of(rows)[0]["label"]
    swim = "swim".ljust(len(label))[: len(label)]  # as many bytes
    rows.write_text(rows.read_text().replace(f",{label},", f",{swim},", 1))
    edited = rows.read_bytes()
    resume(job, PLAN, ["csv"])
    assert swim not in {row["label"] for row in rows_of(tmp_path / "clip.csv")}
    assert rows.read_bytes() == edited


def test_without_going_on_a_run_looks_at_every_frame(tmp_path: Path, video: Path) -> None:
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["csv"], after=9)
    detector = TellingDetector()
    todo = what_is_left(job, work_of(PLAN, detector), ["csv"], Existing(skip=True), begun=True)
    assert todo.earlier is None


def test_memory_does_not_grow_with_the_rows_that_are_taken_over(
    tmp_path: Path, video: Path
) -> None:
    """The rows of a frame are read when it comes up, not before."""
    job = job_of(video, tmp_path)
    run(job, work_of(PLAN), ["jsonl"], after=20)
    todo = what_is_left(job, work_of(PLAN), ["csv"], Existing(resume=True), begun=True)
    assert todo.earlier is not None
    events: Iterator[object] = process_video(
        job, DetectionWork(TellingDetector(), PLAN, earlier=todo.earlier), ["csv"]
    )
    next(events)
    text = (tmp_path / "clip.partial.jsonl").read_text().splitlines()
    following = next(n for n, line in enumerate(text) if json.loads(line)["frame"] > 0)
    taken = todo.earlier._next
    assert taken is not None
    assert taken.frame == json.loads(text[following])["frame"]
