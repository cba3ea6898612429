"""What comes in by stdin, goes out by stdout and is said on both, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.synthetic_video import write_video

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "tests.scripted_program"]
# Buffered, as people have it: what Python holds back is written, or fails, at its end.
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": ""}
NEEDS_POSIX = pytest.mark.skipif(os.name == "nt", reason="other file descriptors and shells")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=8, width=64, height=48)


def run(
    folder: Path, *arguments: object, closed: int | None = None, **how: object
) -> subprocess.CompletedProcess[str]:
    """The program in a folder, with one of its standard streams closed from the beginning."""

    def close() -> None:
        if closed is not None:
            os.close(closed)

    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [*PROGRAM, *map(str, arguments)],
        check=False,
        cwd=folder,
        env=ENVIRONMENT,
        preexec_fn=close if closed is not None else None,
        **({"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | how),
    )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_pipe_in_and_a_pipe_out_carry_video_and_json_lines(video: Path, tmp_path: Path) -> None:
    with video.open("rb") as stdin:
        done = run(tmp_path, "detect", "-", "-o", "-", stdin=stdin)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["frame"] for row in found] == list(range(8))
    assert {row["video"] for row in found} == {"stdin"}
    assert "stdin" in done.stderr  # the summary keeps out of the rows' way
    assert names(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize(("options", "stem"), [([], "stdin"), (["--name", "door"], "door")])
def test_a_video_from_stdin_is_called_stdin_or_as_asked(
    video: Path, tmp_path: Path, options: list[str], stem: str
) -> None:
    with video.open("rb") as stdin:
        done = run(tmp_path, "detect", "-", "-o", "out", *options, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == [f"{stem}.csv", f"{stem}.meta.json", f"{stem}.tubedet.mp4"]
    assert (tmp_path / "out" / f"{stem}.csv").read_text().splitlines()[1].startswith("stdin,0,")


@pytest.mark.parametrize("others", [[], ["clip.mp4"]])
def test_nothing_on_stdin_is_no_video_and_is_called_stdin(
    video: Path, tmp_path: Path, others: list[str]
) -> None:
    done = run(tmp_path, "detect", "-", *others, "-o", "out", stdin=subprocess.DEVNULL)
    assert done.returncode == (7 if others else 3)
    assert done.stderr.startswith("tubedet: stdin: expected a video file, found ")


@NEEDS_POSIX
@pytest.mark.parametrize("command", ["detect", "flow"])
def test_a_closed_stdin_is_no_video(video: Path, tmp_path: Path, command: str) -> None:
    done = run(tmp_path, command, "-", "-o", "out", closed=0)
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith("tubedet: -: expected a video on stdin, found it closed")
    assert len(done.stderr.splitlines()) == 1
    assert names(tmp_path) == ["clip.mp4"]


@NEEDS_POSIX
def test_a_closed_stdout_takes_no_rows_and_no_folder_is_called_so(
    video: Path, tmp_path: Path
) -> None:
    done = run(tmp_path, "detect", video, "-o", "-", closed=1)
    assert done.returncode == 6
    assert done.stderr.startswith("tubedet: -o -: expected a stdout")
    assert len(done.stderr.splitlines()) == 1
    assert names(tmp_path) == ["clip.mp4"]


@NEEDS_POSIX
@pytest.mark.parametrize("closed", [0, 1, 2])
def test_streams_that_nobody_needs_may_be_closed(video: Path, tmp_path: Path, closed: int) -> None:
    done = run(tmp_path, "detect", video, "-o", "out", closed=closed)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["clip.csv", "clip.meta.json", "clip.tubedet.mp4"]
    assert done.stderr == ""
    assert len((tmp_path / "out/clip.csv").read_text().splitlines()) == 9


@NEEDS_POSIX
@pytest.mark.parametrize("quiet", [[], ["--quiet"]])
def test_a_reader_that_has_enough_of_the_rows_is_no_failure(
    video: Path, tmp_path: Path, quiet: list[str]
) -> None:
    """As `tubedet … -o - | head -1`: the second video is not even begun."""
    for name in ("1.mp4", "2.mp4"):
        (tmp_path / name).write_bytes(video.read_bytes())
    command = [*PROGRAM, "detect", "1.mp4", "2.mp4", "-o", "-", *quiet]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env=ENVIRONMENT | {"SECONDS_PER_FRAME": "0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stderr
        first = json.loads(process.stdout.readline())
        process.stdout.close()
        stderr = process.stderr.read()
    assert (first["video"], first["frame"]) == ("1.mp4", 0)
    assert process.returncode == 0
    assert "tubedet:" not in stderr
    assert "2.mp4" not in stderr
    assert "Traceback" not in stderr


@NEEDS_POSIX
def test_head_behind_the_rows_makes_no_pipeline_fail(video: Path, tmp_path: Path) -> None:
    line = f"set -o pipefail; {sys.executable} -m tests.scripted_program detect clip.mp4 -o - -q"
    done = subprocess.run(
        ["bash", "-c", f"{line} | head -1"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"SECONDS_PER_FRAME": "0.1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["frame"] == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_rows_that_cannot_be_written_are_an_output_error(video: Path, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, "detect", video, "-o", "-", "-q", stdout=full)
    assert done.returncode == 6
    assert done.stderr == "tubedet: cannot write to the output stream: No space left on device\n"


def test_rows_on_stdout_tell_videos_of_one_name_apart(video: Path, tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.mp4").write_bytes(video.read_bytes())
    done = run(tmp_path, "detect", tmp_path / "x", tmp_path / "y", "-q", "-o", "-")
    assert done.returncode == 0, done.stderr
    found = {json.loads(line)["video"] for line in done.stdout.splitlines()}
    assert found == {"x/a.mp4", "y/a.mp4"}


COMMANDS = [["detect", "clip.mp4"], ["weights", "list"], ["--version"]]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nobody_has_to_read_what_is_shown(video: Path, tmp_path: Path, command: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    done = run(tmp_path, *command, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    if command[0] == "detect":
        assert (tmp_path / "tubedet-output/clip.csv").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_stdout_that_is_full_is_an_output_that_cannot_be_written(
    video: Path, tmp_path: Path, command: list[str]
) -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(tmp_path, *command, stdout=full)
    assert done.returncode == 6
    assert done.stderr == "tubedet: cannot write to stdout: No space left on device\n"


def test_without_a_terminal_a_video_has_its_line_as_soon_as_it_is_done(
    video: Path, tmp_path: Path
) -> None:
    """For logs: hours of work should not be silent."""
    (tmp_path / "next.mp4").write_bytes(video.read_bytes())
    with subprocess.Popen(
        [*PROGRAM, "detect", "absent.mp4", "clip.mp4", "next.mp4", "-o", "out"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"SECONDS_PER_FRAME": "0.2"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "absent.mp4: failed\n"
        line = process.stdout.readline()
        assert line.startswith("clip.mp4: done, 8 frames, 8 with a box, ")
        assert not (tmp_path / "out/next.csv").exists()
        rest, stderr = process.communicate(timeout=60)
    assert process.returncode == 7
    assert rest.splitlines()[0].startswith("next.mp4: done, 8 frames")
    assert rest.splitlines()[1:] == ["Results are in out"]
    assert [line.split(": ")[1] for line in stderr.splitlines()[:1]] == ["absent.mp4"]


ESC_NAME = "two  spaces \x1b[31mred\x07.mp4"
AS_SHOWN = r"two  spaces \x1b[31mred\x07.mp4"


@NEEDS_POSIX
@pytest.mark.parametrize("kind", ["bad", "good", "absent"])
def test_names_are_shown_as_they_are_with_control_characters_spelled_out(
    video: Path, tmp_path: Path, kind: str
) -> None:
    if kind == "bad":
        (tmp_path / ESC_NAME).write_bytes(b"not a video")
    elif kind == "good":
        (tmp_path / ESC_NAME).write_bytes(video.read_bytes())
    done = run(tmp_path, "detect", ESC_NAME, "-o", "out", "-f", "csv")
    said = done.stdout + done.stderr
    assert done.returncode == (0 if kind == "good" else 3)
    assert "\x1b" not in said
    assert "\x07" not in said
    assert AS_SHOWN.removesuffix(".mp4") in said


@NEEDS_POSIX
def test_names_in_a_table_and_in_reasons_are_shown_alike(video: Path, tmp_path: Path) -> None:
    (tmp_path / ESC_NAME).write_bytes(b"not a video")
    done = run(tmp_path, "detect", ESC_NAME, "clip.mp4", "-o", "out", "-f", "csv")
    assert done.returncode == 7
    assert done.stdout.splitlines()[0] == f"{AS_SHOWN}: failed"
    assert done.stderr.splitlines()[0].startswith(f"tubedet: {AS_SHOWN}: expected a video file")
    assert "\x1b" not in done.stdout + done.stderr
