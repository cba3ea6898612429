"""What all formats share: their names, and what happens where nothing can be written."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.full_disk import full_disk
from tests.output_targets import (
    finished,
    open_writer,
    plain_frame,
    result,
    target_for,
    write_until_refused,
)
from tests.synthetic_video import write_video
from tubedet.detections import Detection
from tubedet.errors import OutputError, UsageError
from tubedet.writers.formats import (
    META_SUFFIXES,
    WRITERS,
    Kind,
    choose_formats,
    output_suffixes,
    writer_class,
)
from tubedet.writers.target import partial_path
from tubedet.writers.text_file import TextFile
from tubedet.writers.writer import FrameResult

ROOT = Path(__file__).parents[2]
BOXES = WRITERS["boxes"]
TEXTS = [
    name
    for name, each in BOXES.items()
    if issubclass(each, TextFile) and name != "html"  # which is longer, and has a test of its own
]
WALK = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0))
WRITE_FOREVER = """
import sys
from itertools import count
from pathlib import Path
from tests.output_targets import plain_frame, result, target_for, write_until_refused
from tubedet.detections import Detection
from tubedet.writers.transaction import OutputTransaction

source, folder = map(Path, sys.argv[1:3])
outputs = OutputTransaction("boxes", sys.argv[3:], target_for(folder, source))
for number in count():
    box = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0), tube=number)
    outputs.write(result(plain_frame(number, 320, 240), box))
    if number == 50:
        print("running", flush=True)
"""


def test_the_final_names_are_those_that_users_are_told(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))

    names = [target.path(BOXES[name].suffix).name for name in BOXES]

    assert names == [
        "clip.tubedet.mp4",
        "clip.csv",
        "clip.json",
        "clip.jsonl",
        "clip.segments.csv",
        "clip.html",
        "clip.parquet",
        "clip.coco.json",
        "clip.cvat.xml",
        "clip.mot",
        "clip.ava",
        "clip.yolo",
        "clip.label-studio.json",
        "clip.srt",
        "clip.vtt",
    ]
    assert output_suffixes("flow", ["flo", "mp4", "brox"]) == ["", ".flow.mp4", ".flow.meta.json"]


@pytest.mark.parametrize(
    ("suffix", "number", "name"),
    [
        (".csv", 1, "a.b.partial.csv"),
        (".csv", 2, "a.b.partial-2.csv"),
        (".segments.csv", 3, "a.b.partial-3.segments.csv"),
        (".tubedet.mp4", 1, "a.b.partial.mp4"),
        (".flow.mp4", 2, "a.b.partial-2.flow.mp4"),
        (".meta.json", 1, "a.b.partial.meta.json"),
        ("", 1, "a.b.partial"),
    ],
)
def test_partial_names_are_those_that_users_are_told(
    tmp_path: Path, suffix: str, number: int, name: str
) -> None:
    assert partial_path(tmp_path, "a.b", suffix, number) == tmp_path / name


def test_only_videos_need_pixels_and_what_is_removed_is_gone(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))
    writers = {name: open_writer(name, target) for name in BOXES}

    assert [name for name, writer in writers.items() if writer.needs_picture] == ["mp4", "html"]
    for writer in writers.values():
        writer.abandon()
        writer.remove()
        writer.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "known"),
    [
        (
            "boxes",
            "mp4, csv, json, jsonl, segments, html, parquet, coco, cvat, mot, ava, yolo, "
            "label-studio, srt, vtt",
        ),
        ("flow", "mp4, flo, brox"),
    ],
)
def test_an_unknown_format_is_refused_with_the_known_ones(kind: Kind, known: str) -> None:
    with pytest.raises(UsageError, match=f"unknown format 'avi': choose from {known}"):
        writer_class(kind, "avi")


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (None, ["mp4", "csv"]),
        (["csv"], ["csv"]),
        (["CSV", "Json"], ["csv", "json"]),
        (["csv,mp4", "json,csv"], ["csv", "mp4", "json"]),
        (["csv, json,"], ["csv", "json"]),
    ],
)
def test_formats_are_named_in_any_case_one_by_one_or_with_commas(
    given: list[str] | None, chosen: list[str]
) -> None:
    assert choose_formats("boxes", given, ("mp4", "csv")) == chosen


@pytest.mark.parametrize("given", [["csv,avi"], ["flo"]])
def test_one_unknown_format_of_several_is_refused(given: list[str]) -> None:
    with pytest.raises(UsageError, match="unknown format"):
        choose_formats("boxes", given, ("mp4",))


@pytest.mark.parametrize("name", TEXTS)
def test_a_format_that_cannot_begin_leaves_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def refuse(_: TextFile) -> None:
        raise OutputError("No space left")

    monkeypatch.setattr(BOXES[name], "begin", refuse)
    with pytest.raises(OutputError, match="No space left"):
        open_writer(name, target_for(tmp_path / "out", Path("clip.mov")))

    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_killed_run_left_does_not_block_and_is_emptied(tmp_path: Path) -> None:
    target = target_for(tmp_path, Path("clip.mov"))
    (tmp_path / ".clip.jsonl.part").write_text("stale\n" * 1000)

    assert finished(open_writer("jsonl", target)).read_text() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["clip.jsonl"]


@pytest.mark.parametrize("name", TEXTS)
def test_a_frame_that_finds_the_disk_full_is_cut_off_as_a_whole(tmp_path: Path, name: str) -> None:
    """The file ends as one does that was given only the frames that had room."""
    writers = [
        open_writer(name, target_for(tmp_path / folder, Path("clip.mov")))
        for folder in ("full", "roomy")
    ]
    frames = [
        result(plain_frame(n), Detection(f"{n}" + "é" * 150, 0, 0.5, (1, 2, 3, 4), tube=0))
        for n in range(60)
    ]
    with full_disk():
        room, problem = write_until_refused(writers[0], frames)
    assert re.fullmatch(r"cannot write .*clip\..*: File too large", problem)
    assert room > 2
    assert writers[0].path.stat().st_size == 4096  # in the middle of a frame
    for frame in frames[:room]:
        writers[1].write(frame)

    cut, whole = (finished(writer).read_bytes() for writer in writers)

    assert cut == whole


def test_a_killed_run_leaves_nothing_under_a_final_name(tmp_path: Path) -> None:
    source = write_video(tmp_path / "clip.mp4", frames=3, audio=["aac"])
    folder = tmp_path / "out"
    command = [sys.executable, "-c", WRITE_FOREVER, str(source), str(folder), *BOXES]

    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "running\n"
        run.kill()

    suffixes = [*(each.suffix for each in BOXES.values()), META_SUFFIXES["boxes"], ".boxes.lock"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        f".clip{suffix}.part" for suffix in suffixes
    )


def test_a_frame_that_was_not_looked_at_adds_no_line(tmp_path: Path) -> None:
    writer = open_writer("csv", target_for(tmp_path, Path("clip.mov")))

    writer.write(result(plain_frame(0), WALK))
    writer.write(FrameResult(plain_frame(1)))

    assert len(finished(writer).read_text().splitlines()) == 2
