"""All outputs of a run as one: ended once, and none taken along by another's failure."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from tests.output_targets import (
    RUN_META,
    found,
    frames_of,
    plain_frame,
    result,
    target_for,
    write_until_refused,
)
from tests.small_disk import small_disk
from tests.synthetic_video import write_video
from tubedet.detections import Detection
from tubedet.errors import OutputError
from tubedet.notes import Note
from tubedet.writers.csv import CsvWriter
from tubedet.writers.formats import ROW_FORMATS, WRITERS, Kind
from tubedet.writers.jsonl import JsonlWriter
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.transaction import META_BYTES, OutputTransaction, clear_after_kill
from tubedet.writers.writer import FrameResult, Writer

ALL = list(WRITERS["boxes"])
WALK = Detection("walk", 0, 0.5, (1.0, 2.0, 3.0, 4.0), tube=0)
FRAMES = 5
FINAL = ["clip.ava", "clip.coco.json", "clip.csv", "clip.cvat.xml", "clip.html", "clip.json",
         "clip.jsonl", "clip.label-studio.json", "clip.meta.json", "clip.mot", "clip.parquet",
         "clip.segments.csv", "clip.srt", "clip.tubedet.mp4", "clip.vtt",
         "clip.yolo"]  # fmt: skip
PARTIAL = sorted(each.replace("clip.", "clip.partial.", 1).replace(".tubedet", "")
                 for each in FINAL)  # fmt: skip
Begin = Callable[..., OutputTransaction]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_video(tmp_path / "clip.mp4", frames=FRAMES, width=64, height=48, audio=["aac"])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def begin(source: Path, folder: Path) -> Begin:
    """Opens outputs of some formats and gives them the frames of `source`."""

    def run(
        formats: list[str], *, overwrite: bool = False, kind: Kind = "boxes", **changes: Any
    ) -> OutputTransaction:
        meta = replace(RUN_META, processed_frames=FRAMES, stride=1)
        target = target_for(folder, source, run_meta=lambda: meta, **changes)
        outputs = OutputTransaction(kind, formats, target, overwrite=overwrite)
        for frame in frames_of(source):
            flow_uv = np.ones((2, 48, 64), np.float32) if kind == "flow" else None
            outputs.write(FrameResult(frame, found(frame, [WALK]), flow_uv))
        return outputs

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def meta_of(path: Path) -> RunMeta:
    meta = RunMeta.read(path)
    assert meta is not None
    return meta


def told(path: Path) -> dict[str, str]:
    """Format and file of every output that a meta tells of, each of the size that it says."""
    outputs = meta_of(path).outputs
    for each in outputs.values():
        output = path.with_name(each["name"])
        files = [output, *output.rglob("*")]
        assert sum(file.stat().st_size for file in files if file.is_file()) == each["bytes"]
    return {name: each["name"] for name, each in outputs.items()}


def raising(error: BaseException) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def read_lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


def test_a_committed_run_has_its_final_names_and_a_meta_that_lists_them(
    begin: Begin, folder: Path
) -> None:
    outputs = begin(ALL)
    assert all(name.startswith(".clip.") for name in names(folder))

    outputs.commit()

    assert names(folder) == FINAL
    assert outputs.outputs[-1] == folder / "clip.meta.json"
    assert sorted(path.name for path in outputs.outputs) == FINAL
    assert not outputs.partial
    assert told(folder / "clip.meta.json") == {
        "mp4": "clip.tubedet.mp4",
        "csv": "clip.csv",
        "json": "clip.json",
        "jsonl": "clip.jsonl",
        "segments": "clip.segments.csv",
        "html": "clip.html",
        "parquet": "clip.parquet",
        "coco": "clip.coco.json",
        "cvat": "clip.cvat.xml",
        "mot": "clip.mot",
        "ava": "clip.ava",
        "yolo": "clip.yolo",
        "label-studio": "clip.label-studio.json",
        "srt": "clip.srt",
        "vtt": "clip.vtt",
    }
    assert meta_of(folder / "clip.meta.json").complete


def test_a_run_that_ended_early_has_partial_names_and_a_meta_that_says_so(
    begin: Begin, folder: Path
) -> None:
    outputs = begin(ALL)

    outputs.keep_partial()

    assert names(folder) == PARTIAL
    assert outputs.outputs[-1] == folder / "clip.partial.meta.json"
    assert outputs.partial
    assert set(told(folder / "clip.partial.meta.json").values()) < set(PARTIAL)
    assert not meta_of(folder / "clip.partial.meta.json").complete
    with av.open(str(folder / "clip.partial.mp4")) as movie:
        assert sum(1 for _ in movie.decode(video=0)) == FRAMES
    assert len((folder / "clip.partial.csv").read_text().splitlines()) == 1 + FRAMES


def test_a_discarded_run_leaves_nothing_not_even_the_folder_that_it_made(
    begin: Begin, folder: Path
) -> None:
    begin(ALL).discard()

    assert not folder.exists()


def test_a_folder_that_was_there_stays(begin: Begin, folder: Path) -> None:
    folder.mkdir()
    begin(ALL).discard()

    assert names(folder) == []


@pytest.mark.parametrize(
    ("ends", "left"),
    [
        (("commit", "commit", "keep_partial", "discard"), FINAL),
        (("commit", "discard", "keep_partial", "commit"), FINAL),
        (("keep_partial", "keep_partial", "commit", "discard"), PARTIAL),
        (("keep_partial", "discard", "commit"), PARTIAL),
        (("discard", "discard", "commit", "keep_partial"), []),
        (("discard", "keep_partial", "commit"), []),
    ],
)
def test_the_first_end_counts_and_all_others_change_nothing(
    begin: Begin, folder: Path, ends: tuple[str, ...], left: list[str]
) -> None:
    folder.mkdir()
    outputs = begin(ALL)
    first, *others = ends

    getattr(outputs, first)()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    state = outputs.outputs, outputs.partial, outputs.notes
    for end in others:
        getattr(outputs, end)()

    assert names(folder) == left
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == before
    assert (outputs.outputs, outputs.partial, outputs.notes) == state


@pytest.mark.parametrize("end", ["commit", "keep_partial", "discard"])
def test_an_end_that_comes_too_late_leaves_the_next_run_its_hidden_files(
    begin: Begin, folder: Path, end: str
) -> None:
    first = begin(["csv"])
    getattr(first, end)()
    second = begin(["csv"], overwrite=True)

    first.discard()
    first.keep_partial()
    first.commit()
    second.commit()

    assert len(read_lines(folder / "clip.csv")) == 1 + FRAMES
    assert not [name for name in names(folder) if name.startswith(".")]


@pytest.mark.parametrize("end", ["commit", "keep_partial"])
def test_tables_are_closed_before_videos(
    begin: Begin, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    closed: list[str] = []
    for name, writer in WRITERS["boxes"].items():
        really = writer.close

        def close(self: Writer, *, complete: bool, name: str = name, really: Any = really) -> None:
            closed.append(name)
            really(self, complete=complete)

        monkeypatch.setattr(writer, "close", close)

    getattr(begin(["mp4", *ALL]), end)()

    assert set(closed[: closed.index("mp4")]) == set(ALL) - {"mp4"}


@pytest.mark.parametrize("failing", [Mp4Writer, CsvWriter, JsonlWriter])
@pytest.mark.parametrize(
    "error",
    [OutputError("cannot write it: no room"), MemoryError("too much"), KeyboardInterrupt()],
    ids=repr,
)
def test_an_output_that_cannot_be_closed_takes_no_other_with_it(
    begin: Begin,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    failing: type[Writer],
    error: BaseException,
) -> None:
    outputs = begin(ALL)
    monkeypatch.setattr(failing, "close", raising(error))

    with pytest.raises(type(error)):
        outputs.commit()

    lost = f"clip.partial{failing.suffix.removeprefix('.tubedet')}"
    assert names(folder) == [name for name in PARTIAL if name != lost]
    assert lost not in told(folder / "clip.partial.meta.json").values()
    assert [note.loss for note in outputs.notes] == [True]
    assert "could not be kept" in outputs.notes[0].text


def test_an_output_that_cannot_be_closed_early_is_a_note_and_no_failure(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = begin(ALL)
    monkeypatch.setattr(Mp4Writer, "close", raising(OutputError("no room")))

    outputs.keep_partial()

    assert names(folder) == [name for name in PARTIAL if name != "clip.partial.mp4"]
    assert outputs.notes == [Note("mp4 could not be kept: no room", loss=True)]


@pytest.mark.parametrize("name", ALL)
def test_an_output_that_fails_at_a_frame_takes_no_other_with_it_and_keeps_the_frames_before(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Hours of rows must not be lost for the last one."""
    outputs = begin(ALL)
    with monkeypatch.context() as patch:
        patch.setattr(WRITERS["boxes"][name], "write", raising(OutputError("no room")))
        with pytest.raises(OutputError, match="no room"):
            outputs.write(result(plain_frame(FRAMES), WALK))

    outputs.keep_partial()

    lost = "clip.partial.mp4" if name == "mp4" else None  # it cannot be ended any more
    assert names(folder) == [each for each in PARTIAL if each != lost]
    assert len(read_lines(folder / "clip.partial.csv")) == 1 + FRAMES
    assert len(read_lines(folder / "clip.partial.jsonl")) == FRAMES
    assert any(note.loss and "no room" in note.text for note in outputs.notes) == bool(lost)


