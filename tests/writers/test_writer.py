"""What all formats share: the registry, and what happens where nothing can be written."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.output_targets import target_for
from tests.synthetic_video import write_video
from tubedet.detections import Detection, FrameDetections
from tubedet.errors import OutputError, UsageError
from tubedet.video.frame import VideoFrame
from tubedet.writers.csv import CsvWriter
from tubedet.writers.json import JsonWriter
from tubedet.writers.output_set import OutputSet
from tubedet.writers.output_target import PendingFile
from tubedet.writers.row_file import RowFile
from tubedet.writers.run_meta import RunMetaWriter
from tubedet.writers.writer import WRITERS, open_writer

ROOT = Path(__file__).parents[2]
WRITE_FOREVER = """
import sys
from pathlib import Path
from itertools import count
import numpy as np
from tests.output_targets import target_for
from tubedet.detections import Detection, FrameDetections
from tubedet.video.frame import VideoFrame
from tubedet.writers.writer import WRITERS, open_writer

source, folder, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
writers = [open_writer(name, target_for(folder, source)) for name in sys.argv[4:]]
noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), np.uint8)
for number in range(limit):
    pts = number * 512
    boxes = (Detection("walk" * 99, 0, 0.5, (1.0, 2.0, 3.0, 4.0), tube=number),)
    for writer in writers:
        found = FrameDetections(number, pts, None, boxes)
        writer.write(VideoFrame(number, pts, None, noise), found)
    if number == 50:
        print("running", flush=True)
try:
    for writer in writers:
        print(writer.finish())
except Exception as error:
    print(type(error).__name__, str(error))
"""


def test_the_final_names_are_those_that_users_are_told(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))

    names = [target.path(WRITERS[name].suffix).name for name in WRITERS]

    assert names == ["clip.tubedet.mp4", "clip.csv", "clip.json", "clip.jsonl", "clip.segments.csv"]


def test_only_the_mp4_needs_pixels(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))
    writers = {name: open_writer(name, target) for name in WRITERS}

    assert [name for name, writer in writers.items() if writer.needs_pixels] == ["mp4"]
    for writer in writers.values():
        writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"unknown format 'avi': choose from mp4, csv, json, jsonl"
    ):
        open_writer("avi", target_for(tmp_path, Path("clip.mov")))


@pytest.mark.parametrize("factory", [*WRITERS.values(), RunMetaWriter], ids=lambda f: f.suffix)
def test_a_folder_that_cannot_be_is_an_output_error_of_one_line_before_any_work(
    tmp_path: Path, factory: type[RunMetaWriter]
) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match=r"cannot write .*clip\..*: ") as error:
        factory(target_for(tmp_path / "file" / "folder", Path("clip.mov")))

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", WRITERS)
def test_a_final_name_that_is_taken_by_a_folder_leaves_no_temporary(
    tmp_path: Path, name: str
) -> None:
    source = write_video(tmp_path / "clip.mp4", frames=3, width=64, height=48)
    target = target_for(tmp_path / "out", source)
    target.path(WRITERS[name].suffix).mkdir(parents=True)
    writer = open_writer(name, target)
    rgb = np.zeros((48, 64, 3), np.uint8)
    boxes = (Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0)),)
    writer.write(VideoFrame(0, 0, 0.0, rgb), FrameDetections(0, 0, 0.0, boxes))

    with pytest.raises(OutputError, match="cannot write"):
        writer.finish()

    assert list(target.folder.iterdir()) == [target.path(WRITERS[name].suffix)]


def test_a_format_that_cannot_begin_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: CsvWriter) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(CsvWriter, "begin", refuse)
    with pytest.raises(OutputError, match=r"clip\.csv: No space left"):
        open_writer("csv", target_for(tmp_path / "out", Path("clip.mov")))

    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_that_is_being_written_is_refused_and_left_to_its_writer(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))
    first = PendingFile(target, ".csv")
    first.path.write_text("mine")

    with pytest.raises(OutputError, match=r"clip\.csv: another run is writing it") as error:
        PendingFile(target, ".csv")

    assert "\n" not in str(error.value)
    assert first.commit(partial=False).read_text() == "mine"


def test_discarding_a_finished_file_leaves_the_next_run_its_temporary(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))
    first = PendingFile(target, ".csv")
    first.commit(partial=False)
    second = PendingFile(target, ".csv")

    first.discard()

    assert second.path.exists()
    second.discard()


def test_what_a_killed_run_left_does_not_block_and_is_emptied(tmp_path: Path) -> None:
    (tmp_path / ".clip.csv.part").write_text("stale")

    pending = PendingFile(target_for(tmp_path, Path("clip.mov")), ".csv")

    assert pending.commit(partial=False).read_text() == ""


def test_all_outputs_are_discarded_and_the_first_error_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = OutputSet()
    outputs.open(["csv", "json", "jsonl"], target_for(tmp_path, Path("clip.mov")))

    def refuse(writer: RowFile) -> None:
        raise OutputError(f"cannot remove {writer.suffix}")

    monkeypatch.setattr(CsvWriter, "discard", refuse)
    monkeypatch.setattr(JsonWriter, "discard", refuse)
    with pytest.raises(OutputError, match=r"cannot remove \.csv"):
        outputs.discard()
    monkeypatch.undo()

    left = sorted(path.name for path in tmp_path.iterdir())
    assert left == [".clip.csv.part", ".clip.json.part"]
    outputs.discard()


def test_a_killed_run_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", frames=3, audio=["aac"])
    folder = tmp_path / "out"
    command = [sys.executable, "-c", WRITE_FOREVER, str(source), str(folder), str(10**9), *WRITERS]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        run.send_signal(signal.SIGKILL)

    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f".{target_for(folder, source).path(WRITERS[name].suffix).name}.part" for name in WRITERS
    )


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_an_output_error_and_leaves_no_file(tmp_path: Path, name: str) -> None:
    source = write_video(tmp_path / "clip.mp4", frames=3)
    folder = tmp_path / "out"
    command = [sys.executable, "-c", WRITE_FOREVER, str(source), str(folder), "60", name]

    run = subprocess.run(
        command,
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000)),
    )

    message = run.stdout + run.stderr
    assert "OutputError" in message
    assert "clip" in message
    assert "File too large" in message
    assert not list(folder.glob("clip*"))
