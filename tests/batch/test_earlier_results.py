"""What earlier results leave to do, and whose files may be replaced."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.scripted_run import (
    TellingDetector,
    job_of,
    meta_of,
    names_in,
    pictures_of,
    rows_of,
    run,
    telling_video,
)
from tubedet.batch.earlier_results import Existing, Todo, what_is_left
from tubedet.errors import OutputError
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.video_run import asked_for
from tubedet.tubes.best_box import SelectionRule
from tubedet.video.time_range import FrameNumber, TimeRange
from tubedet.writers.formats import WRITERS

FRAMES = 10
NOTHING = Existing()
SKIP, RESUME, OVERWRITE = Existing(skip=True), Existing(resume=True), Existing(overwrite=True)
PLAN = RunPlan(rule=SelectionRule(min_score=0.2, max_boxes=None))
ALL = ["mp4", "csv", "json", "jsonl", "segments"]


@pytest.fixture
def job(tmp_path: Path) -> VideoJob:
    return job_of(telling_video(tmp_path / "clip.mp4", frames=FRAMES))


def todo_of(
    job: VideoJob,
    formats: list[str],
    existing: Existing,
    plan: RunPlan = PLAN,
    detector: TellingDetector | None = None,
) -> Todo:
    work = DetectionWork(detector or TellingDetector(), plan)
    return what_is_left(job, work, formats, existing, begun=True)


def go_on(
    job: VideoJob,
    formats: list[str],
    existing: Existing,
    plan: RunPlan = PLAN,
    detector: TellingDetector | None = None,
) -> list[int]:
    """Do what is left; the frames that the network was shown."""
    detector = detector or TellingDetector()
    todo = todo_of(job, formats, existing, plan, detector)
    if todo.formats:
        work = DetectionWork(detector, plan, earlier=todo.earlier)
        run(job, work, todo.formats, overwrite=todo.overwrite)
    return detector.looked


def whole(job: VideoJob, *formats: str, plan: RunPlan = PLAN) -> None:
    run(job, DetectionWork(TellingDetector(), plan), formats)


def content(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in names_in(folder)}


EVERY_FRAME = [*range(FRAMES - 1), FRAMES - 2]


def test_where_nothing_is_all_is_left(job: VideoJob) -> None:
    for existing in (NOTHING, SKIP, RESUME):
        assert todo_of(job, ALL, existing) == Todo(formats=tuple(ALL))
    assert todo_of(job, ALL, OVERWRITE) == Todo(formats=tuple(ALL), overwrite=True)


@pytest.mark.parametrize("existing", [SKIP, RESUME], ids=["skip", "resume"])
def test_where_all_is_nothing_is_left(job: VideoJob, existing: Existing) -> None:
    whole(job, *ALL)
    for formats in (ALL, ["csv"], ["mp4", "json"]):
        assert todo_of(job, formats, existing) == Todo(formats=())


@pytest.mark.parametrize("existing", [NOTHING, SKIP, RESUME], ids=["plain", "skip", "resume"])
@pytest.mark.parametrize("source", ["csv", "json", "jsonl"])
def test_a_format_is_added_without_the_network_where_rows_are(
    tmp_path: Path, job: VideoJob, source: str, existing: Existing
) -> None:
    others = [name for name in ALL if name != source]
    fresh = replace(job, folder=tmp_path / "fresh")
    whole(fresh, *ALL)
    whole(job, source)
    before = content(job.folder)

    assert go_on(job, others, existing) == []

    after = content(job.folder)
    assert after[f"clip.{source}"] == before[f"clip.{source}"]
    for name in ("clip.csv", "clip.jsonl", "clip.segments.csv"):
        assert after[name] == (fresh.folder / name).read_bytes()
    assert len(pictures_of(job.folder / "clip.tubedet.mp4")) == FRAMES
    meta = meta_of(job.folder / "clip.meta.json")
    assert set(meta["outputs"]) == set(ALL)
    assert (meta["complete"], meta["processed_frames"]) == (True, FRAMES)
    assert todo_of(job, ALL, SKIP).formats == ()


def test_the_meta_still_tells_of_the_first_run_where_a_format_is_added(job: VideoJob) -> None:
    go_on(job, ["mp4", "csv"], NOTHING, replace(PLAN, batch_size=4))
    go_on(job, ["json"], NOTHING, replace(PLAN, batch_size=1))  # takes rows over

    meta = meta_of(job.folder / "clip.meta.json")
    assert set(meta["outputs"]) == {"mp4", "csv", "json"}
    assert meta["mp4_offset_s"] == 0
    assert meta["runtime"]["batch_size"] == 4


@pytest.mark.parametrize("only", ["mp4", "segments"])
def test_a_format_is_added_by_looking_again_where_no_rows_are(job: VideoJob, only: str) -> None:
    whole(job, only)
    assert go_on(job, ["csv"], NOTHING) == EVERY_FRAME
    assert set(meta_of(job.folder / "clip.meta.json")["outputs"]) == {only, "csv"}


def test_a_stopped_addition_leaves_the_earlier_results_as_they_were(job: VideoJob) -> None:
    whole(job, "csv")
    before = content(job.folder)
    todo = todo_of(job, ["mp4"], NOTHING)
    work = DetectionWork(TellingDetector(), PLAN, earlier=todo.earlier)
    run(job, work, todo.formats, after=4)
    assert content(job.folder) == {**content(job.folder), **before}
    assert len(pictures_of(job.folder / "clip.partial.mp4")) == 4


@pytest.mark.parametrize("existing", [SKIP, RESUME], ids=["skip", "resume"])
@pytest.mark.parametrize("change", ["other bytes", "other time"])
def test_a_changed_source_is_processed_anew(
    tmp_path: Path, job: VideoJob, change: str, existing: Existing
) -> None:
    whole(job, "csv", "jsonl")
    if change == "other bytes":
        status = job.source.stat()
        telling_video(job.source, frames=FRAMES - 2)
        os.utime(job.source, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert job.source.stat().st_mtime_ns == status.st_mtime_ns
    else:
        os.utime(job.source, ns=(1, 1))
    frames = FRAMES - 2 if change == "other bytes" else FRAMES
    assert go_on(job, ["csv"], existing) == [*range(frames - 1), frames - 2]
    assert names_in(job.folder) == ["clip.csv", "clip.meta.json"], "old rows tell of no such video"
    assert meta_of(job.folder / "clip.meta.json")["processed_frames"] == frames


def test_a_source_that_was_moved_is_the_same(tmp_path: Path, job: VideoJob) -> None:
    whole(job, "csv")
    elsewhere = tmp_path / "elsewhere.mp4"
    shutil.move(job.source, elsewhere)
    assert todo_of(replace(job, source=elsewhere), ["csv"], SKIP).formats == ()


CHANGES: dict[str, Callable[[RunPlan], RunPlan]] = {
    "score": lambda plan: replace(plan, rule=SelectionRule(min_score=0.3, max_boxes=None)),
    "stride": lambda plan: replace(plan, stride=2),
    "end": lambda plan: replace(plan, span=TimeRange(None, FrameNumber(5))),
    "maximum": lambda plan: replace(plan, max_frames=5),
    "linking": lambda plan: replace(plan, link=False),
}


@pytest.mark.parametrize("name", CHANGES)
def test_results_with_other_settings_are_made_again_and_the_old_ones_go(
    job: VideoJob, name: str
) -> None:
    whole(job, "csv", "jsonl", "mp4")
    changed = CHANGES[name](PLAN)
    assert go_on(job, ["csv", "json"], SKIP, changed)
    assert names_in(job.folder) == ["clip.csv", "clip.json", "clip.meta.json"]
    assert todo_of(job, ["csv"], SKIP, changed).formats == ()


@pytest.mark.parametrize("name", CHANGES)
def test_without_leave_results_with_other_settings_stand_and_are_told_of(
    job: VideoJob, name: str
) -> None:
    whole(job, "csv")
    before = content(job.folder)
    with pytest.raises(OutputError, match=r"clip\.csv: exists already"):
        todo_of(job, ["csv"], NOTHING, CHANGES[name](PLAN))
    with pytest.raises(OutputError, match=r"clip\.meta\.json: .* other settings \(.+ was .+ is"):
        todo_of(job, ["json"], NOTHING, CHANGES[name](PLAN))
    assert content(job.folder) == before


def test_batches_and_precision_do_not_make_other_results(job: VideoJob) -> None:
    """Only an interrupted run is gone on from to the last bit."""
    whole(job, "csv")
    other = TellingDetector(description="telling in bf16")
    assert todo_of(job, ["csv"], SKIP, replace(PLAN, batch_size=4), other).formats == ()


def test_overwriting_with_other_formats_takes_away_the_old_ones_and_nothing_else(
    job: VideoJob,
) -> None:
    whole(job, *ALL, plan=replace(PLAN, stride=2))
    theirs = {name: name.encode() for name in ("clip.txt", "clip.partial.csv", "clip2.csv")}
    for name, data in theirs.items():
        (job.folder / name).write_bytes(data)
    go_on(job, ["csv"], OVERWRITE)
    left = content(job.folder)
    assert set(left) == {"clip.csv", "clip.meta.json", *theirs}
    assert {name: left[name] for name in theirs} == theirs
    assert len({row["frame"] for row in rows_of(job.folder / "clip.csv")}) > FRAMES / 2
    assert meta_of(job.folder / "clip.meta.json")["stride"] == 1


def test_overwriting_leaves_an_old_format_that_was_edited(job: VideoJob) -> None:
    """The meta tells its size: it is not as tubedet left it."""
    whole(job, "csv", "json", plan=replace(PLAN, stride=2))
    edited = job.folder / "clip.json"
    edited.write_text(edited.read_text() + "\n")
    go_on(job, ["csv"], OVERWRITE)
    assert edited.read_text().endswith("\n\n")
    assert set(meta_of(job.folder / "clip.meta.json")["outputs"]) == {"csv"}


@pytest.mark.parametrize("name", ["csv", "json", "coco", "cvat", "parquet", "yolo"])
@pytest.mark.parametrize("change", ["same size", "rewritten without a last line end"])
def test_an_edited_output_is_somebodys_whatever_size_it_has(
    job: VideoJob, name: str, change: str
) -> None:
    whole(job, name)
    output = job.folder / f"clip{WRITERS['boxes'][name].suffix}"
    file = next(output.rglob("*.txt")) if output.is_dir() else output
    before = file.read_bytes()
    if change == "same size":
        edited = before[: len(before) // 2] + b"#" + before[len(before) // 2 + 1 :]
    else:
        edited = before.rstrip(b"\n") + (b"" if name == "parquet" else b" ")
        if name == "parquet":
            edited = before[:4] + b"##" + before[4:]
    file.write_bytes(edited)
    assert todo_of(job, [name], SKIP).formats == ()
    with pytest.raises(OutputError):
        go_on(job, [name], SKIP, plan=replace(PLAN, stride=2))
    assert file.read_bytes() == edited


def test_overwriting_with_the_same_settings_keeps_other_formats(job: VideoJob) -> None:
    whole(job, "csv", "json")
    go_on(job, ["csv"], OVERWRITE)
    assert names_in(job.folder) == ["clip.csv", "clip.json", "clip.meta.json"]
    assert todo_of(job, ["csv", "json"], SKIP).formats == ()


@pytest.mark.parametrize("name", ["mp4", "csv", "jsonl"])
@pytest.mark.parametrize("kept", [None, 0.0, 0.4, 0.99])
def test_a_missing_empty_or_cut_output_is_made_again(
    job: VideoJob, name: str, kept: float | None
) -> None:
    whole(job, "mp4", "csv", "jsonl")
    output = job.folder / f"clip{WRITERS['boxes'][name].suffix}"
    before = output.read_bytes()
    if kept is None:
        output.unlink()
    else:
        output.write_bytes(before[: int(len(before) * kept)])
    assert todo_of(job, ["mp4", "csv", "jsonl"], SKIP).formats == (name,)
    assert go_on(job, ["mp4", "csv", "jsonl"], SKIP) == [], "the rows of another format are there"
    if name == "mp4":  # the encoder spends a few bytes more or less on a busy machine
        assert len(pictures_of(output)) == FRAMES
    else:
        assert output.read_bytes() == before
    assert todo_of(job, ["mp4", "csv", "jsonl"], SKIP).formats == ()


@pytest.mark.parametrize("existing", [SKIP, RESUME], ids=["skip", "resume"])
@pytest.mark.parametrize("name", ["csv", "json", "jsonl", "segments", "coco", "cvat"])
@pytest.mark.parametrize("edit", ["longer", "shorter"])
def test_rows_that_somebody_corrected_are_left_alone(
    job: VideoJob, existing: Existing, name: str, edit: str
) -> None:
    """They are what a data set `folder:` is made of, and hours of work."""
    whole(job, name)
    corrected = job.folder / f"clip{WRITERS['boxes'][name].suffix}"
    lines = corrected.read_text().splitlines(keepends=True)
    text = "".join([*lines[:2], *lines[3:]] if edit == "shorter" else [*lines, lines[-1]])
    corrected.write_text(text)
    assert go_on(job, [name], existing) == []
    with pytest.raises(OutputError, match="exists already; give --overwrite"):
        go_on(job, [name], existing, replace(PLAN, stride=2))
    go_on(job, ["mp4"], existing)
    assert corrected.read_text() == text


def test_json_lines_without_a_row_are_whole(job: VideoJob) -> None:
    nothing = replace(PLAN, rule=SelectionRule(min_score=1.0))
    whole(job, "jsonl", plan=nothing)
    assert (job.folder / "clip.jsonl").read_bytes() == b""
    assert todo_of(job, ["jsonl"], SKIP, nothing).formats == ()
    assert go_on(job, ["csv"], SKIP, nothing) == []
    assert rows_of(job.folder / "clip.csv") == []


@pytest.mark.parametrize("existing", [NOTHING, SKIP, RESUME], ids=["plain", "skip", "resume"])
@pytest.mark.parametrize("suffix", [".csv", ".tubedet.mp4", ".json"])
def test_a_file_of_the_user_s_under_a_final_name_is_never_replaced(
    job: VideoJob, suffix: str, existing: Existing
) -> None:
    theirs = job.folder / f"clip{suffix}"
    job.folder.mkdir()
    theirs.write_bytes(b"something dear")
    with pytest.raises(OutputError, match=rf"clip{suffix}: exists already; give --overwrite"):
        todo_of(job, ["mp4", "csv", "json"], existing)
    assert theirs.read_bytes() == b"something dear"
    others = [name for name in ("mp4", "csv", "json") if name != suffix.rpartition(".")[2]]
    go_on(job, others, existing)
    assert theirs.read_bytes() == b"something dear", "it was not asked for"


@pytest.mark.parametrize("existing", [NOTHING, SKIP, RESUME], ids=["plain", "skip", "resume"])
@pytest.mark.parametrize("text", ["something dear", "[]", "{}", '{"weights_sha256"', ""])
def test_a_file_of_the_user_s_that_is_called_like_the_meta_is_never_replaced(
    job: VideoJob, text: str, existing: Existing
) -> None:
    theirs = job.folder / "clip.meta.json"
    job.folder.mkdir()
    theirs.write_text(text)
    with pytest.raises(OutputError, match=r"clip\.meta\.json: exists already"):
        go_on(job, ["csv"], existing)
    assert theirs.read_text() == text
    assert names_in(job.folder) == ["clip.meta.json"]


def test_outputs_beside_what_is_no_meta_may_be_the_user_s(job: VideoJob) -> None:
    whole(job, "csv")
    (job.folder / "clip.meta.json").write_text("{\n")
    before = content(job.folder)
    with pytest.raises(OutputError, match="exists already"):
        todo_of(job, ["csv"], SKIP)
    assert content(job.folder) == before


def test_a_file_that_appears_while_own_results_are_made_again_is_not_replaced(
    job: VideoJob,
) -> None:
    """That tubedet's old rows may be replaced says nothing of a file that was not there."""
    whole(job, "csv")
    changed = replace(PLAN, stride=2)
    todo = todo_of(job, ["csv", "json"], SKIP, changed)
    work = DetectionWork(TellingDetector(), changed)
    events: Any = process_video(job, work, todo.formats, overwrite=todo.overwrite)
    next(events)
    theirs = job.folder / "clip.json"
    theirs.write_bytes(b"something dear")
    with pytest.raises(OutputError, match=r"clip\.json: appeared while"):
        list(events)
    assert theirs.read_bytes() == b"something dear"