def test_videos_take_a_frame_before_tables_so_that_no_row_has_no_picture(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = begin(["csv", "mp4", "jsonl"])
    monkeypatch.setattr(Mp4Writer, "write", raising(OutputError("no room")))
    with pytest.raises(OutputError):
        outputs.write(result(plain_frame(FRAMES), WALK))

    outputs.keep_partial()

    assert len(read_lines(folder / "clip.partial.csv")) == 1 + FRAMES
    assert len(read_lines(folder / "clip.partial.jsonl")) == FRAMES


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_final_name_that_is_a_folder_by_then_is_left_and_the_output_kept_as_partial(
    begin: Begin, folder: Path, name: str, overwrite: bool
) -> None:
    """The others get their names where they may replace what is there."""
    outputs = begin(ALL, overwrite=overwrite)
    suffix = WRITERS["boxes"][name].suffix
    final, kept = f"clip{suffix}", f"clip.partial{suffix.removeprefix('.tubedet')}"
    (folder / final / "of the user").mkdir(parents=True)

    with pytest.raises(OutputError, match=f"{final}: .*partial") as error:
        outputs.commit()

    assert "\n" not in str(error.value)
    assert (folder / final / "of the user").is_dir()
    expected = sorted([kept, *FINAL]) if overwrite else sorted([final, *PARTIAL])
    assert names(folder) == expected
    meta = folder / ("clip.meta.json" if overwrite else "clip.partial.meta.json")
    assert outputs.outputs[-1] == meta
    assert {meta.name, *told(meta).values()} == set(expected) - {final}
    assert {path.name for path in outputs.outputs} == set(expected) - {final}


@pytest.mark.parametrize("failing", [CsvWriter, Mp4Writer])
def test_an_output_that_cannot_be_renamed_is_kept_as_partial_and_the_others_get_their_names(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch, failing: type[Writer]
) -> None:
    """As a CSV that is open in Excel, on Windows."""
    outputs = begin(ALL)
    final = folder / f"clip{failing.suffix}"
    kept = f"clip.partial{failing.suffix.removeprefix('.tubedet')}"
    really = failing.rename

    def rename(self: Writer, to: Path) -> None:
        if to == final:
            raise OutputError(f"cannot write {final}: it is open elsewhere")
        really(self, to)

    monkeypatch.setattr(failing, "rename", rename)
    with pytest.raises(OutputError, match=f"open elsewhere; it is kept as .*{kept}"):
        outputs.commit()

    assert names(folder) == sorted([kept, *(name for name in FINAL if name != final.name)])
    assert set(told(folder / "clip.meta.json").values()) == {
        path.name for path in outputs.outputs[:-1]
    }
    assert kept in told(folder / "clip.meta.json").values()


def test_an_output_that_gets_no_name_at_all_takes_no_other_with_it(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outputs = begin(ALL)
    monkeypatch.setattr(CsvWriter, "rename", raising(OutputError("cannot write it: no way")))

    with pytest.raises(OutputError, match="no way"):
        outputs.commit()

    left = [name for name in names(folder) if not name.startswith(".")]
    assert {"clip.tubedet.mp4", "clip.jsonl", "clip.meta.json"} <= set(left)
    assert "csv" not in told(folder / "clip.meta.json")


@pytest.mark.parametrize("name", ["csv", "mp4"])
def test_a_partial_name_that_cannot_be_given_takes_no_other_with_it(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    outputs = begin(["mp4", "csv", "jsonl"])
    monkeypatch.setattr(WRITERS["boxes"][name], "rename", raising(OutputError("no way")))

    outputs.keep_partial()

    others = {"csv": "clip.partial.csv", "mp4": "clip.partial.mp4", "jsonl": "clip.partial.jsonl"}
    del others[name]
    assert set(others.values()) <= set(names(folder))
    assert told(folder / "clip.partial.meta.json") == others
    assert any(note.loss and "no way" in note.text for note in outputs.notes)


def test_a_file_that_appeared_under_a_final_name_is_not_replaced_unasked(
    begin: Begin, folder: Path
) -> None:
    outputs = begin(["csv", "mp4"])
    (folder / "clip.csv").write_text("of the user")

    with pytest.raises(OutputError, match=r"clip\.csv: appeared while .* clip\.partial\.\*"):
        outputs.commit()

    assert (folder / "clip.csv").read_text() == "of the user"
    assert names(folder) == [
        "clip.csv",
        "clip.partial.csv",
        "clip.partial.meta.json",
        "clip.partial.mp4",
    ]
    assert outputs.partial


def test_it_is_replaced_if_it_may_be(begin: Begin, folder: Path) -> None:
    outputs = begin(["csv"], overwrite=True)
    (folder / "clip.csv").write_text("of an older run")

    outputs.commit()

    assert len(read_lines(folder / "clip.csv")) == 1 + FRAMES
    assert names(folder) == ["clip.csv", "clip.meta.json"]


@pytest.mark.parametrize("name", [*ALL, "meta"])
def test_a_folder_that_cannot_be_is_an_output_error_of_one_line_before_any_work(
    tmp_path: Path, source: Path, name: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    formats = [] if name == "meta" else [name]

    with pytest.raises(OutputError, match=r"cannot write .*clip\..*: ") as error:
        OutputTransaction("boxes", formats, target_for(tmp_path / "file" / "folder", source))

    assert "\n" not in str(error.value)


def test_an_output_that_cannot_begin_leaves_nothing_of_the_others(
    source: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Mp4Writer, "__init__", raising(OutputError("no encoder")))

    with pytest.raises(OutputError, match="no encoder"):
        OutputTransaction("boxes", ["csv", "mp4"], target_for(folder, source))

    assert not folder.exists()


@pytest.mark.parametrize("end", ["commit", "keep_partial", "discard"])
def test_a_hidden_file_that_cannot_be_removed_keeps_no_other_from_its_end(
    begin: Begin, folder: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    outputs = begin(["csv", "json", "jsonl"])
    monkeypatch.setattr(CsvWriter, "remove", raising(OutputError("cannot remove it")))

    getattr(outputs, end)()

    hidden = [name for name in names(folder) if name.startswith(".")]
    assert hidden == ([".clip.csv.part"] if end == "discard" else [])
    monkeypatch.undo()
    begin(["csv"]).discard()  # the lock is free


def test_the_meta_has_its_room_from_the_beginning(begin: Begin, folder: Path) -> None:
    outputs = begin(["csv"])
    assert (folder / ".clip.meta.json.part").stat().st_blocks * 512 >= META_BYTES
    outputs.commit()

    text = (folder / "clip.meta.json").read_text("utf-8")
    assert text.endswith("}\n")
    assert json.loads(text)["outputs"]["csv"]["name"] == "clip.csv"


def test_notes_of_all_outputs_are_those_of_the_run(begin: Begin) -> None:
    outputs = begin(["csv", "mp4"])
    for writer in outputs._writers.values():
        writer.notes.append(Note(f"of {writer.suffix}"))

    outputs.commit()

    assert sorted(note.text for note in outputs.notes) == ["of .csv", "of .tubedet.mp4"]


def test_the_offset_is_that_of_the_mp4_and_unknown_without_one(
    tmp_path: Path, source: Path
) -> None:
    for name, offset_s in (("csv", None), ("mp4", -2 / 24)):
        target = target_for(tmp_path / name, source, cut_start=True)
        outputs = OutputTransaction("boxes", [name], target)
        for frame in list(frames_of(source))[2:]:
            outputs.write(result(frame))
        assert outputs.mp4_offset_s == (offset_s and pytest.approx(offset_s, abs=1e-4))
        outputs.discard()


def until_full(
    source: Path, folder: Path, formats: list[str], *, noise: bool
) -> tuple[OutputTransaction, int]:
    """Frames until the disk is full, and how many of them every output has taken."""
    pixels = np.random.default_rng(0)

    def results() -> Iterator[FrameResult]:
        for number in range(2000):
            frame = plain_frame(number)
            if noise:
                frame.rgb[:] = pixels.integers(0, 255, frame.rgb.shape, np.uint8)
            yield result(frame, replace(WALK, label="walk" * 20, tube=number))

    outputs = OutputTransaction("boxes", formats, target_for(folder, source))
    frames, problem = write_until_refused(outputs, results())
    assert problem.endswith(": No space left on device")
    return outputs, frames


def frames_in_rows(path: Path) -> list[int]:
    """The frame of every row; fails if the file is not whole."""
    text = path.read_text("utf-8")
    assert text.endswith("\n")
    if path.suffix == ".csv":
        assert {line.count(",") for line in text.splitlines()} == {10}
        return [int(line.split(",")[1]) for line in text.splitlines()[1:]]
    if path.suffix == ".json":
        return [row["frame"] for row in json.loads(text)["detections"]]
    return [json.loads(line)["frame"] for line in text.splitlines()]


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_rows_survive_as_whole_lines_where_the_mp4_does_not_fit(
    tmp_path: Path, source: Path, name: str
) -> None:
    with small_disk(tmp_path / "disk", 260) as disk:
        outputs, frames = until_full(source, disk, ["mp4", name, "segments"], noise=True)
        outputs.keep_partial()

        assert frames > 5
        assert names(disk) == [
            f"clip.partial.{name}",
            "clip.partial.meta.json",
            "clip.partial.segments.csv",
        ]
        assert frames_in_rows(disk / f"clip.partial.{name}") == list(range(frames))
        assert len(read_lines(disk / "clip.partial.segments.csv")) == 1 + frames
        assert set(told(disk / "clip.partial.meta.json")) == {name, "segments"}
    assert [note.loss for note in outputs.notes] == [True]
    assert "mp4 could not be kept: cannot write" in outputs.notes[0].text


@pytest.mark.parametrize("name", ROW_FORMATS)
def test_a_table_that_alone_does_not_fit_is_cut_at_a_whole_frame(
    tmp_path: Path, source: Path, name: str
) -> None:
    with small_disk(tmp_path / "disk", 160) as disk:
        outputs, frames = until_full(source, disk, [name], noise=False)
        outputs.keep_partial()

        assert frames > 100
        assert names(disk) == sorted([f"clip.partial.{name}", "clip.partial.meta.json"])
        assert frames_in_rows(disk / f"clip.partial.{name}") == list(range(frames))
        assert list(told(disk / "clip.partial.meta.json")) == [name]


def test_flow_files_that_do_not_fit_are_kept_as_far_as_they_are_whole(
    tmp_path: Path, source: Path
) -> None:
    with small_disk(tmp_path / "disk", 260) as disk:
        outputs = OutputTransaction("flow", ["flo"], target_for(disk, source))
        flow_uv = np.ones((2, 48, 64), np.float32)  # 24.6 kB a frame
        results = (FrameResult(plain_frame(n), flow_uv=flow_uv) for n in range(100))
        frames, _ = write_until_refused(outputs, results)
        outputs.keep_partial()

        assert frames > 3
        assert names(disk) == ["clip.partial", "clip.partial.flow.meta.json"]
        files = sorted((disk / "clip.partial").iterdir())
        assert [path.name for path in files] == [f"{n:06d}.flo" for n in range(frames)]
        assert {path.stat().st_size for path in files} == {12 + 8 * 48 * 64}


def test_a_disk_that_is_full_from_the_beginning_is_left_as_it_was(
    tmp_path: Path, source: Path
) -> None:
    with small_disk(tmp_path / "disk", 12) as disk:
        with pytest.raises(OutputError, match=r"clip\.meta\.json: No space left"):
            OutputTransaction("boxes", ["csv"], target_for(disk / "out", source))
        assert names(disk) == []


# What a killed run has left

KILLED_WHILE_NAMES_ARE_GIVEN = """
import os, sys
from pathlib import Path
from tests.output_targets import frames_of, result, target_for
from tubedet.writers.csv import CsvWriter
from tubedet.writers.transaction import OutputTransaction

source, folder, kind, ending, renamed = sys.argv[1:]
def killed(*_):
    os._exit(9)

OutputTransaction._write_meta = killed
if renamed == "csv":  # all other names are missing
    rename = CsvWriter.rename
    CsvWriter.rename = lambda writer, final: (rename(writer, final), killed())
formats = ["mp4", "csv", "json"] if kind == "boxes" else ["mp4", "flo"]
outputs = OutputTransaction(kind, formats, target_for(Path(folder), Path(source)), overwrite=True)
for frame in frames_of(Path(source)):
    if kind == "flow":
        import numpy as np
        from tubedet.writers.writer import FrameResult
        outputs.write(FrameResult(frame, None, np.ones((2, 48, 64), np.float32)))
    else:
        outputs.write(result(frame))
getattr(outputs, ending)()
"""


@pytest.mark.parametrize("renamed", ["csv", "all"])
@pytest.mark.parametrize("ending", ["commit", "keep_partial"])
@pytest.mark.parametrize("kind", ["boxes", "flow"])
def test_what_was_named_but_not_told_of_when_a_run_was_killed_is_cleared(
    source: Path, folder: Path, kind: Kind, ending: str, renamed: str
) -> None:
    """Otherwise they would pass for the user's own, and be in the way for ever."""
    folder.mkdir()
    theirs = {"clip.txt": b"dear", ".clip2.csv.part": b"another run's", "clip2.csv": b"dear"}
    for name, data in theirs.items():
        (folder / name).write_bytes(data)
    command = [sys.executable, "-c", KILLED_WHILE_NAMES_ARE_GIVEN]
    killed = subprocess.run(
        [*command, str(source), str(folder), kind, ending, renamed],
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert killed.returncode == 9
    left = set(names(folder)) - set(theirs)
    assert any(not name.startswith(".") for name in left), "some have their names"
    clear_after_kill(kind, folder, "clip")
    assert {name: (folder / name).read_bytes() for name in names(folder)} == theirs


def test_nothing_is_cleared_while_a_run_is_at_work(begin: Begin, folder: Path) -> None:
    outputs = begin(["csv"])
    before = names(folder)
    clear_after_kill("boxes", folder, "clip")
    assert names(folder) == before
    outputs.commit()
    clear_after_kill("boxes", folder, "clip")
    assert names(folder) == ["clip.csv", "clip.meta.json"]
