"""Videos and results at addresses, with the store that fsspec keeps in memory."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import rmtree
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import job_of, names_in, run
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.batch import remote_copy
from tubedet.batch.earlier_results import GO_ON
from tubedet.batch.find_videos import find_videos
from tubedet.batch.manifest import MANIFEST
from tubedet.batch.many_videos import Batch, process_videos
from tubedet.batch.remote_copy import fetched
from tubedet.batch.remote_files import (
    RemoteFile,
    RemoteFolder,
    StoppedError,
    is_address,
    is_plain,
    local_name,
    without_password,
)
from tubedet.batch.remote_videos import RemoteTree
from tubedet.cli.app import app
from tubedet.errors import OutputError
from tubedet.run.detection import DetectionWork
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.events import Event, FrameDone, VideoDone, VideoFailed, VideoSkipped
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan
from tubedet.run.stop import StopRequest

fsspec = pytest.importorskip("fsspec")

IN, OUT = "memory://films", "memory://results"
Detect = Callable[..., Any]


class Store:
    """The files of the store, as bytes by their names below a folder."""

    def __init__(self) -> None:
        self.files = fsspec.filesystem("memory")
        self.clear()

    def clear(self) -> None:
        self.files.store.clear()
        self.files.pseudo_dirs[:] = [""]

    def put(self, name: str, content: bytes) -> None:
        self.files.pipe_file(f"/{name}", content)

    def names(self, folder: str = "results") -> list[str]:
        found = self.files.find(f"/{folder}")
        return sorted(name.removeprefix(f"/{folder}/") for name in found)

    def read(self, name: str) -> bytes:
        return bytes(self.files.cat_file(f"/{name}"))

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Store]:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    store = Store()
    yield store
    store.clear()
    assert [*(tmp_path / "temporary").iterdir()] == []


@pytest.fixture
def folder(tmp_path: Path, store: Store) -> Path:
    """Three videos and other files, here and in the store."""
    (tmp_path / "films/sub").mkdir(parents=True)
    for name, frames in (("a.mp4", 3), ("b.mp4", 4), ("sub/c.mp4", 2)):
        write_video(tmp_path / "films" / name, frames=frames, width=64, height=48)
    (tmp_path / "films/notes.txt").write_text("mine")
    (tmp_path / "films/app.ts").write_text("const a = 1;\n")
    for name in names_in(tmp_path / "films"):
        store.put(f"films/{name}", (tmp_path / "films" / name).read_bytes())
    return tmp_path / "films"


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> ScriptedDetector:
    """In the network's place; its `batch_sizes` tell how many frames it has seen."""
    detector = ScriptedDetector()
    monkeypatch.setattr(pipeline, "load_detector", lambda *_, **__: detector)
    return detector


@pytest.fixture
def detect(detector: object) -> Detect:
    """Runs `tubedet detect` with CSV."""

    def run(*arguments: object, formats: str = "csv") -> Any:
        given = [*map(str, arguments), "-f", formats]
        return CliRunner().invoke(app, ["detect", *given])

    return run


def processed(
    job: VideoJob, *, plan: RunPlan | None = None, after: int = -1, stopped: bool = False
) -> list[Event]:
    """What happens to one video until a stop is asked for after so many frames, or before."""
    stop = StopRequest(asked=stopped)

    def new_work(job: VideoJob, earlier: EarlierRows | None) -> DetectionWork:
        return DetectionWork(ScriptedDetector(), plan or RunPlan(), earlier=earlier)

    batch = Batch(jobs=[job], new_work=new_work, formats=["mp4", "csv"], existing=GO_ON)
    events = []
    for event in process_videos(batch, stop):
        events.append(event)
        if isinstance(event, FrameDone) and event.done == after:
            stop.asked = True
    return events


def elsewhere(video: Path, store: Store) -> VideoJob:
    """A job whose video and results are in the store."""
    store.put(f"films/{video.name}", video.read_bytes())
    with RemoteTree() as remote:
        inputs = [Path(name) for name in remote.inputs([f"{IN}/{video.name}"])]
        found = find_videos(inputs, remote.output(OUT), suffixes=())
        return remote.located(found).jobs[0]


