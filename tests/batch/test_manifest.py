"""The manifest of a job: what it says of each video, and what a kill or a full disk leaves."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.full_disk import full_disk
from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import WorkThatFails, job_of, meta_of
from tests.synthetic_video import write_video
from tubedet.batch.earlier_results import GO_ON
from tubedet.batch.manifest import MANIFEST, Manifest, ManifestContent, network_loaded
from tubedet.batch.many_videos import Batch, process_videos
from tubedet.errors import OutputError
from tubedet.run.detection import DetectionWork
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import Event, NetworkLoaded, VideoDone, VideoFailed
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest


def jobs_for(folder: Path, *names: str) -> list[VideoJob]:
    """Small videos, on their way to one folder."""
    videos = [write_video(folder / name, frames=3, width=64, height=48) for name in names]
    return [job_of(video, folder / "out") for video in videos]


def process(
    jobs: Sequence[VideoJob], inputs: Sequence[Path] = (), plan: RunPlan | None = None
) -> list[Event]:
    """A run with a manifest, as the command makes it."""

    def new_work(job: VideoJob, earlier: EarlierRows | None) -> DetectionWork:
        return DetectionWork(ScriptedDetector(), plan or RunPlan(), earlier=earlier)

    batch = Batch(jobs=jobs, new_work=new_work, formats=["csv"], existing=GO_ON)

    def events() -> Any:
        yield network_loaded(jobs[0], new_work(jobs[0], None))
        yield from process_videos(batch, StopRequest())

    return list(Manifest(jobs[0].folder, "boxes").recorded(jobs, inputs, events()))


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """As pandas reads JSON lines, for which every line has to be whole."""
    path = folder / MANIFEST
    assert len(pd.read_json(path, lines=True)) == path.read_bytes().count(b"\n")
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(folder: Path) -> list[tuple[str, str]]:
    return [(line["video"], line["status"]) for line in lines_of(folder)]


def test_a_line_tells_of_a_video_what_its_meta_tells(tmp_path: Path) -> None:
    (job,) = jobs = jobs_for(tmp_path, "a.mp4")
    process(jobs)
    waiting, done = lines_of(job.folder)
    meta = meta_of(job.folder / "a.meta.json")
    assert waiting["status"] == "waiting"
    assert (done["video"], done["results"], done["status"]) == ("a.mp4", "a", "done")
    assert done["path"] == str(tmp_path / "a.mp4")
    assert done["source"] == meta["source"]
    assert done["source"]["bytes"] == (tmp_path / "a.mp4").stat().st_size
    assert done["outputs"] == meta["outputs"]
    assert done["outputs"]["csv"]["bytes"] == (job.folder / "a.csv").stat().st_size
    assert (done["frames"], done["error"], done["kind"]) == (3, None, "boxes")
    assert 0 < done["seconds"] < 60
    settings = {
        **{name: meta[name] for name in ("start", "end", "stride")},
        **meta["settings"],
    }
    text = json.dumps(settings, sort_keys=True).encode()
    assert done["settings_sha256"] == hashlib.sha256(text).hexdigest()


def test_a_second_run_adds_no_line_and_one_with_other_settings_does(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4", "b.mp4")
    process(jobs)
    first = told(jobs[0].folder)
    assert first == [
        ("a.mp4", "waiting"), ("b.mp4", "waiting"), ("a.mp4", "done"), ("b.mp4", "done")
    ]  # fmt: skip
    process(jobs)
    assert told(jobs[0].folder) == first
    process(jobs, plan=RunPlan(stride=2))
    assert told(jobs[0].folder) == first * 2


def test_results_of_which_no_line_tells_get_one(tmp_path: Path) -> None:
    """As after a kill between the last file of a video and its line."""
    jobs = jobs_for(tmp_path, "a.mp4")
    process(jobs)
    path = jobs[0].folder / MANIFEST
    waiting, done = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(waiting)
    process(jobs)
    again = lines_of(jobs[0].folder)[-1]
    assert {**again, "seconds": 0, "at": ""} == {**json.loads(done), "seconds": 0, "at": ""}
    assert again["seconds"] is None


@pytest.mark.parametrize("kept", [1, 0.5, -1])
def test_a_torn_line_is_left_out_said_and_cut_off(tmp_path: Path, kept: float) -> None:
    jobs = jobs_for(tmp_path, "a.mp4", "b.mp4")
    process(jobs)
    path = jobs[0].folder / MANIFEST
    *whole, last = path.read_bytes().splitlines(keepends=True)
    torn = last[: int(len(last) * kept)] if kept == 0.5 else last[: int(kept)]
    path.write_bytes(b"".join(whole) + torn)
    content = ManifestContent.read(path)
    assert (content.torn_bytes, content.strange_lines) == (len(torn), 0)
    assert [each.status for each in content.records.values()] == ["done", "waiting"]
    manifest = Manifest(jobs[0].folder, "boxes")
    assert path.read_bytes() == b"".join(whole)
    (note,) = manifest.notes
    assert f"({len(torn)} bytes)" in note.text
    process(jobs)
    assert told(jobs[0].folder)[-1] == ("b.mp4", "done")


def test_a_file_of_the_user_s_that_is_called_like_it_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / MANIFEST
    path.write_text('{"mine": 1}\nmy notes')
    with pytest.raises(OutputError, match="expected a manifest of tubedet's"):
        Manifest(tmp_path, "boxes")
    assert path.read_text() == '{"mine": 1}\nmy notes'


def test_a_video_that_fails_is_told_with_its_error_and_what_was_kept(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4")

    def new_work(job: VideoJob, earlier: EarlierRows | None) -> DetectionWork:
        return WorkThatFails(RuntimeError("two\nlines"), 2, detector=ScriptedDetector())

    batch = Batch(jobs=jobs, new_work=new_work, formats=["csv"], existing=GO_ON)
    manifest = Manifest(jobs[0].folder, "boxes")
    list(manifest.recorded(jobs, (), process_videos(batch, StopRequest())))
    (line,) = lines_of(jobs[0].folder)
    assert (line["status"], line["error"]) == ("failed", "unexpected RuntimeError: two lines")
    assert (line["frames"], line["outputs"]["csv"]["name"]) == (2, "a.partial.csv")


def test_what_was_deleted_or_is_excluded_by_now_is_not_left_to_do(tmp_path: Path) -> None:
    a, bad, other = jobs_for(tmp_path, "a.mp4", "bad.mp4", "other.mp4")
    bad.source.write_bytes(b"no video")
    other.source.write_bytes(b"no video")
    process([a, bad, other], [tmp_path])
    process([a], [tmp_path / "elsewhere"])
    assert [line for line in told(a.folder) if line[1] == "left out"] == []
    process([a, other], [tmp_path])
    last = {each.video: each.status for each in
            ManifestContent.read(a.folder / MANIFEST).records.values()}  # fmt: skip
    assert last == {"a.mp4": "done", "bad.mp4": "left out", "other.mp4": "failed"}
    process([a, bad, other], [tmp_path])
    assert told(a.folder)[-3:] == [
        ("bad.mp4", "waiting"), ("bad.mp4", "failed"), ("other.mp4", "failed")
    ]  # fmt: skip


def events_of(jobs: Sequence[VideoJob]) -> list[Event]:
    done = [
        VideoDone(job, (), partial=False, frames=3, processed=3, found=3, seconds=1.0, notes=())
        for job in jobs
    ]
    return [NetworkLoaded("0" * 64, None), *done, VideoFailed(jobs[0], OutputError("disk full"))]


def test_lines_that_find_no_room_wait_for_it(tmp_path: Path) -> None:
    """The disk ends at 4 kB, in the middle of a line, until some room is made."""
    jobs = jobs_for(tmp_path, *(f"{number}.mp4" for number in range(20)))
    manifest = Manifest(jobs[0].folder, "boxes")
    recorded = manifest.recorded(jobs, (), (event for event in events_of(jobs)))
    with full_disk():
        for _ in range(12):
            next(recorded)
        content = ManifestContent.read(manifest.path)
        assert (content.torn_bytes, content.strange_lines) == (0, 0)
        assert manifest.path.stat().st_size <= 4096
    list(recorded)
    assert len(lines_of(jobs[0].folder)) == 20 + 20 + 1


def test_lines_that_never_find_room_are_an_error_at_the_end(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, *(f"{number}.mp4" for number in range(20)))
    manifest = Manifest(jobs[0].folder, "boxes")
    seen: list[Event] = []
    with full_disk(), pytest.raises(OutputError, match="found no room"):
        seen.extend(manifest.recorded(jobs, (), (event for event in events_of(jobs))))
    assert ManifestContent.read(manifest.path).torn_bytes == 0


@pytest.mark.skipif(os.name == "nt", reason="other rules for open files")
def test_two_runs_beside_each_other_write_whole_lines(tmp_path: Path) -> None:
    jobs = jobs_for(tmp_path, "a.mp4", "b.mp4")
    both = [Manifest(jobs[0].folder, "boxes"), Manifest(jobs[0].folder, "boxes")]
    runs = [
        manifest.recorded([job], (), (event for event in events_of([job])))
        for manifest, job in zip(both, jobs, strict=True)
    ]
    for _ in zip(*runs, strict=True):
        pass
    assert sorted(told(jobs[0].folder)) == sorted(
        (job.video, status) for job in jobs for status in ("waiting", "done", "failed")
    )
