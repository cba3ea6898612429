"""Whatever ends a run, what it has is kept, said, and nobody else's files are touched."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import (
    TellingDetector,
    WorkThatFails,
    ending,
    job_of,
    meta_of,
    names_in,
    pictures_of,
    rows_of,
    run,
    sound_of,
    telling_video,
)
from tests.small_detector import small_config
from tubedet.errors import DatasetError, OutputError, UsageError, VideoError
from tubedet.pipeline import process_video
from tubedet.run.detection import DetectionWork
from tubedet.run.events import FrameDone, VideoDone
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest
from tubedet.runtime.torch import TorchDetector
from tubedet.writers.csv import CsvWriter
from tubedet.writers.formats import WRITERS
from tubedet.writers.json import JsonWriter
from tubedet.writers.jsonl import JsonlWriter
from tubedet.writers.mp4 import Mp4Writer
from tubedet.writers.mp4_recording import Recording
from tubedet.writers.run_lock import BeingWrittenError
from tubedet.writers.segments import SegmentsWriter
from tubedet.writers.writer import FrameResult, Writer

ALL = ["mp4", "csv", "json", "jsonl", "segments", "html"]
SUFFIXES = ["csv", "html", "json", "jsonl", "mp4", "segments.csv"]
FRAMES = 10


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return telling_video(tmp_path / "clip.mp4", frames=FRAMES, audio=["aac"])


def work(detector: ScriptedDetector | None = None, plan: RunPlan | None = None) -> DetectionWork:
    return DetectionWork(detector or TellingDetector(), plan or RunPlan())


def check_partial(
    folder: Path, frames: int, suffixes: list[str] = SUFFIXES, *, stem: str = "clip.partial"
) -> None:
    """All outputs are there, whole, with so many frames; and nothing else is in the folder."""
    found = sorted(each.name for each in folder.iterdir())
    assert found == sorted(f"{stem}.{each}" for each in [*suffixes, "meta.json"])
    meta = meta_of(folder / f"{stem}.meta.json")
    assert (meta["complete"], meta["processed_frames"]) == (False, frames)
    numbers: dict[str, set[int]] = {}
    if "csv" in suffixes:
        numbers["csv"] = {int(row["frame"]) for row in rows_of(folder / f"{stem}.csv")}
    if "json" in suffixes:
        content = json.loads((folder / f"{stem}.json").read_text())
        numbers["json"] = {row["frame"] for row in content["detections"]}
        assert (content["meta"]["complete"], content["meta"]["processed_frames"]) == (False, frames)
    if "jsonl" in suffixes:
        lines = (folder / f"{stem}.jsonl").read_text().splitlines()
        numbers["jsonl"] = {json.loads(line)["frame"] for line in lines}
    assert numbers == {each: set(range(frames)) for each in numbers}, "every frame has a box"
    if "mp4" in suffixes:
        assert len(pictures_of(folder / f"{stem}.mp4")) == frames
        sound_s = sound_of(folder / f"{stem}.mp4").shape[-1] / 48_000
        assert sound_s == pytest.approx(frames / 24, abs=0.05)
    names = {each["name"] for each in meta["outputs"].values()}
    assert names == {f"{stem}.{each}" for each in suffixes}


@pytest.fixture(autouse=True)
def a_box_in_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that rows tell which frames they are of."""
    monkeypatch.setattr(TellingDetector, "decode", ScriptedDetector.decode)
    monkeypatch.setattr(TellingDetector, "predict", predict_and_record)


def predict_and_record(
    detector: TellingDetector, clip: Tensor, tasks: Any, state: Any = None
) -> Any:
    detector.looked += range(len(detector.looked), len(detector.looked) + len(clip))
    return ScriptedDetector.predict(detector, clip, tasks, state)


@pytest.mark.parametrize("after", [1, 4, 9])
def test_a_run_that_is_stopped_leaves_whole_partial_files(video: Path, after: int) -> None:
    done = run(job_of(video), work(), ALL, after=after)
    assert (done.frames, done.processed, done.found, done.partial) == (after, after, after, True)
    assert sorted(each.name for each in done.outputs) == names_in(video.parent / "out")
    assert done.outputs[-1].name == "clip.partial.meta.json"
    check_partial(video.parent / "out", after)


def test_a_stop_during_the_last_frame_leaves_a_partial_run(video: Path) -> None:
    assert run(job_of(video), work(), ["csv"], after=FRAMES).partial
    check_partial(video.parent / "out", FRAMES, ["csv"])