def statuses(store: Store) -> dict[str, str]:
    """The last of each video, as the manifest in the store has it."""
    lines = map(json.loads, store.read(f"results/{MANIFEST}").splitlines())
    return {line["video"]: line["status"] for line in lines}


def test_a_folder_elsewhere_gives_what_the_same_folder_here_gives(
    detect: Detect, folder: Path, store: Store, tmp_path: Path
) -> None:
    there = detect(IN, "-o", OUT, formats="csv,mp4,yolo")
    here = detect(folder, "-o", tmp_path / "out", formats="csv,mp4,yolo")
    assert there.exit_code == here.exit_code == 0
    assert "Results are in memory://results" in there.stdout
    assert [line.split(",")[0] for line in there.stdout.splitlines()[:3]] == [
        line.split(",")[0] for line in here.stdout.splitlines()[:3]
    ]
    assert there.stderr == here.stderr
    assert "2 other files left out: .ts that is text (1), .txt (1)" in there.stderr
    assert store.names() == names_in(tmp_path / "out")
    for name in store.names():
        if name.endswith((".csv", ".mp4", ".txt")):
            assert store.read(f"results/{name}") == (tmp_path / "out" / name).read_bytes()
        elif name.endswith(".meta.json"):
            ours = json.loads((tmp_path / "out" / name).read_text())
            theirs = store.json(f"results/{name}")
            assert theirs["source"]["bytes"] == ours["source"]["bytes"]
            assert {**theirs, "source": 0, "outputs": 0} == {**ours, "source": 0, "outputs": 0}
    first = json.loads(store.read(f"results/{MANIFEST}").splitlines()[0])
    assert first["path"] == "memory://films/a.mp4"
    assert set(statuses(store).values()) == {"done"}
    shown = CliRunner().invoke(app, ["status", OUT, "--json"])
    assert json.loads(shown.stdout)["counts"]["done"] == 3


