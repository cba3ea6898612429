import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.small_detector import small_config, small_network
from tests.synthetic_video import write_video
from tubedet import __version__, pipeline
from tubedet.checkpoints import catalog
from tubedet.checkpoints.native import CheckpointHeader, save_checkpoint
from tubedet.cli.app import app, with_exit_codes
from tubedet.errors import (
    DatasetError,
    OutputError,
    TubedetError,
    UsageError,
    VideoError,
    WeightsError,
)

ROOT = Path(__file__).parents[2]


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder with nothing in it."""
    folder = tmp_path / "no weights"
    folder.mkdir()
    monkeypatch.setattr(catalog, "weights_folder", lambda: folder)
    return folder


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TubedetError("a"), 1),
        (UsageError("a"), 2),
        (VideoError("a"), 3),
        (WeightsError("a"), 4),
        (DatasetError("a"), 5),
        (OutputError("a"), 6),
        (KeyboardInterrupt(), 130),
        (ZeroDivisionError("a"), 1),
    ],
)
def test_every_kind_of_error_has_its_exit_code_and_one_line_on_stderr(
    error: BaseException, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "load_detector", fail)
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48)
    result = CliRunner().invoke(app, ["detect", str(video), "-o", str(tmp_path / "out")])
    assert result.exit_code == code
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1


def test_a_message_of_several_lines_and_any_length_is_shown_as_one_and_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise VideoError("first\n  " + "[bold]second " * 20)

    with pytest.raises(typer.Exit):
        with_exit_codes(fail)()
    assert capsys.readouterr().err == "tubedet: first\\n  " + "[bold]second " * 20 + "\n"


def test_debug_shows_where_an_unexpected_error_comes_from(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: 1 / 0)
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48)
    command = ["detect", str(video), "-o", str(tmp_path / "out")]
    plain, traced = (CliRunner().invoke(app, [*command, *more]) for more in ([], ["--debug"]))
    assert plain.exit_code == traced.exit_code == 1
    assert "unexpected ZeroDivisionError" in plain.stderr
    assert "Traceback" not in plain.stderr
    assert "--debug shows" in plain.stderr
    assert "--debug shows" not in traced.stderr
    assert "Traceback" in traced.stderr
    assert "test_app.py" in traced.stderr


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"tubedet {__version__}\n")


@pytest.mark.parametrize("arguments", [["detect"], ["nonsense"], ["detect", "x", "--stride", "0"]])
def test_a_call_that_cannot_be_read_is_a_usage_error(arguments: list[str]) -> None:
    assert CliRunner().invoke(app, arguments).exit_code == 2


def test_the_module_is_the_program_and_completes_its_options() -> None:
    environment = os.environ | {
        "_TUBEDET_COMPLETE": "complete_bash",
        "COMP_WORDS": "tubedet detect --skip",
        "COMP_CWORD": "2",
    }
    command = [sys.executable, "-m", "tubedet"]
    result = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    assert result.stdout.split() == [b"--skip-existing"]


def test_weights_list_names_every_preset_and_says_which_are_not_bundled(no_weights: Path) -> None:
    result = CliRunner().invoke(app, ["weights", "list"])
    assert result.exit_code == 0
    for preset in ("flownet2", "flownet2-css", "flownet2-sd", "brox", "light"):
        line = next(line for line in result.stdout.splitlines() if line.split()[:1] == [preset])
        assert "not bundled" in line


def test_bundled_weights_are_listed_with_their_hash_and_damaged_ones_as_such(
    no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    config = small_config("light")
    path = no_weights / "light.safetensors"
    save_checkpoint(path, small_network(config), CheckpointHeader(config=config.to_dict()))
    (no_weights / "brox.safetensors").write_bytes(b"nothing")
    for command in (["weights", "list"], ["doctor"]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 0
        assert catalog.sha256_of(path) in result.stdout
        assert "light, 2 classes" in result.stdout
        assert "brox.safetensors: expected a tubedet checkpoint" in result.stdout


def test_the_doctor_names_versions_devices_codecs_and_weights(no_weights: Path) -> None:
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    for fact in (__version__, "Python", "torch", "FFmpeg", "h264", "libx264", "cpu", "light"):
        assert fact in result.stdout


def test_the_doctor_does_without_what_a_distribution_tells_of_itself(
    no_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tubedet.cli.doctor.LIBRARIES", ("no-such-distribution",))
    result = CliRunner().invoke(app, ["doctor"])
    assert result.exit_code == 0
    assert re.search("no-such-distribution +not found", result.stdout)


def test_debug_is_offered_where_it_is_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalog, "catalog", lambda: 1 / 0)
    result = CliRunner().invoke(app, ["weights", "list"])
    assert result.exit_code == 1
    assert result.stderr == "tubedet: unexpected ZeroDivisionError: division by zero\n"


def test_without_bundled_weights_detect_says_what_to_do(no_weights: Path, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", frames=1, width=64, height=48)
    result = CliRunner().invoke(app, ["detect", str(video), "-o", str(tmp_path / "out")])
    assert result.exit_code == 4
    assert "no weights are bundled" in result.stderr
    assert "give the path of a checkpoint" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_file_is_enough_to_detect(tmp_path: Path) -> None:
    """With a small seeded network, which detects nothing sensible."""
    config = small_config()
    checkpoint = tmp_path / "small.safetensors"
    save_checkpoint(checkpoint, small_network(config), CheckpointHeader(config=config.to_dict()))
    video = write_video(tmp_path / "clip.mp4", frames=3, width=64, height=48)
    arguments = ["detect", str(video), "-o", str(tmp_path / "out"), "--weights", str(checkpoint)]
    result = CliRunner().invoke(app, [*arguments, "--min-score", "0", "--device", "cpu"])
    assert result.exit_code == 0, result.stderr
    assert len((tmp_path / "out/clip.csv").read_text().splitlines()) == 4
    assert catalog.sha256_of(checkpoint) in (tmp_path / "out/clip.meta.json").read_text()
