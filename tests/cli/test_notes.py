"""What is lost is said, counted in the meta however quiet a run is, and a failure if asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.lossless_video import write_lossless
from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tests.small_disk import small_disk
from tests.synthetic_video import corrupt, write_video
from tubedet import pipeline
from tubedet.cli.app import app

Detect = Callable[..., Any]
BOX = ScriptedBox(0.1, 0.1, 0.5, 0.5)


@pytest.fixture
def detect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Detect:
    """Runs `tubedet detect` with a scripted detector and with results in `tmp_path / "out"`."""
    monkeypatch.setattr(
        pipeline, "load_detector", lambda *_, **__: ScriptedDetector(script=[[BOX]] * 9999)
    )

    def run(*arguments: object, output: Path = tmp_path / "out") -> Any:
        return CliRunner().invoke(app, ["detect", *map(str, arguments), "-o", str(output)])

    return run


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """24 frames, of which 2 cannot be decoded."""
    path = tmp_path / "damaged.mkv"
    write_video(path, width=64, height=48, codec="ffv1", pixel_format="bgr0")
    return corrupt(path, packets=[10, 20])


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return write_video(tmp_path / "whole.mp4", frames=3, width=64, height=48)


def write_noise(path: Path, frames: int) -> Path:
    """Pictures that no encoder makes small: an MP4 of them takes about 60 kB a frame."""
    noise = np.random.default_rng(0)
    shape = (240, 320, 3)
    return write_lossless(path, [noise.integers(0, 256, shape, np.uint8) for _ in range(frames)])


def meta_of(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_loss_is_a_note_on_stderr_and_in_the_table_and_no_failure(
    detect: Detect, damaged: Path, whole: Path, tmp_path: Path
) -> None:
    result = detect(damaged, whole)
    assert result.exit_code == 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("damaged.mkv: ")]
    assert any("2" in line and "decoded" in line for line in lines), result.stderr
    assert "whole.mp4" not in result.stderr
    assert [line.partition(",")[0] for line in result.stdout.splitlines()[:2]] == [
        "damaged.mkv: done",
        "whole.mp4: done",
    ]
    assert "with loss" in result.stdout.splitlines()[0]


@pytest.mark.parametrize("quiet", [[], ["-q"]])
@pytest.mark.parametrize("formats", ["csv", "mp4"])
def test_the_meta_tells_of_a_loss_however_quiet_the_run_is(
    detect: Detect, damaged: Path, tmp_path: Path, quiet: list[str], formats: str
) -> None:
    result = detect(damaged, "-f", formats, *quiet)
    assert result.exit_code == 0
    assert bool(result.stdout + result.stderr) == (not quiet)
    meta = meta_of(tmp_path / "out/damaged.meta.json")
    assert (meta["skipped_frames"], meta["processed_frames"], meta["complete"]) == (2, 22, True)
    assert any(note["loss"] for note in meta["notes"])


@pytest.mark.parametrize("quiet", [[], ["-q"]])
def test_strict_makes_the_loss_of_an_only_video_a_failure_and_keeps_its_results(
    detect: Detect, damaged: Path, tmp_path: Path, quiet: list[str]
) -> None:
    result = detect(damaged, "--strict", *quiet)
    assert result.exit_code == 3
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"tubedet: {damaged}: ")
    assert "--strict" in last
    assert names(tmp_path / "out") == [
        "damaged.csv",
        "damaged.meta.json",
        "damaged.tubedet.mp4",
    ]


def test_strict_makes_the_loss_of_one_of_several_the_failure_of_the_batch(
    detect: Detect, damaged: Path, whole: Path, tmp_path: Path
) -> None:
    result = detect(damaged, whole, "--strict")
    assert result.exit_code == 7
    assert result.stderr.splitlines()[-1] == (
        "tubedet: 1 lost something, which --strict does not allow"
    )
    assert len(names(tmp_path / "out")) == 2 * 3 + 1  # and the manifest
    absent = detect(damaged, whole, tmp_path / "absent.mp4", "--strict", "--overwrite")
    assert absent.stderr.splitlines()[-1] == (
        "tubedet: 1 of 3 videos failed; 1 lost something, which --strict does not allow"
    )


def test_strict_changes_nothing_where_nothing_is_lost(
    detect: Detect, whole: Path, tmp_path: Path
) -> None:
    result = detect(whole, "--strict")
    assert (result.exit_code, result.stderr) == (0, "")


def test_strict_holds_for_rows_on_stdout_too(detect: Detect, damaged: Path) -> None:
    result = detect(damaged, "--strict", output=Path("-"))
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 22


def test_a_file_in_a_folder_that_cannot_be_read_is_named_and_the_exit_code_7(
    detect: Detect, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    whole.rename(folder / "whole.mp4")
    (folder / "bad.mp4").write_bytes(b"no video")
    result = detect(folder, "-q")
    assert result.exit_code == 7
    assert result.stdout == ""
    assert [line.partition(": expected")[0] for line in result.stderr.splitlines()] == [
        f"tubedet: {folder / 'bad.mp4'}",
        "tubedet: 1 of 2 videos failed",
    ]


def test_results_that_do_not_fit_on_the_disk_are_kept_as_far_as_they_do(
    detect: Detect, tmp_path: Path
) -> None:
    """The MP4 does not fit, the rows do."""
    source = write_noise(tmp_path / "clip.mkv", frames=60)
    with small_disk(tmp_path / "disk", 600) as disk:
        result = detect(source, output=disk)
        left = names(disk)
        meta = meta_of(disk / "clip.partial.meta.json")
        lines = (disk / "clip.partial.csv").read_text("utf-8").splitlines()
    assert result.exit_code == 6
    assert left == ["clip.partial.csv", "clip.partial.meta.json"]
    assert 0 < meta["processed_frames"] < 60
    assert [line.split(",")[1] for line in lines[1:]] == [
        str(number) for number in range(meta["processed_frames"])
    ]
    assert list(meta["outputs"]) == ["csv"]
    assert any("mp4 could not be kept" in note["text"] for note in meta["notes"] if note["loss"])
    kept, reason = result.stderr.splitlines()[-2:]
    assert "clip.tubedet.mp4: No space left on device" in reason
    assert f"{meta['processed_frames']} frames were done and are kept" in kept
    assert str(tmp_path / "disk/clip.partial.csv") in kept


def test_a_full_disk_stops_one_video_and_spares_the_others(
    detect: Detect, whole: Path, tmp_path: Path
) -> None:
    source = write_noise(tmp_path / "clip.mkv", frames=60)
    with small_disk(tmp_path / "disk", 600) as disk:
        result = detect(source, whole, output=disk)
        left = names(disk)
        with av.open(str(disk / "whole.tubedet.mp4")) as movie:
            assert sum(1 for _ in movie.decode(video=0)) == 3
    assert result.exit_code == 7
    assert [name for name in left if name.startswith(".")] == []
    assert [name for name in left if name.startswith("whole")] == [
        "whole.csv",
        "whole.meta.json",
        "whole.tubedet.mp4",
    ]


def test_a_disk_without_any_room_leaves_nothing(
    detect: Detect, whole: Path, tmp_path: Path
) -> None:
    with small_disk(tmp_path / "disk", 12) as disk:
        result = detect(whole, output=disk / "out")
        assert names(disk) == []
    assert result.exit_code == 6
    assert len(result.stderr.splitlines()) == 1
    assert "No space left on device" in result.stderr


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_a_folder_under_a_final_name_is_said_and_the_rows_are_kept(
    detect: Detect,
    whole: Path,
    tmp_path: Path,
    overwrite: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Meanwhile(ScriptedDetector):
        def predict(self, clip: Any, tasks: Any, state: Any = None) -> Any:
            (tmp_path / "out/whole.csv/mine").mkdir(parents=True, exist_ok=True)
            return super().predict(clip, tasks, state)

    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: Meanwhile(script=[[BOX]] * 9))
    result = detect(whole, *overwrite)
    assert result.exit_code == 6
    assert "whole.csv" in result.stderr.splitlines()[-1]
    assert "partial" in result.stderr
    assert (tmp_path / "out/whole.csv/mine").is_dir()
    lines = (tmp_path / "out/whole.partial.csv").read_text("utf-8").splitlines()
    assert len(lines) == 4
    stem = "whole" if overwrite else "whole.partial"
    meta = meta_of(tmp_path / f"out/{stem}.meta.json")
    assert {name: told["name"] for name, told in meta["outputs"].items()} == {
        "mp4": "whole.tubedet.mp4" if overwrite else "whole.partial.mp4",
        "csv": "whole.partial.csv",
    }
    for told in meta["outputs"].values():
        assert (tmp_path / "out" / told["name"]).stat().st_size == told["bytes"]
    assert not [name for name in names(tmp_path / "out") if name.startswith(".")]


def test_spreadsheet_safe_marks_names_that_would_be_formulas(
    detect: Detect, whole: Path, tmp_path: Path
) -> None:
    evil = whole.rename(tmp_path / "=1+1.mp4")
    assert detect(evil, "-f", "csv,json", "--spreadsheet-safe").exit_code == 0
    assert (tmp_path / "out/=1+1.csv").read_text().splitlines()[1].startswith("'=1+1.mp4,0,0,")
    assert meta_of(tmp_path / "out/=1+1.json")["detections"][0]["video"] == "=1+1.mp4"
    assert detect(evil, "-f", "csv", "--overwrite").exit_code == 0
    assert (tmp_path / "out/=1+1.csv").read_text().splitlines()[1].startswith("=1+1.mp4,0,0,")