def test_a_second_run_fetches_neither_videos_nor_results(
    detect: Detect, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect(IN, "-o", OUT, formats="csv,mp4").exit_code == 0
    before = {name: store.read(f"results/{name}") for name in store.names()}
    names_fetched: list[str] = []
    fetch = RemoteFolder.fetch

    def noted_fetch(self: RemoteFolder, names: Any, *rest: Any) -> None:
        names_fetched.extend(names)
        fetch(self, names, *rest)

    monkeypatch.setattr(RemoteFolder, "fetch", noted_fetch)
    again = detect(IN, "-o", OUT, formats="csv,mp4")
    assert again.exit_code == 0
    assert again.stdout.count("skipped: its outputs are there") == 3
    assert names_fetched == [MANIFEST]
    assert {name: store.read(f"results/{name}") for name in store.names()} == before


def test_a_second_run_does_what_is_missing_changed_or_failed_and_nothing_else(
    detect: Detect, folder: Path, store: Store, detector: ScriptedDetector
) -> None:
    store.put("films/bad.mp4", b"no video")
    failed = detect(IN, "-o", OUT)
    assert failed.exit_code == 7
    assert "tubedet: memory://films/bad.mp4: " in failed.stderr
    assert statuses(store)["bad.mp4"] == "failed"
    assert not [name for name in store.names() if name.startswith((".", "bad"))]
    longer = write_video(folder / "b.mp4", frames=7, width=64, height=48)
    store.put("films/b.mp4", longer.read_bytes())
    store.put("films/bad.mp4", longer.read_bytes())
    store.files.rm_file("/results/sub/c.csv")
    detector.batch_sizes.clear()
    assert detect(IN, "-o", OUT).exit_code == 0
    assert sum(detector.batch_sizes) == 7 + 7 + 2
    assert set(statuses(store).values()) == {"done"}
    assert "sub/c.csv" in store.names()


def test_results_come_in_an_order_that_never_lets_a_meta_tell_of_what_is_not_there(
    detect: Detect, folder: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    put, remove = RemoteFolder.put, RemoteFolder.remove

    def noted_put(self: RemoteFolder, paths: Any, names: Any) -> None:
        done.extend(names)
        put(self, paths, names)

    def noted_remove(self: RemoteFolder, names: Any) -> None:
        names = list(names)
        done.extend(f"- {name}" for name in names)
        remove(self, names)

    monkeypatch.setattr(RemoteFolder, "put", noted_put)
    monkeypatch.setattr(RemoteFolder, "remove", noted_remove)
    assert detect(f"{IN}/a.mp4", "-o", OUT, formats="mp4,csv").exit_code == 0
    assert done == [
        ".a.boxes.lock.part", ".a.meta.json.part", "a.csv", "a.tubedet.mp4", "a.meta.json",
        "- .a.meta.json.part", "- .a.boxes.lock.part",
    ]  # fmt: skip


@pytest.mark.parametrize("killed_at", ["a.csv", "a.tubedet.mp4", "a.meta.json", "- "])
@pytest.mark.parametrize("earlier", [0, 1], ids=["new", "other settings"])
def test_a_run_that_is_killed_while_it_puts_results_is_made_good_by_the_next(
    store: Store, tmp_path: Path, killed_at: str, earlier: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From some moment on nothing more comes to the store; then another machine goes on."""
    job = elsewhere(write_video(tmp_path / "a.mp4", frames=3, width=64, height=48), store)
    if earlier:
        processed(job, plan=RunPlan(max_frames=1))
    put, remove = RemoteFolder.put, RemoteFolder.remove
    dead: list[str] = []

    def dying_put(self: RemoteFolder, paths: Any, names: Any) -> None:
        dead.extend(name for name in names if name == killed_at)
        if not dead:
            put(self, paths, names)

    def dying_remove(self: RemoteFolder, names: Any) -> None:
        if not dead and killed_at != "- ":
            remove(self, names)

    with monkeypatch.context() as patch:
        patch.setattr(RemoteFolder, "put", dying_put)
        patch.setattr(RemoteFolder, "remove", dying_remove)
        processed(job)
    assert ".a.boxes.lock.part" in store.names()
    last = processed(job)[-1]
    assert isinstance(last, VideoSkipped if killed_at == "- " else VideoDone)
    run(job_of(tmp_path / "a.mp4"), DetectionWork(ScriptedDetector(), RunPlan()))
    for name in ("a.csv", "a.tubedet.mp4"):
        assert store.read(f"results/{name}") == (tmp_path / "out" / name).read_bytes()
    assert store.json("results/a.meta.json")["complete"] is True
    assert isinstance(processed(job)[-1], VideoSkipped)


def test_what_an_interrupted_run_has_is_put_and_gone_on_from(store: Store, tmp_path: Path) -> None:
    job = elsewhere(write_video(tmp_path / "a.mp4", frames=12, width=64, height=48), store)
    *_, stopped = processed(job, after=5)
    assert isinstance(stopped, VideoDone)
    assert (stopped.partial, stopped.job) == (True, job)
    assert job.output_name(stopped.outputs[0]) == f"{OUT}/a.partial.csv"
    assert store.names() == ["a.partial.csv", "a.partial.meta.json", "a.partial.mp4"]
    assert store.json("results/a.partial.meta.json")["processed_frames"] == 5
    *_, done = processed(job)
    assert isinstance(done, VideoDone)
    assert (done.partial, done.processed) == (False, 12)
    assert store.names() == ["a.csv", "a.meta.json", "a.tubedet.mp4"]
    run(job_of(tmp_path / "a.mp4"), DetectionWork(ScriptedDetector(), RunPlan()), ["csv"])
    assert store.read("results/a.csv") == (tmp_path / "out/a.csv").read_bytes()


def test_a_stop_while_a_video_is_fetched_ends_the_run_and_leaves_nothing(
    store: Store, tmp_path: Path
) -> None:
    job = elsewhere(write_video(tmp_path / "a.mp4", frames=3, width=64, height=48), store)
    with pytest.raises(StoppedError), fetched(job, "boxes", StopRequest(asked=True)):
        raise AssertionError("it was fetched")
    assert processed(job, stopped=True) == []
    assert store.names() == []


def test_results_that_cannot_be_put_are_kept_and_the_source_is_not(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = elsewhere(write_video(tmp_path / "a.mp4", frames=3, width=64, height=48), store)
    put = RemoteFolder.put

    def refusing(self: RemoteFolder, paths: Any, names: Any) -> None:
        if "a.csv" in names:
            raise OutputError("memory://results: the store has gone")
        put(self, paths, names)

    monkeypatch.setattr(RemoteFolder, "put", refusing)
    *_, failed = processed(job)
    assert isinstance(failed, VideoFailed)
    assert "the store has gone; the results are kept in " in str(failed.error)
    kept = Path(str(failed.error).rpartition(" in ")[2])
    assert names_in(kept) == ["a.csv", "a.meta.json", "a.tubedet.mp4"]
    assert not (kept.parent / "films/a.mp4").exists()
    rmtree(next((tmp_path / "temporary").iterdir()))


def test_a_video_that_finds_no_room_is_not_fetched(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = elsewhere(write_video(tmp_path / "a.mp4", frames=3, width=64, height=48), store)
    monkeypatch.setattr(remote_copy, "disk_usage", lambda _: SimpleNamespace(free=100))
    *_, failed = processed(job)
    assert isinstance(failed, VideoFailed)
    size = (tmp_path / "a.mp4").stat().st_size
    assert f"expected room for {IN}/a.mp4, {size} bytes, found 100" in str(failed.error)
    assert store.names() == []


def test_corrected_rows_are_the_user_s_and_stay(detect: Detect, folder: Path, store: Store) -> None:
    detect(f"{IN}/a.mp4", "-o", OUT)
    corrected = store.read("results/a.csv").replace(b"walk", b"run")
    store.put("results/a.csv", corrected)
    refused = detect(f"{IN}/a.mp4", "-o", OUT, "--max-frames", "1", "--skip-existing")
    assert refused.exit_code == 6
    assert "tubedet: memory://results/a.csv: exists already" in refused.stderr
    assert store.read("results/a.csv") == corrected
    assert detect(f"{IN}/a.mp4", "-o", OUT, "--overwrite").exit_code == 0
    assert store.read("results/a.csv") != corrected


def test_results_that_are_there_are_told_before_a_network_is_loaded(
    detect: Detect, folder: Path, store: Store
) -> None:
    assert detect(f"{IN}/a.mp4", "-o", OUT).exit_code == 0
    again = detect(f"{IN}/a.mp4", "-o", OUT)
    assert again.exit_code == 6
    assert "tubedet: memory://results/a.csv: exists already" in again.stderr
    gone = detect(f"{IN}/none.mp4", "-o", OUT)
    assert gone.exit_code == 3
    assert "memory://films/none.mp4: expected a video" in gone.stderr


def test_rows_of_a_video_elsewhere_go_to_stdout(detect: Detect, folder: Path) -> None:
    there = detect(f"{IN}/a.mp4", "-o", "-", formats="jsonl")
    here = detect(folder / "a.mp4", "-o", "-", formats="jsonl")
    assert there.exit_code == here.exit_code == 0
    rows = [line for line in here.stdout.splitlines() if line.startswith("{")]
    assert [line for line in there.stdout.splitlines() if line.startswith("{")] == rows
    assert len(rows) == 3


@pytest.mark.parametrize("pattern", ["", "/%03d.png"])
def test_images_elsewhere_are_a_video(
    detect: Detect, store: Store, tmp_path: Path, pattern: str
) -> None:
    for number in range(3):
        picture = np.full((48, 64, 3), 40 * number, np.uint8)
        picture[10:22, 4 * number : 4 * number + 12] = 255
        encoded = cv2.imencode(".png", picture)[1].tobytes()
        store.put(f"films/walk/{number:03d}.png", encoded)
        (tmp_path / "walk").mkdir(exist_ok=True)
        (tmp_path / f"walk/{number:03d}.png").write_bytes(encoded)
    assert detect(f"{IN}/walk{pattern}", "-o", OUT).exit_code == 0
    assert detect(f"{tmp_path}/walk{pattern}", "-o", tmp_path / "out").exit_code == 0
    (rows,) = [name for name in store.names() if name.endswith(".csv")]
    assert store.read(f"results/{rows}") == (tmp_path / "out" / rows).read_bytes()
    again = detect(f"{IN}/walk{pattern}", "-o", OUT, "--skip-existing")
    assert "skipped" in again.stdout


def test_flow_fields_are_put_and_replaced_as_a_folder(folder: Path, store: Store) -> None:
    def flow(*options: str) -> Any:
        arguments = ["flow", f"{IN}/b.mp4", "-o", OUT, "-f", "flo", "--size", "64", *options]
        return CliRunner().invoke(app, arguments)

    assert flow().exit_code == 0
    fields = [f"b/{number:06d}.flo" for number in range(4)]
    assert store.names() == ["b.flow.meta.json", *fields]
    assert "skipped" in flow("--skip-existing").stdout
    assert flow("--skip-existing", "--max-frames", "2").exit_code == 0
    assert store.names() == ["b.flow.meta.json", *fields[:2]]


def test_a_folder_of_results_in_the_folder_of_videos_is_left_out(
    detect: Detect, folder: Path, store: Store
) -> None:
    assert detect(IN, "-o", f"{IN}/out", formats="csv,mp4").exit_code == 0
    again = detect(IN, "-o", f"{IN}/out", formats="csv,mp4")
    assert "1 folder left out, where results go: memory://films/out" in again.stderr
    assert again.stdout.count("skipped") == 3


@pytest.mark.parametrize(
    ("address", "library"), [("gs://bucket/a.mp4", "gcsfs"), ("az://box/a.mp4", "adlfs")]
)
def test_a_library_that_is_absent_is_named(
    detect: Detect, address: str, library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    refused = detect(address, "-o", OUT)
    assert refused.exit_code == 2
    assert refused.stderr.startswith(f"tubedet: {address}: cannot be reached: ")
    assert library in refused.stderr


def test_an_address_of_an_unknown_kind_is_a_usage_error(detect: Detect) -> None:
    refused = detect("nowhere://bucket/a.mp4", "-o", OUT)
    assert refused.exit_code == 2
    assert "nowhere://bucket/a.mp4: no address that fsspec reads" in refused.stderr


def test_no_password_is_in_a_message(detect: Detect) -> None:
    refused = detect("ftp://ann:secret@127.0.0.1:9/a.mp4", "-o", OUT)
    assert refused.exit_code == 3
    assert "ftp://ann@127.0.0.1:9/a.mp4: " in refused.stderr
    assert "secret" not in refused.stderr + refused.stdout
    assert without_password("s3://b/a:b@c.mp4") == "s3://b/a:b@c.mp4"


def test_which_names_are_addresses_of_files_elsewhere() -> None:
    texts = ("s3://b/a.mp4", "a.mp4", "file:///a.mp4", "rtsp://cam/1", "https://x/a.mp4", "C:\\a")
    assert [is_address(text) for text in texts] == [True, *[False] * 5]
    assert not is_address("rtmps://cam/1")
    assert local_name("file:///films/a%20b.mp4") == str(Path("/films/a b.mp4"))
    assert local_name("a%20b.mp4") == "a%20b.mp4"


def test_names_that_no_file_can_have_are_left_out_and_said(
    detect: Detect, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files_below = RemoteFolder.files_below
    odd = {name: RemoteFile(1, 0) for name in ("../../evil.mp4", "x//y.mp4", "./z.mp4")}
    monkeypatch.setattr(
        RemoteFolder, "files_below", lambda self, name="": files_below(self, name) | odd
    )
    result = detect(IN, "-o", OUT)
    assert result.exit_code == 7
    assert "names that no file can have, left out: memory://films/../../evil.mp4" in result.stderr
    assert not any(map(is_plain, odd))
