"""Folders as a job: what a second run does, and what `tubedet status` says."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import names_in
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.batch.manifest import MANIFEST
from tubedet.cli.app import app

Detect = Callable[..., Any]


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> ScriptedDetector:
    """In the network's place; its `batch_sizes` tell how many frames it has seen."""
    detector = ScriptedDetector()
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: detector)
    return detector


@pytest.fixture
def detect(tmp_path: Path, detector: object) -> Detect:
    """Runs `tubedet detect` with CSV in `tmp_path / "out"`."""

    def run(*arguments: object) -> Any:
        given = [*map(str, arguments), "-o", str(tmp_path / "out"), "-f", "csv"]
        return CliRunner().invoke(app, ["detect", *given])

    return run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in/sub").mkdir(parents=True)
    for name in ("a.mp4", "b.mp4", "sub/c.mp4"):
        write_video(tmp_path / "in" / name, frames=3, width=64, height=48)
    return tmp_path / "in"


def state(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in names_in(folder)}


def status_of(folder: Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["status", str(folder), "--json"])
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert isinstance(told, dict)
    return told


def test_a_second_run_over_a_folder_changes_nothing(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    assert detect(folder).exit_code == 0
    before = state(tmp_path / "out")
    again = detect(folder)
    assert again.exit_code == 0
    assert "a.mp4: skipped: its outputs are there" in again.stdout
    assert state(tmp_path / "out") == before
    assert set(before) == {
        "a.csv", "a.meta.json", "b.csv", "b.meta.json", "sub/c.csv", "sub/c.meta.json", MANIFEST
    }  # fmt: skip


def test_a_second_run_does_what_is_missing_changed_or_failed_and_nothing_else(
    detect: Detect, folder: Path, tmp_path: Path, detector: ScriptedDetector
) -> None:
    (folder / "bad.mp4").write_bytes(b"no video")
    assert detect(folder).exit_code == 7
    before = state(tmp_path / "out")
    write_video(folder / "bad.mp4", frames=2, width=64, height=48)
    write_video(folder / "b.mp4", frames=4, width=64, height=48)
    write_video(folder / "new.mp4", frames=5, width=64, height=48)
    (tmp_path / "out/sub/c.csv").unlink()
    detector.batch_sizes.clear()
    assert detect(folder).exit_code == 0
    after = state(tmp_path / "out")
    assert sum(detector.batch_sizes) == 2 + 4 + 5 + 3
    same = {name for name in before if after[name] == before[name]}
    assert same == {"a.csv", "a.meta.json"}
    assert status_of(tmp_path / "out")["counts"] == {
        "done": 5, "partial": 0, "waiting": 0, "failed": 0
    }  # fmt: skip


def test_a_second_run_with_other_settings_makes_all_anew(
    detect: Detect, folder: Path, detector: ScriptedDetector
) -> None:
    detect(folder)
    detector.batch_sizes.clear()
    assert detect(folder, "--max-frames", "2").exit_code == 0
    assert sum(detector.batch_sizes) == 6
    detector.batch_sizes.clear()
    assert detect(folder, "--max-frames", "2", "--overwrite").exit_code == 0
    assert sum(detector.batch_sizes) == 6


def test_a_file_of_the_user_s_fails_its_video_alone_and_stays(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/b.csv").write_text("mine")
    result = detect(folder)
    assert result.exit_code == 7
    assert "b.csv: exists already" in result.stderr
    assert (tmp_path / "out/b.csv").read_text() == "mine"
    assert (tmp_path / "out/sub/c.csv").exists()


def test_a_partial_result_with_other_settings_is_no_obstacle_unless_resume_is_asked_for(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    from tests.scripted_run import job_of, run
    from tubedet.run.detection import DetectionWork
    from tubedet.run.plan import RunPlan

    job = job_of(folder / "a.mp4", tmp_path / "out")
    run(job, DetectionWork(ScriptedDetector(), RunPlan(link=False)), ["csv"], after=2)
    refused = detect(folder, "--resume")
    assert refused.exit_code == 2
    assert "cannot be gone on from" in refused.stderr
    went_on = detect(folder)
    assert went_on.exit_code == 0
    assert "a.partial.meta.json: its rows do not fit" in went_on.stderr


def test_one_video_that_is_named_has_no_manifest_and_is_refused_as_ever(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    assert detect(folder / "a.mp4").exit_code == 0
    assert names_in(tmp_path / "out") == ["a.csv", "a.meta.json"]
    assert detect(folder / "a.mp4").exit_code == 6
    assert detect(folder / "a.mp4", folder / "b.mp4").exit_code == 0  # several are a job
    assert (tmp_path / "out" / MANIFEST).exists()


def test_a_folder_of_one_video_is_a_job_since_there_may_be_more(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    assert detect(folder / "sub").exit_code == 0
    assert detect(folder / "sub").exit_code == 0
    assert status_of(tmp_path / "out")["counts"]["done"] == 1


def test_include_and_exclude_choose_and_what_is_left_out_is_said(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    result = detect(folder, "--include", "A*", "--include", "sub", "--exclude", "nothing")
    assert result.exit_code == 0
    assert "1 video or folder left out by --include and --exclude: " in result.stderr
    assert [name for name in names_in(tmp_path / "out") if name.endswith(".csv")] == [
        "a.csv",
        "sub/c.csv",
    ]
    none = detect(folder, "--exclude", "*")
    assert none.exit_code == 2
    assert "leave nothing" in none.stderr


def test_fail_fast_ends_with_the_first_failure(
    detect: Detect, folder: Path, tmp_path: Path
) -> None:
    (folder / "a.mp4").write_bytes(b"no video")
    result = detect(folder, "--fail-fast")
    assert result.exit_code == 7
    last = result.stderr.splitlines()[-1]
    assert last == "tubedet: 1 of 3 videos failed; the others were left, as --fail-fast asks"
    assert names_in(tmp_path / "out") == [MANIFEST]
    told = status_of(tmp_path / "out")
    assert told["counts"] == {"done": 0, "partial": 0, "waiting": 2, "failed": 1}
    assert told["left"] == ["b.mp4", "sub/c.mp4", "a.mp4"]


@pytest.mark.parametrize("output_format", ["mp4", "csv"])
def test_a_video_that_will_not_fit_on_the_disk_is_not_begun_and_spares_the_others(
    detect: Detect,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    output_format: str,
) -> None:
    """3 frames of 64x48 px at a tenth of a bit are 115 bytes, of 640x480 px 11,520."""
    write_video(folder / "b.mp4", frames=3, width=640, height=480)
    assert (folder / "b.mp4").stat().st_size > 6000
    monkeypatch.setattr(pipeline, "disk_usage", lambda _: SimpleNamespace(free=5000))
    result = detect(folder, "-f", output_format)
    assert result.exit_code == (7 if output_format == "mp4" else 0)
    reasons = result.stderr.splitlines()
    assert any(
        f"room for the results of {folder / 'b.mp4'}, about" in each for each in reasons
    ) == (output_format == "mp4")
    assert (tmp_path / "out/a.csv").exists()
    assert (tmp_path / "out/b.csv").exists() == (output_format == "csv")


def test_one_video_that_will_not_fit_is_begun_but_that_is_said(
    detect: Detect, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What there is room for is kept, as ever."""
    monkeypatch.setattr(pipeline, "disk_usage", lambda _: SimpleNamespace(free=100))
    result = detect(folder / "a.mp4", "-f", "mp4")
    assert result.exit_code == 0
    assert result.stderr == "a.mp4: about 0.0 MB of results, 0.0 MB are free\n"


def test_status_of_a_job_that_was_killed_while_it_loaded_says_so(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).touch()
    result = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "of no video is anything known yet" in result.stdout


def test_status_names_what_failed_and_what_is_left(
    detect: Detect, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    (folder / "bad [red]x.mp4").write_bytes(b"no video")
    detect(folder)
    path = tmp_path / "out" / MANIFEST
    with path.open("ab") as file:
        file.write(b'{"video": "torn')
    result = CliRunner().invoke(app, ["status", str(tmp_path / "out")])
    assert result.exit_code == 0
    table = [line.split() for line in result.stdout.splitlines()]
    assert ["done", "3", "9"] in [cells[:3] for cells in table]
    assert ["failed", "1", "0", "0.0"] in table
    (named,) = [line for line in result.stdout.splitlines() if "bad [red]x.mp4: expected" in line]
    assert named.split()[0] == "bad"
    assert "left to do (1): bad [red]x.mp4" in result.stdout
    assert f"{path}: its last line is torn" in result.stderr
    told = status_of(tmp_path / "out")
    assert (told["frames"], told["torn_bytes"], told["left"]) == (9, 15, ["bad [red]x.mp4"])
    assert {each["video"]: each["status"] for each in told["videos"]}["sub/c.mp4"] == "done"


def test_status_of_a_folder_without_a_manifest_says_what_to_give(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["status", str(tmp_path)])
    assert result.exit_code == 2
    assert "-o" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_rows_on_stdout_come_from_one_worker(folder: Path, detector: object) -> None:
    refused = CliRunner().invoke(app, ["detect", str(folder), "-o", "-", "--workers", "2"])
    assert refused.exit_code == 2


def test_a_result_that_would_be_called_like_the_manifest_is_refused(
    detect: Detect, folder: Path
) -> None:
    (folder / "a.mp4").rename(folder / "tubedet.manifest.mp4")
    result = detect(folder, "-f", "jsonl")
    assert result.exit_code == 2
    assert "tells what became of all videos" in result.stderr


def test_flow_over_a_folder_is_a_job_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.known_flow import KnownFlow
    from tubedet.runtime.torch_flow import TorchFlow

    monkeypatch.setattr(
        pipeline, "load_flow_estimator", lambda *_, **__: TorchFlow(KnownFlow(), device="cpu")
    )
    command = ["flow", str(folder), "-o", str(tmp_path / "out"), "--exclude", "sub"]
    assert CliRunner().invoke(app, command).exit_code == 0
    before = state(tmp_path / "out")
    assert CliRunner().invoke(app, command).exit_code == 0
    assert state(tmp_path / "out") == before
    assert status_of(tmp_path / "out")["counts"]["done"] == 2