def test_partial_results_outlive_a_run_that_may_replace_whole_ones(job: VideoJob) -> None:
    """Skipping what is done gives leave to replace old results, not hours of other work."""
    long = replace(PLAN, link=False)
    run(job, DetectionWork(TellingDetector(), long), ["csv"], after=8)
    whole(job, "csv")
    before = content(job.folder)
    changed = replace(PLAN, stride=2)
    todo = todo_of(job, ["csv"], SKIP, changed)
    work = DetectionWork(TellingDetector(), changed)
    run(job, work, todo.formats, after=3, overwrite=todo.overwrite)
    assert content(job.folder) == {**content(job.folder), **before}
    assert meta_of(job.folder / "clip.partial-2.meta.json")["processed_frames"] == 2


def test_results_that_a_run_beside_this_one_made_meanwhile_are_no_failure(job: VideoJob) -> None:
    work = DetectionWork(TellingDetector(), PLAN)
    assert what_is_left(job, work, ["csv"], NOTHING) == Todo(formats=("csv",))
    whole(job, "csv")
    assert what_is_left(job, work, ["csv"], NOTHING, begun=True) == Todo(formats=())
    with pytest.raises(OutputError, match="exists already"):
        what_is_left(job, work, ["csv"], NOTHING)


@pytest.mark.parametrize("source", ["frames", "frames/%05d.png"])
def test_images_that_are_exported_anew_into_the_same_files_are_another_source(
    tmp_path: Path, source: str
) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in range(1, 4):
        image = np.full((48, 64, 3), number, np.uint8)
        cv2.imwrite(str(folder / f"{number:05d}.png"), image)
    job = job_of(tmp_path / source, tmp_path / "out")
    before = asked_for(job, DetectionWork(TellingDetector(), PLAN))
    (folder / "notes.txt").write_text("no image")
    assert asked_for(job, DetectionWork(TellingDetector(), PLAN)) == before
    cv2.imwrite(str(folder / "00002.png"), np.eye(64, dtype=np.uint8) * 255)
    assert asked_for(job, DetectionWork(TellingDetector(), PLAN)) != before


def test_a_partial_result_without_rows_is_said_to_be_of_no_use(job: VideoJob) -> None:
    run(job, DetectionWork(TellingDetector(), PLAN), ["mp4"], after=4)
    todo = todo_of(job, ["mp4"], RESUME)
    assert todo.earlier is None
    (note,) = todo.notes
    assert "clip.partial.meta.json" in note.text
    assert todo_of(job, ["mp4"], NOTHING).notes == ()
