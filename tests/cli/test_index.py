"""`tubedet index`: what it finds in a folder, and what it never replaces."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.scripted_run import TellingDetector, job_of, names_in, run, telling_video
from tubedet.batch.manifest import MANIFEST
from tubedet.batch.video_record import VideoRecord
from tubedet.cli.app import app
from tubedet.page.index_page import IndexedVideo, index_html
from tubedet.run.detection import DetectionWork
from tubedet.run.plan import RunPlan
from tubedet.writers.html_index import indexed_videos, write_index


def index(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["index", *map(str, arguments)])


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A page, rows without a page in a folder below, and a partial page."""
    out = tmp_path / "out"
    for name, formats, after in (
        ("a b.mp4", ["html"], None), ("day/c.mp4", ["csv"], None), ("d.mp4", ["html"], 5),
    ):  # fmt: skip
        video = telling_video(tmp_path / name)
        folder = out / Path(name).parent
        work = DetectionWork(TellingDetector(), RunPlan())
        run(job_of(video, folder), work, formats, after=after)
    return out


def test_pages_and_metas_tell_what_the_videos_are(results: Path) -> None:
    by_name = {video.name: video for video in indexed_videos(results, results)}

    assert {name: video.page for name, video in by_name.items()} == {
        "a b.mp4": "a%20b.html", "c.mp4": None, "d.mp4": "d.partial.html",
    }  # fmt: skip
    assert [name for name, video in by_name.items() if video.partial] == ["d.mp4"]
    assert [video.frames for video in by_name.values()] == [24, 5, 24]
    assert by_name["a b.mp4"].labels is not None
    assert set(by_name["a b.mp4"].labels) <= {"walk", "run", "jump"}
    assert by_name["a b.mp4"].labels
    assert by_name["c.mp4"].labels == pytest.approx(by_name["a b.mp4"].labels)  # the same video
    assert by_name["c.mp4"].seconds == pytest.approx(by_name["a b.mp4"].seconds)
    assert str(by_name["a b.mp4"].thumbnail).startswith("data:image/jpeg")


def test_without_a_page_the_mp4_is_linked_and_of_rows_that_are_gone_nothing_is_said(
    tmp_path: Path,
) -> None:
    video = telling_video(tmp_path / "a.mp4")
    out = tmp_path / "out"
    run(job_of(video, out), DetectionWork(TellingDetector(), RunPlan()), ["mp4", "csv"])
    (of_rows,) = indexed_videos(out, out)
    assert of_rows.page == "a.tubedet.mp4"
    assert of_rows.labels

    (out / "a.csv").unlink()
    (without,) = indexed_videos(out, out)
    assert without.labels is None
    assert "nothing found" not in index_html([without], "out")


def test_the_index_is_written_and_written_anew(results: Path) -> None:
    for _ in range(2):
        result = index(results)
        assert result.exit_code == 0, result.output
        assert result.output.split() == [f"{results / 'index.html'}:", "3", "videos"]
    assert [name for name in names_in(results) if "index" in name] == ["index.html"]


def test_failures_of_a_job_stand_on_top(results: Path) -> None:
    record = VideoRecord(
        video="broken.mp4", kind="boxes", results="broken", path="/v/broken.mp4",
        source={"bytes": 1, "modified_ns": 2}, status="failed", error="broken.mp4: no <video>",
    )  # fmt: skip
    (results / MANIFEST).write_bytes(record.to_line())

    assert index(results).output.split()[-2:] == ["4", "videos"]

    page = (results / "index.html").read_text("utf-8")
    assert "broken.mp4: no &lt;video&gt;" in page
    assert 0 < page.index("broken.mp4") < page.index("a b.mp4")


def test_a_file_that_is_no_index_is_left_alone(results: Path) -> None:
    (results / "index.html").write_text("<html>mine</html>", "utf-8")

    refused = index(results)

    assert refused.exit_code == 6
    assert "exists already and is no index" in " ".join(refused.output.split())
    assert (results / "index.html").read_text("utf-8") == "<html>mine</html>"
    assert index(results, "--overwrite").exit_code == 0
    assert index(results, "-o", results / "day" / "all.html").exit_code == 0
    assert "../a%20b.html" in (results / "day" / "all.html").read_text("utf-8")


def test_a_folder_without_results_is_one_line_and_code_6(tmp_path: Path) -> None:
    result = index(tmp_path)

    assert result.exit_code == 6
    assert "found no STEM.meta.json" in " ".join(result.output.split())
    assert names_in(tmp_path) == []


def test_failures_can_be_given_and_stand_first(results: Path) -> None:
    path, videos = write_index(results, failures={"z.mp4": "no video stream"})

    html = path.read_text("utf-8")
    assert videos == 4
    assert html.index("no video stream") < html.index("a b.mp4")


def test_names_labels_and_errors_are_text_whatever_is_in_them() -> None:
    bad = '"><script>alert(1)</script>'
    html = index_html(
        [IndexedVideo(name=bad, labels={bad: 1.0}, notes=[bad]), IndexedVideo(name="x", error=bad)],
        bad,
    )
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;alert(1)") >= 6