@pytest.mark.parametrize(
    "error",
    [
        VideoError("damaged"),
        DatasetError("no flow image"),
        UsageError("out of memory"),
        RuntimeError("a bug"),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("at", [1, 6])
def test_an_error_half_way_leaves_what_there_was_and_says_so(
    video: Path, error: Exception, at: int
) -> None:
    met, events = ending(job_of(video), WorkThatFails(error, at), ALL, type(error))
    assert met is error
    *frames, done = events
    assert frames == [FrameDone(n, FRAMES) for n in range(1, at + 1)]
    assert isinstance(done, VideoDone)
    assert (done.partial, done.frames) == (True, at)
    assert sorted(each.name for each in done.outputs) == names_in(video.parent / "out")
    check_partial(video.parent / "out", at)


@pytest.mark.parametrize("error", [RuntimeError("a bug"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("nested", [False, True])
def test_an_error_before_the_first_frame_leaves_nothing_not_even_the_folder(
    tmp_path: Path, video: Path, error: BaseException, nested: bool
) -> None:
    folder = tmp_path / "results/day 1" if nested else tmp_path / "out"
    met, events = ending(job_of(video, folder), WorkThatFails(error, 0), ALL, BaseException)
    assert (met, events) == (error, [])
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_stop_before_the_first_frame_leaves_nothing_either(tmp_path: Path, video: Path) -> None:
    done = run(job_of(video), work(), ALL, after=0)
    assert (done.frames, done.outputs, done.partial) == (0, (), True)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_folder_that_was_there_stays(tmp_path: Path, video: Path) -> None:
    (tmp_path / "out").mkdir()
    ending(job_of(video), WorkThatFails(RuntimeError("a bug"), 0), ALL, RuntimeError)
    assert (tmp_path / "out").is_dir()


def test_an_unknown_format_is_refused_and_leaves_nothing(tmp_path: Path, video: Path) -> None:
    met, _ = ending(job_of(video), work(), ["csv", "avi"], UsageError)
    assert "unknown format 'avi'" in str(met)
    assert [each.name for each in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_device_without_memory_leaves_what_was_done_before(video: Path) -> None:
    class Exhausted(nn.Module):
        """Room for four pairs, one after the other."""

        pairs = 0

        def forward(self, clip: Tensor) -> Tensor:
            self.pairs += len(clip)
            if self.pairs > 4:
                raise torch.OutOfMemoryError("tried to allocate 2.00 GiB")
            return torch.full((len(clip), 2 * (5 + 2), 2, 2), 3.0)

    network: Any = Exhausted()
    detector = TorchDetector(network, small_config(), device="cpu", precision="fp32")
    met, events = ending(
        job_of(video), DetectionWork(detector, RunPlan()), ["csv", "mp4"], UsageError
    )
    assert "out of memory with 1 pairs of 64x64 px at once; give a smaller" in str(met)
    assert isinstance(events[-1], VideoDone)
    check_partial(video.parent / "out", 4, ["csv", "mp4"])


def test_an_interrupt_inside_the_network_leaves_what_was_written_before(video: Path) -> None:
    ending(job_of(video), WorkThatFails(KeyboardInterrupt(), 4), ALL, KeyboardInterrupt)
    check_partial(video.parent / "out", 4)


def test_an_interrupt_that_was_asked_for_ends_the_run_like_a_stop(video: Path) -> None:
    """As a second signal does, while a frame takes long; whoever asked is told what there is."""
    stop = StopRequest()

    class Slow(TellingDetector):
        def predict(self, clip: Tensor, tasks: Any, state: Any = None) -> Any:
            if len(self.looked) == 4:
                assert stop.interruptible
                stop.asked = True
                raise KeyboardInterrupt
            return super().predict(clip, tasks, state)

    *_, done = process_video(job_of(video), work(Slow()), ALL, stop=stop)
    assert isinstance(done, VideoDone)
    assert (done.partial, done.frames) == (True, 4)
    check_partial(video.parent / "out", 4)


def test_nothing_is_interruptible_while_outputs_are_written(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopRequest()
    seen: list[bool] = []

    def told(method: str) -> Callable[..., Any]:
        real = getattr(CsvWriter, method)

        def watched(*arguments: Any, **options: Any) -> Any:
            seen.append(stop.interruptible)
            return real(*arguments, **options)

        return watched

    for method in ("write", "close", "rename"):
        monkeypatch.setattr(CsvWriter, method, told(method))
    for event in process_video(job_of(video), work(), ["csv"], stop=stop):
        assert not stop.interruptible, event
    # Tables are closed twice: the second time they know what the videos have noted.
    assert seen == [False] * (FRAMES + 3)


@pytest.mark.parametrize("taken", [1, 4, FRAMES])
def test_a_run_that_is_left_alone_leaves_partial_files(video: Path, taken: int) -> None:
    events = process_video(job_of(video), work(), ALL)
    for _ in range(taken):
        next(events)
    events.close()
    check_partial(video.parent / "out", taken)


def failing_once(
    monkeypatch: pytest.MonkeyPatch, owner: type, method: str, error: BaseException
) -> None:
    """The method raises when it is first called, and works afterwards."""
    real, errors = getattr(owner, method), [error]

    def fail(*arguments: Any, **options: Any) -> Any:
        if errors:
            raise errors.pop()
        return real(*arguments, **options)

    monkeypatch.setattr(owner, method, fail)


@pytest.mark.parametrize("stopped", [True, False])
def test_an_interrupt_while_the_mp4_is_completed_costs_no_row(
    video: Path, monkeypatch: pytest.MonkeyPatch, stopped: bool
) -> None:
    """Before its sound is added; once when a run is stopped, and once when it has come to its end.

    The video itself cannot be completed a second time.
    """
    failing_once(monkeypatch, Recording, "complete", KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        list(stopped_after(video, 5 if stopped else None))
    frames = 5 if stopped else FRAMES
    check_partial(video.parent / "out", frames, [each for each in SUFFIXES if each != "mp4"])
    notes = meta_of(video.parent / "out/clip.partial.meta.json")["notes"]
    assert [each["loss"] for each in notes if "mp4" in each["text"]] == [True]


def stopped_after(video: Path, frames: int | None) -> Iterator[object]:
    """A run in which nobody has asked for the interrupt that comes."""
    events = process_video(job_of(video), work(), ALL)
    for number, event in enumerate(events, start=1):
        yield event
        if number == frames:
            events.close()


@pytest.mark.parametrize("name", WRITERS["boxes"])
@pytest.mark.parametrize("step", ["write", "close", "rename"])
def test_a_failing_output_takes_no_other_with_it(
    video: Path, monkeypatch: pytest.MonkeyPatch, name: str, step: str
) -> None:
    writer = WRITERS["boxes"][name]
    fail_from(monkeypatch, writer, step, at=6)
    formats = list(dict.fromkeys((*ALL, name)))
    met, events = ending(job_of(video), work(), formats, OutputError)
    assert str(met).startswith(f"no room for {name}")
    done = events[-1]
    assert isinstance(done, VideoDone)
    assert done.partial
    folder = video.parent / "out"
    assert not [each for each in names_in(folder) if each.startswith(".")]
    left = sorted(each.name for each in folder.iterdir())
    assert sorted(each.name for each in done.outputs) == left
    suffix = writer.suffix.removeprefix(".").removeprefix("tubedet.")
    others = [each for each in SUFFIXES if each != suffix]
    if step == "write":
        if name != "mp4":  # the frames before are whole
            others.append(suffix)
        if name != "mp4":  # pictures are written first; one too many does no harm
            assert len(pictures_of(folder / "clip.partial.mp4")) in {6, 7}
            others.remove("mp4")
            (folder / "clip.partial.mp4").unlink()
            forget_mp4(folder / "clip.partial.meta.json")
        check_partial(folder, 6, sorted(others))
    elif step == "close":
        check_partial(folder, FRAMES, others)
    else:  # all others have their names already, or get them
        assert f"clip.partial.{suffix}" in left
        assert len(rows_of(folder / f"clip{'.partial' * (name == 'csv')}.csv")) == FRAMES


def forget_mp4(meta: Path) -> None:
    told = meta_of(meta)
    del told["outputs"]["mp4"]
    meta.write_text(json.dumps(told))


def fail_from(monkeypatch: pytest.MonkeyPatch, writer: type[Writer], step: str, at: int) -> None:
    """No room: for the frame with this number, at the end, or under the final name."""
    name = next(name for name, each in WRITERS["boxes"].items() if each is writer)
    real = getattr(writer, step)

    def fail(self: Writer, *arguments: Any, **options: Any) -> Any:
        is_late = step != "write" or arguments[0].frame.frame >= at
        is_final = step != "rename" or "partial" not in arguments[0].name
        if type(self) is writer and is_late and is_final:
            raise OutputError(f"no room for {name}")
        return real(self, *arguments, **options)

    monkeypatch.setattr(writer, step, fail)


@pytest.mark.parametrize("failing", [[CsvWriter, Mp4Writer], [JsonWriter, JsonlWriter]])
def test_two_failing_outputs_leave_the_others(
    video: Path, monkeypatch: pytest.MonkeyPatch, failing: list[type[Writer]]
) -> None:
    for writer in failing:
        fail_from(monkeypatch, writer, "close", 0)
    ending(job_of(video), work(), ALL, OutputError)
    gone = {writer.suffix.removeprefix(".").removeprefix("tubedet.") for writer in failing}
    check_partial(video.parent / "out", FRAMES, [each for each in SUFFIXES if each not in gone])


def test_if_no_output_can_be_kept_nothing_is_left_and_the_first_error_is_told(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for writer in (CsvWriter, SegmentsWriter):
        fail_from(monkeypatch, writer, "close", 0)
    met, events = ending(job_of(video), work(), ["csv", "segments"], OutputError)
    assert str(met) == "no room for csv"
    assert isinstance(events[-1], VideoDone)
    assert events[-1].outputs == ()
    assert not (video.parent / "out").exists()


def test_an_output_that_cannot_be_removed_does_not_hide_why_the_run_failed(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def complain(writer: Writer) -> None:
        raise OutputError("cannot remove it")

    monkeypatch.setattr(Mp4Writer, "remove", complain)
    ending(job_of(video), WorkThatFails(RuntimeError("broken"), 4), ["mp4", "csv"], RuntimeError)
    check_partial(video.parent / "out", 4, ["csv", "mp4"])


def test_a_bug_in_an_output_is_told_as_one_and_leaves_the_others(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = SegmentsWriter.write

    def fail(writer: SegmentsWriter, result: FrameResult) -> None:
        if result.frame.frame == 5:
            raise ZeroDivisionError
        write(writer, result)

    monkeypatch.setattr(SegmentsWriter, "write", fail)
    ending(job_of(video), work(), ["csv", "segments"], ZeroDivisionError)
    check_partial(video.parent / "out", 5, ["csv", "segments.csv"])


def test_a_whole_run_takes_away_what_interrupted_ones_left(video: Path) -> None:
    assert run(job_of(video), work(), ALL, after=4).partial
    assert run(job_of(video), work(), ["csv"], after=2).partial
    done = run(job_of(video), work(), ["csv"])
    assert sorted((video.parent / "out").iterdir()) == sorted(done.outputs)


def test_a_whole_run_leaves_what_a_run_with_other_settings_left(video: Path) -> None:
    run(job_of(video), work(plan=RunPlan(stride=2)), ["csv"], after=4)
    run(job_of(video), work(), ["csv"])
    assert names_in(video.parent / "out") == [
        "clip.csv",
        "clip.meta.json",
        "clip.partial.csv",
        "clip.partial.meta.json",
    ]


def test_two_runs_on_one_target_do_not_write_the_same_files(video: Path) -> None:
    first = process_video(job_of(video), work(), ["mp4", "csv"])
    next(first)
    met, events = ending(job_of(video), work(), ["json"], BeingWrittenError)
    assert "clip.meta.json: another run is writing it; wait for that run" in str(met)
    assert events == []
    *_, done = first
    assert isinstance(done, VideoDone)
    out = video.parent / "out"
    assert len(pictures_of(out / "clip.tubedet.mp4")) == len(rows_of(out / "clip.csv")) == FRAMES
    assert names_in(out) == ["clip.csv", "clip.meta.json", "clip.tubedet.mp4"]
    again = run(job_of(video), work(), ["json"])
    assert again.frames == FRAMES, "the target is free again"


@pytest.mark.parametrize("end", ["stop", "error", "close", "whole"])
def test_a_target_is_free_after_any_end(video: Path, end: str) -> None:
    if end == "error":
        ending(job_of(video), WorkThatFails(RuntimeError("x"), 4), ["csv"], RuntimeError)
    elif end == "close":
        events = process_video(job_of(video), work(), ["csv"])
        next(events)
        events.close()
    else:
        run(job_of(video), work(), ["csv"], after=3 if end == "stop" else None)
    assert not run(job_of(video), work(), ["jsonl"]).partial


USERS = ["partial.csv", "partial.mp4", "partial.json", "partial.meta.json", "partial.mkv"]


@pytest.mark.parametrize("name", USERS)
@pytest.mark.parametrize("end", ["stop", "error", "whole", "overwrite", "stop, then whole"])
def test_a_file_of_the_user_s_that_is_called_like_a_partial_one_survives_any_end(
    video: Path, name: str, end: str
) -> None:
    theirs = video.parent / "out" / f"clip.{name}"
    theirs.parent.mkdir()
    theirs.write_bytes(b"something dear")
    overwrite = end == "overwrite"
    if end == "error":
        ending(job_of(video), WorkThatFails(RuntimeError("x"), 4), ALL, RuntimeError)
    elif end != "whole":
        run(job_of(video), work(), ALL, after=4, overwrite=overwrite)
    number = "" if name == "partial.mkv" else "-2"  # nothing that tubedet writes is called so
    names = set(names_in(theirs.parent))
    if end != "whole":
        expected = {f"clip.partial{number}.{each}" for each in (*SUFFIXES, "meta.json")}
        assert names == {*expected, theirs.name}
    if end in {"whole", "overwrite", "stop, then whole"}:
        run(job_of(video), work(), ALL, overwrite=overwrite)
        assert {each for each in names_in(theirs.parent) if "partial" in each} == {theirs.name}
    assert theirs.read_bytes() == b"something dear"


def test_a_partial_result_that_the_user_edited_is_the_user_s(video: Path) -> None:
    run(job_of(video), work(), ["csv"], after=4)
    edited = video.parent / "out/clip.partial.csv"
    edited.write_text(edited.read_text() + "my notes\n")
    run(job_of(video), work(), ["csv"], after=6)
    run(job_of(video), work(), ["csv"])
    assert edited.read_text().endswith("my notes\n")
    assert names_in(video.parent / "out") == [
        "clip.csv",
        "clip.meta.json",
        "clip.partial.csv",
        "clip.partial.meta.json",
    ]


@pytest.mark.parametrize("name", ["clip.csv", "clip.tubedet.mp4"])
def test_a_file_that_appears_under_a_final_name_is_not_replaced(video: Path, name: str) -> None:
    events = process_video(job_of(video), work(), ["mp4", "csv", "jsonl"])
    next(events)
    theirs = video.parent / "out" / name
    theirs.write_bytes(b"something dear")
    with pytest.raises(OutputError, match=f"{name}: appeared while the video was processed"):
        list(events)
    assert theirs.read_bytes() == b"something dear"
    theirs.unlink()
    check_partial(video.parent / "out", FRAMES, ["csv", "jsonl", "mp4"])


def test_a_meta_that_appears_during_the_run_is_not_replaced(video: Path) -> None:
    events = process_video(job_of(video), work(), ["csv"])
    next(events)
    theirs = video.parent / "out/clip.meta.json"
    theirs.write_bytes(b"something dear")
    with pytest.raises(OutputError, match="appeared while the video was processed"):
        list(events)
    assert theirs.read_bytes() == b"something dear"


def test_a_folder_under_a_final_name_costs_that_name_alone(video: Path) -> None:
    events = process_video(job_of(video), work(), ["mp4", "csv"])
    next(events)
    (video.parent / "out/clip.csv").mkdir()
    with pytest.raises(OutputError, match=r"clip\.csv"):
        list(events)
    folder = video.parent / "out"
    (rows,) = folder.glob("clip.partial*.csv")
    assert len(rows_of(rows)) == FRAMES
    assert len(pictures_of(next(folder.glob("clip.*.mp4")))) == FRAMES


def test_a_file_that_appears_is_replaced_if_that_is_allowed(video: Path) -> None:
    events = process_video(job_of(video), work(), ["csv"], overwrite=True)
    next(events)
    (video.parent / "out/clip.csv").write_bytes(b"something old")
    list(events)
    assert len(rows_of(video.parent / "out/clip.csv")) == FRAMES


def test_a_source_that_is_gone_at_the_end_is_no_failure(video: Path) -> None:
    """It was read to its end; only its sound, which is copied later, may be missing."""
    events = process_video(job_of(video), work(), ["csv"])
    next(events)
    video.unlink()
    *_, done = events
    assert isinstance(done, VideoDone)
    assert not done.partial
    assert meta_of(video.parent / "out/clip.meta.json")["source"]["bytes"] > 0


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
@pytest.mark.parametrize("suffix", [".csv", ".json", ".jsonl", ".tubedet.mp4", ".meta.json"])
def test_what_a_link_with_a_hidden_name_leads_to_is_not_touched(video: Path, suffix: str) -> None:
    out = video.parent / "out"
    out.mkdir()
    theirs = video.parent / "theirs.txt"
    theirs.write_text("something dear")
    (out / f".{video.stem}{suffix}.part").symlink_to(theirs)
    work = DetectionWork(TellingDetector(), RunPlan())
    run(job_of(video), work, ["csv", "json", "jsonl", "mp4"])
    assert theirs.read_text() == "something dear"
    assert not any(path.is_symlink() for path in out.iterdir())
