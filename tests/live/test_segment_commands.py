"""What other commands make of a segment."""

import json
from pathlib import Path

import av
import pytest
from typer.testing import CliRunner

from tests.live.recorded_stream import STEMS, Outcome, write_stream
from tubedet.cli.app import app
from tubedet.page.video_page import summary_of
from tubedet.writers.read_rows import read_rows
from tubedet.writers.run_meta import RunMeta

FORMATS = ("mp4", "csv", "html", "srt")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    outcome = Outcome(write_stream(folder / "clip.mp4"), folder / "out", formats=FORMATS)
    assert outcome.error is None
    return folder / "out"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert result.exit_code == 0, result.output
    return result.output


def test_convert_reads_a_segment(recorded: Path, tmp_path: Path) -> None:
    run("convert", recorded / f"{STEMS[1]}.csv", "-f", "jsonl,coco", "-o", tmp_path)
    rows = list(read_rows(recorded / f"{STEMS[1]}.csv"))
    assert list(read_rows(tmp_path / f"{STEMS[1]}.jsonl")) == rows
    assert len(rows) == 24
    coco = json.loads((tmp_path / f"{STEMS[1]}.coco.json").read_text())
    assert len(coco["images"]) == 24


def test_sheet_finds_the_pictures_of_a_segment_in_its_own_video(
    recorded: Path, tmp_path: Path
) -> None:
    crops, sheet = tmp_path / "crops", tmp_path / "sheet.png"
    run("sheet", recorded / f"{STEMS[1]}.tubedet.mp4", "-o", sheet, "--crops", crops)
    assert sheet.stat().st_size > 1_000
    names = sorted(int(path.stem) for path in crops.glob("tube-*/*.jpg"))
    assert names == list(range(24, 48))


def test_index_shows_each_segment_under_its_own_name(recorded: Path, tmp_path: Path) -> None:
    run("index", recorded, "-o", tmp_path / "index.html")
    html = (tmp_path / "index.html").read_text()
    assert all(f"<bdi>{stem}</bdi>" in html for stem in STEMS)
    assert html.count("data:image/jpeg") == 3


def test_the_page_of_a_segment_plays_its_own_copy(recorded: Path) -> None:
    summary = summary_of(recorded / f"{STEMS[1]}.html")
    assert summary is not None
    assert summary["has_view"]
    assert summary["source"] is None
    assert summary["offset_s"] == -1
    assert summary["frames"] == 24
    with av.open(str(recorded / f"{STEMS[1]}.view.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 24


def test_subtitles_go_by_the_mp4_of_the_segment(recorded: Path) -> None:
    first = (recorded / f"{STEMS[1]}.srt").read_text().splitlines()[1]
    assert first.startswith("00:00:00,000 --> ")


def test_a_meta_from_before_streams_could_be_is_read(recorded: Path, tmp_path: Path) -> None:
    told = json.loads((recorded / f"{STEMS[0]}.meta.json").read_text())
    del told["live"]
    meta = RunMeta.of(told)
    assert meta is not None
    assert meta.live is None
