import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.scripted_detector import ScriptedDetector
from tests.synthetic_video import write_video
from tubedet.batch.many_videos import (
    Event,
    VideoFailed,
    VideoSkipped,
    VideoStarted,
    find_jobs,
    process_videos,
    refuse_existing,
)
from tubedet.errors import OutputError, UsageError, VideoError, WeightsError
from tubedet.video_run import FrameDone, RunPlan, VideoDone, VideoJob

FORMATS = ("mp4", "csv")


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def named(jobs: Sequence[VideoJob], root: Path) -> list[tuple[str, str]]:
    """What rows call a video, and where its outputs begin."""
    return [(job.video, (job.folder / job.stem).relative_to(root).as_posix()) for job in jobs]


def outcomes(events: list[Event]) -> list[type[Event]]:
    return [type(event) for event in events if not isinstance(event, FrameDone | VideoStarted)]


def small_video(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return write_video(path, frames=3, width=64, height=48)


def process(jobs: list[VideoJob], *, skip_existing: bool = False) -> list[Event]:
    detector = ScriptedDetector()
    return list(process_videos(jobs, detector, RunPlan(), FORMATS, skip_existing=skip_existing))


def test_a_folder_is_searched_for_videos_by_name_and_its_tree_mirrored(tmp_path: Path) -> None:
    touch(
        tmp_path / "in",
        "b.MP4",
        "a.avi",
        "c.gif",
        "notes.txt",
        "day 1/ü.webm",
        ".hidden.mp4",
        ".git/x.mp4",
    )
    assert named(find_jobs([tmp_path / "in"], tmp_path / "out", FORMATS), tmp_path) == [
        ("a.avi", "out/a"),
        ("b.MP4", "out/b"),
        ("c.gif", "out/c"),
        ("day 1/ü.webm", "out/day 1/ü"),
    ]


def test_what_tubedet_wrote_is_not_taken_for_a_source(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.tubedet.mp4", "a.partial.mp4", "out/old.mp4", "sub/out/kept.mp4")
    jobs = find_jobs([tmp_path], tmp_path / "sub" / ".." / "out", FORMATS)
    assert [job.video for job in jobs] == ["a.mp4", "sub/out/kept.mp4"]


def test_a_folder_that_is_its_own_output_folder_is_still_searched(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "a.tubedet.mp4")
    assert named(find_jobs([tmp_path], tmp_path, FORMATS), tmp_path) == [("a.mp4", "a")]


def test_a_named_file_is_taken_whatever_its_name(tmp_path: Path) -> None:
    assert named(
        find_jobs([tmp_path / "x.tubedet.mp4", tmp_path / "y"], tmp_path, FORMATS), tmp_path
    ) == [
        ("x.tubedet.mp4", "x.tubedet"),
        ("y", "y"),
    ]


def test_inputs_that_share_a_stem_keep_their_extension(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.avi", "A.mp4", "b.mp4", "sub/a.mkv")
    assert named(find_jobs([tmp_path / "in"], tmp_path, FORMATS), tmp_path) == [
        ("A.mp4", "A.mp4"),
        ("a.avi", "a.avi"),
        ("b.mp4", "b"),
        ("sub/a.mkv", "sub/a"),
    ]


def test_inputs_that_share_an_output_file_keep_their_extension(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.mp4", "a.meta.mp4")  # a.meta.json: rows of one, meta of the other
    assert named(find_jobs([tmp_path / "in"], tmp_path, ["json"]), tmp_path) == [
        ("a.meta.mp4", "a.meta.mp4"),
        ("a.mp4", "a.mp4"),
    ]
    assert named(find_jobs([tmp_path / "in"], tmp_path, ["csv"]), tmp_path) == [
        ("a.meta.mp4", "a.meta"),
        ("a.mp4", "a"),
    ]


def test_an_extension_that_is_kept_is_in_no_other_inputs_way(tmp_path: Path) -> None:
    touch(tmp_path / "in", "a.avi", "a.mkv", "a.avi.mp4")
    assert named(find_jobs([tmp_path / "in"], tmp_path, FORMATS), tmp_path) == [
        ("a.avi", "a.avi"),
        ("a.avi.mp4", "a.avi.mp4"),
        ("a.mkv", "a.mkv"),
    ]


def test_where_no_file_is_written_videos_of_one_name_are_called_by_their_paths(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "x/a.mp4", "y/a.mp4", "y/b.mp4")
    jobs = find_jobs([tmp_path / "x", tmp_path / "y"], tmp_path, None)
    assert [job.video for job in jobs] == [
        (tmp_path / "x/a.mp4").as_posix(),
        (tmp_path / "y/a.mp4").as_posix(),
        "b.mp4",
    ]


def test_a_format_that_there_is_not_is_found_out_with_the_jobs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="avi"):
        find_jobs([tmp_path / "a.mp4"], tmp_path, ["avi"])


def test_two_videos_of_one_name_for_one_folder_are_a_usage_error(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4", "y/a.mp4")
    with pytest.raises(UsageError, match=r"x/a\.mp4 and .*y/a\.mp4"):
        find_jobs([tmp_path / "x/a.mp4", tmp_path / "y/a.mp4"], tmp_path / "out", FORMATS)


def test_a_video_that_is_named_twice_is_one_job(tmp_path: Path) -> None:
    touch(tmp_path, "x/a.mp4")
    again = tmp_path / "x" / ".." / "x" / "a.mp4"
    assert (
        len(find_jobs([tmp_path / "x/a.mp4", again, tmp_path / "x"], tmp_path / "out", FORMATS))
        == 1
    )


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names of any bytes")
def test_a_name_that_is_not_utf8_becomes_text_that_can_be_written(tmp_path: Path) -> None:
    source = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9.mp4"))
    job = find_jobs([source], tmp_path, FORMATS)[0]
    assert job.video == "caf\N{REPLACEMENT CHARACTER}.mp4"
    assert os.fsencode(job.stem) == b"caf\xe9"


def test_existing_outputs_are_refused_before_anything_is_done(tmp_path: Path) -> None:
    jobs = find_jobs([tmp_path / "a.mp4", tmp_path / "b.mp4"], tmp_path / "out", FORMATS)
    refuse_existing(jobs, FORMATS)
    touch(tmp_path / "out", "a.json", "a.partial.csv")  # nobody asked for these
    refuse_existing(jobs, FORMATS)
    touch(tmp_path / "out", "b.csv", "b.meta.json")
    with pytest.raises(OutputError, match=r"out/b\.csv: exists already \(and 1 more\)"):
        refuse_existing(jobs, FORMATS)


def test_a_name_too_long_for_a_file_is_not_an_existing_output(tmp_path: Path) -> None:
    refuse_existing(find_jobs([tmp_path / ("x" * 250 + ".mp4")], tmp_path, FORMATS), FORMATS)


def test_a_video_that_fails_does_not_stop_the_others(tmp_path: Path) -> None:
    first, last = small_video(tmp_path / "1.mp4"), small_video(tmp_path / "3.mp4")
    touch(tmp_path, "2.mp4", "empty/notes.txt")
    inputs = [first, tmp_path / "2.mp4", tmp_path / "absent.mp4", tmp_path / "empty", last]
    events = process(find_jobs(inputs, tmp_path / "out", FORMATS))
    assert outcomes(events) == [VideoDone, VideoFailed, VideoFailed, VideoFailed, VideoDone]
    failed = [event for event in events if isinstance(event, VideoFailed)]
    assert [event.job.video for event in failed] == ["2.mp4", "absent.mp4", "empty"]
    assert all(isinstance(event.error, VideoError) for event in failed)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        f"{stem}{suffix}" for stem in "13" for suffix in (".tubedet.mp4", ".csv", ".meta.json")
    }


def test_every_video_is_announced_with_its_number(tmp_path: Path) -> None:
    jobs = find_jobs(
        [small_video(tmp_path / "1.mp4"), tmp_path / "absent.mp4"], tmp_path / "out", FORMATS
    )
    started = [event for event in process(jobs) if isinstance(event, VideoStarted)]
    assert [(event.number, event.of) for event in started] == [(1, 2), (2, 2)]


@pytest.mark.parametrize("error", [WeightsError("bad"), UsageError("bad")])
def test_an_error_that_concerns_every_video_ends_the_batch(
    tmp_path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "predict", fail)
    jobs = find_jobs(
        [small_video(tmp_path / f"{n}.mp4") for n in (1, 2)], tmp_path / "out", FORMATS
    )
    with pytest.raises(type(error)):
        list(process_videos(jobs, detector, RunPlan(), FORMATS))


def test_a_video_with_a_bug_is_reported_like_any_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ScriptedDetector()
    monkeypatch.setattr(detector, "predict", lambda clip: 1 / 0)
    jobs = find_jobs(
        [small_video(tmp_path / f"{n}.mp4") for n in (1, 2)], tmp_path / "out", FORMATS
    )
    events = list(process_videos(jobs, detector, RunPlan(), FORMATS))
    assert outcomes(events) == [VideoFailed, VideoFailed]


def test_stopping_ends_the_video_at_work_and_begins_no_other(tmp_path: Path) -> None:
    jobs = find_jobs(
        [small_video(tmp_path / f"{n}.mp4") for n in (1, 2)], tmp_path / "out", FORMATS
    )
    events = list(process_videos(jobs, ScriptedDetector(), RunPlan(), ["csv"], stop=lambda: False))
    assert outcomes(events) == [VideoDone, VideoDone]
    answers = iter([False, False, True, True])  # before the first video, after two frames, then
    stopped = process_videos(
        jobs, ScriptedDetector(), RunPlan(), ["csv"], stop=lambda: next(answers)
    )
    done = [event for event in stopped if isinstance(event, VideoDone)]
    assert [(event.job.video, event.partial, event.frames) for event in done] == [
        ("1.mp4", True, 2)
    ]


def test_outputs_that_are_all_whole_are_skipped(tmp_path: Path) -> None:
    jobs = find_jobs([small_video(tmp_path / "1.mp4")], tmp_path / "out", FORMATS)
    assert outcomes(process(jobs)) == [VideoDone]
    assert outcomes(process(jobs, skip_existing=True)) == [VideoSkipped]


def test_outputs_of_other_weights_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = find_jobs([small_video(tmp_path / "1.mp4")], tmp_path / "out", FORMATS)
    process(jobs)
    monkeypatch.setattr(ScriptedDetector, "weights_sha256", "of other weights")
    assert outcomes(process(jobs, skip_existing=True)) == [VideoDone]
    meta = json.loads((tmp_path / "out/1.meta.json").read_text())
    assert meta["weights_sha256"] == "of other weights"
    assert outcomes(process(jobs, skip_existing=True)) == [VideoSkipped]


@pytest.mark.parametrize("content", ["[]", "{}", "{", '{"weights_sha256"'])
def test_outputs_beside_what_is_no_meta_are_made_again(tmp_path: Path, content: str) -> None:
    jobs = find_jobs([small_video(tmp_path / "1.mp4")], tmp_path / "out", FORMATS)
    process(jobs)
    (tmp_path / "out/1.meta.json").write_text(content + "\n")
    assert outcomes(process(jobs, skip_existing=True)) == [VideoDone]


@pytest.mark.parametrize("name", ["1.tubedet.mp4", "1.csv", "1.meta.json"])
@pytest.mark.parametrize("kept", [None, 0.0, 0.4, 0.99])
def test_a_missing_empty_or_cut_output_is_made_again(
    tmp_path: Path, name: str, kept: float | None
) -> None:
    jobs = find_jobs([small_video(tmp_path / "1.mp4")], tmp_path / "out", FORMATS)
    process(jobs)
    output = tmp_path / "out" / name
    whole = output.read_bytes()
    if kept is None:
        output.unlink()
    else:
        output.write_bytes(whole[: int(len(whole) * kept)])
    assert outcomes(process(jobs, skip_existing=True)) == [VideoDone]
    assert len(output.read_bytes()) == len(whole)


def test_json_lines_without_a_row_are_whole(tmp_path: Path) -> None:
    jobs = find_jobs([small_video(tmp_path / "1.mp4")], tmp_path / "out", FORMATS)
    nothing = ScriptedDetector(script=[])
    list(process_videos(jobs, nothing, RunPlan(), ["jsonl"]))
    again = process_videos(jobs, nothing, RunPlan(), ["jsonl"], skip_existing=True)
    assert outcomes(list(again)) == [VideoSkipped]
