"""Pages as files: what is in them and beside them, read back without a browser."""

import csv
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.full_disk import full_disk
from tests.output_targets import (
    found,
    frames_of,
    open_writer,
    plain_frame,
    result,
    target_for,
    write_until_refused,
)
from tests.scripted_run import (
    TellingDetector,
    WorkThatFails,
    ending,
    job_of,
    meta_of,
    names_in,
    pictures_of,
    run,
    telling_video,
)
from tests.synthetic_video import write_video
from tubedet.batch.earlier_results import Existing, what_is_left
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.page.video_page import summary_of
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.writers.writer import FrameResult

AWKWARD = ["</script><script>alert(1)</script>", "<!--<script>", "رقص 💃", 'say "x", y', "a\nb"]


class Scripts(HTMLParser):
    """The content of every script element by its id, as browsers part a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: dict[str, str] = {}
        self._open: str | None = None
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "script":
            self._open = dict(attrs).get("id") or f"script {len(self.found)}"
            self.found[self._open] = ""

    def handle_endtag(self, tag: str) -> None:
        self._open = None if tag == "script" else self._open

    def handle_data(self, data: str) -> None:
        if self._open:
            self.found[self._open] += data


def scripts_of(page: Path) -> dict[str, str]:
    return Scripts(page.read_text("utf-8")).found


def work(**plan: Any) -> DetectionWork:
    return DetectionWork(TellingDetector(), RunPlan(**plan))


def rows_in(page: Path) -> list[tuple[str, ...]]:
    """The rows of a page as cells of the CSV, from what its script is given."""
    scripts = scripts_of(page)
    summary = json.loads(scripts["summary"])
    rows = []
    for number, time_us, pts, flat in json.loads(scripts["frames"]):
        for at in range(0, len(flat or ()), 7):
            tube, label, score, *box = flat[at : at + 7]
            edges = (f"{edge / 100:.2f}" for edge in box)
            cells = (number, pts, f"{time_us / 1e6:.6f}", "" if tube < 0 else tube)
            name = summary["labels"][label]
            rows.append((*map(str, cells), name, f"{score / 1e4:.4f}", *edges))
    return rows


def test_a_page_holds_the_rows_of_the_csv_and_the_time_of_every_frame(tmp_path: Path) -> None:
    video = telling_video(tmp_path / "v.mp4")
    run(job_of(video), work(stride=3), ["html", "csv"])

    page = tmp_path / "out" / "v.html"
    with (tmp_path / "out" / "v.csv").open(newline="") as file:
        expected = [tuple(row[1:]) for row in csv.reader(file)][1:]
    assert expected
    assert rows_in(page) == expected
    frames = json.loads(scripts_of(page)["frames"])
    assert [frame[0] for frame in frames] == list(range(24))
    assert [frame[3] is not None for frame in frames] == [n % 3 == 0 for n in range(24)]
    assert [frame[1] for frame in frames] == [round(n / 24 * 1e6) for n in range(24)]


def test_the_meta_in_a_page_is_that_of_the_run(tmp_path: Path) -> None:
    run(job_of(telling_video(tmp_path / "v.mp4")), work(), ["html"])

    inside = json.loads(scripts_of(tmp_path / "out" / "v.html")["meta"])
    beside = meta_of(tmp_path / "out" / "v.meta.json")
    assert inside == {**beside, "outputs": {}}
    assert inside["source"]["modified_ns"] == (tmp_path / "v.mp4").stat().st_mtime_ns


def test_no_label_or_name_ends_the_data_of_a_page(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4", frames=2)
    target = target_for(
        tmp_path / "out", source, stem=AWKWARD[0].replace("/", "∕"), video=AWKWARD[1]
    )
    writer = open_writer("html", target)
    boxes = [Detection(label, 0, 0.5, (1, 2, 3, 4)) for label in AWKWARD]
    writer.write(result(plain_frame(0), *boxes))
    writer.close(complete=True)

    scripts = scripts_of(writer.path)

    assert list(scripts) == ["frames", "meta", "script 2", "summary", "script 4"]
    assert json.loads(scripts["summary"])["labels"] == AWKWARD
    assert json.loads(scripts["summary"])["video"] == AWKWARD[1]
    assert "\0" not in writer.path.read_text("utf-8")


@pytest.mark.parametrize(
    ("name", "options", "is_played"),
    [
        ("a.mp4", {}, True),
        ("a b#1%.mp4", {}, True),
        ("a.webm", {"codec": "libvpx-vp9", "frames": 4}, True),
        ("a.webm", {"frames": 4}, False),  # VP8
        ("a.mkv", {}, False),
        ("a.avi", {}, False),
        ("a.mp4", {"codec": "mpeg4"}, False),
        ("a.mp4", {"pixel_format": "yuv444p"}, False),
        ("a.mp4", {"pixel_format": "yuv420p10le"}, False),
    ],
)
def test_a_copy_is_written_only_where_browsers_do_not_play_the_source(
    tmp_path: Path, name: str, options: dict[str, Any], is_played: bool
) -> None:
    video = write_video(tmp_path / name, width=96, height=64, **options)
    job = job_of(video)

    run(job, work(), ["html"])

    summary = summary_of(job.folder / f"{job.stem}.html")
    assert summary is not None
    assert (summary["source"] is not None) is is_played
    assert summary["has_view"] is not is_played
    assert (job.folder / f"{job.stem}.view.mp4").exists() is not is_played
    if name.startswith("a b"):
        assert summary["source"] == "../a%20b%231%25.mp4"


def test_the_copy_shows_the_source_without_boxes(tmp_path: Path) -> None:
    video = telling_video(tmp_path / "v.mkv")
    run(job_of(video), work(), ["html", "mp4"])

    copies = pictures_of(tmp_path / "out" / "v.view.mp4")
    drawn = pictures_of(tmp_path / "out" / "v.tubedet.mp4")

    sources = [frame.rgb.astype(int) for frame in frames_of(video)]
    assert len(copies) == len(sources) == 24
    assert max(np.abs(copy - rgb).mean() for copy, rgb in zip(copies, sources, strict=True)) < 4
    assert max(np.abs(each - rgb).mean() for each, rgb in zip(drawn, sources, strict=True)) > 8


def test_page_and_copy_are_one_output(tmp_path: Path) -> None:
    job = job_of(telling_video(tmp_path / "v.mkv"))

    run(job, work(), ["html"], after=5)
    assert names_in(job.folder) == ["v.partial.html", "v.partial.meta.json", "v.partial.view.mp4"]

    run(job, work(), ["html"])
    assert names_in(job.folder) == ["v.html", "v.meta.json", "v.view.mp4"]
    both = sum((job.folder / name).stat().st_size for name in ("v.html", "v.view.mp4"))
    told = meta_of(job.folder / "v.meta.json")["outputs"]["html"]
    assert told == {"name": "v.html", "bytes": both, "files": 2}


def test_a_page_whose_copy_is_gone_is_made_again(tmp_path: Path) -> None:
    job = job_of(telling_video(tmp_path / "v.mkv"))
    run(job, work(), ["html", "csv"])
    (job.folder / "v.view.mp4").unlink()

    todo = what_is_left(job, work(), ["html", "csv"], Existing(skip=True))

    assert (todo.formats, todo.overwrite) == (("html",), frozenset({"html"}))
    assert todo.earlier is not None  # the rows are taken over


def test_what_a_run_that_fails_has_found_is_kept_as_a_page(tmp_path: Path) -> None:
    job = job_of(telling_video(tmp_path / "v.mkv"))

    ending(job, WorkThatFails(RuntimeError("out of luck"), 7), ["html"], RuntimeError)

    assert names_in(job.folder) == ["v.partial.html", "v.partial.meta.json", "v.partial.view.mp4"]
    frames = json.loads(scripts_of(job.folder / "v.partial.html")["frames"])
    assert len(frames) == len(pictures_of(job.folder / "v.partial.view.mp4")) == 7


def test_a_page_stays_without_its_copy_where_that_cannot_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    job = job_of(telling_video(tmp_path / "v.mkv"))
    monkeypatch.setattr("tubedet.writers.mp4_recording.Recording.complete", fail)

    ending(job, work(), ["html"], OutputError)

    assert names_in(job.folder) == ["v.partial.html", "v.partial.meta.json"]
    summary = summary_of(job.folder / "v.partial.html")
    assert summary is not None
    assert (summary["source"], summary["has_view"]) == (None, False)
    notes = meta_of(job.folder / "v.partial.meta.json")["notes"]
    assert any("the page shows no video" in note["text"] and note["loss"] for note in notes)


def test_a_frame_that_finds_the_disk_full_is_cut_off_as_a_whole(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4", frames=2)
    writer = open_writer("html", target_for(tmp_path / "out", source))
    frames = [result(plain_frame(n), Detection("walk", 0, 0.5, (1, 2, 3, 4))) for n in range(60)]
    with full_disk(writer.path.stat().st_size + 500):
        room, problem = write_until_refused(writer, frames)
    assert "File too large" in problem
    assert 2 < room < 50

    writer.close(complete=False)

    scripts = scripts_of(writer.path)
    assert [frame[0] for frame in json.loads(scripts["frames"])] == list(range(room))


def test_a_copy_of_an_older_page_goes_with_it(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4", frames=2)
    target = target_for(tmp_path / "out", source)
    writer = open_writer("html", target)
    (tmp_path / "out" / "x.view.mp4").write_bytes(b"of an older run")
    writer.write(result(plain_frame(0)))
    writer.close(complete=True)

    writer.rename(target.path(".html"))

    assert names_in(tmp_path / "out") == ["x.html"]


def test_memory_does_not_grow_with_the_length_of_the_video(tmp_path: Path) -> None:
    import tracemalloc

    writer = open_writer("html", target_for(tmp_path / "out", write_video(tmp_path / "x.mp4")))
    frame = plain_frame(0)

    def write(times: int) -> None:
        for _ in range(times):
            writer.write(
                FrameResult(frame, found(frame, [Detection("walk", 0, 0.5, (1, 2, 3, 4))]))
            )

    tracemalloc.start()
    try:
        write(1000)
        before = tracemalloc.get_traced_memory()[0]
        write(20_000)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000  # bytes; the page has 700,000
    finally:
        tracemalloc.stop()
        writer.abandon()


def test_the_summary_tells_how_long_every_action_lasts(tmp_path: Path) -> None:
    source = write_video(tmp_path / "x.mp4")
    writer = open_writer("html", target_for(tmp_path / "out", source))
    for number in range(10):  # at 25 frames a second
        labels = ["walk"] * (number < 5) + ["run"] * (number == 9)
        boxes = [Detection(label, 0, 0.5, (1, 2, 3, 4)) for label in (*labels, *labels)]
        writer.write(result(plain_frame(number), *boxes))
    writer.close(complete=True)

    summary = summary_of(writer.path)

    assert summary is not None
    assert summary["label_seconds"] == {"walk": 0.2, "run": 0.04}
    assert (summary["seconds"], summary["frames"]) == (0.4, 10)
    assert summary["thumbnail"].startswith("data:image/jpeg;base64,/9j/")
