"""Videos and results at addresses, with the store that fsspec keeps in memory."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.scripted_detector import ScriptedDetector
from tests.scripted_run import names_in
from tests.synthetic_video import write_video
from tubedet import pipeline
from tubedet.batch import remote_copy
from tubedet.batch.manifest import MANIFEST
from tubedet.batch.remote_files import RemoteFolder, is_address, is_plain, local_name
from tubedet.batch.remote_files import without_password
from tubedet.cli.app import app
from tubedet.errors import OutputError, UsageError, VideoError
from tubedet.run.events import FrameDone
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
            ours, theirs = json.loads((tmp_path / "out" / name).read_text()), store.json(
                f"results/{name}"
            )
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
    fetched: list[str] = []
    fetch = RemoteFolder.fetch
    monkeypatch.setattr(
        RemoteFolder,
        "fetch",
        lambda self, names, *rest: (fetched.extend(names), fetch(self, names, *rest)),
    )
    again = detect(IN, "-o", OUT, formats="csv,mp4")
    assert again.exit_code == 0
    assert again.stdout.count("skipped: its outputs are there") == 3
    assert fetched == [MANIFEST]
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
@pytest.mark.parametrize("earlier", [[], ["--max-frames", "1"]], ids=["new", "other settings"])
def test_a_run_that_is_killed_while_it_puts_results_is_made_good_by_the_next(
    detect: Detect,
    folder: Path,
    store: Store,
    tmp_path: Path,
    killed_at: str,
    earlier: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From some moment on nothing more comes to the store; then another machine goes on."""
    if earlier:
        detect(IN, "-o", OUT, *earlier, formats="mp4,csv")
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
        detect(IN, "-o", OUT, formats="mp4,csv")
    assert ".a.boxes.lock.part" in store.names()
    assert detect(IN, "-o", OUT, formats="mp4,csv").exit_code == 0
    assert detect(folder, "-o", tmp_path / "out", formats="mp4,csv").exit_code == 0
    assert set(statuses(store).values()) == {"done"}
    for name in names_in(tmp_path / "out"):
        if not name.endswith((".json", MANIFEST)):
            assert store.read(f"results/{name}") == (tmp_path / "out" / name).read_bytes()
