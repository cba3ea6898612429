import os
from pathlib import Path

import pytest

from tubedet.errors import OutputError
from tubedet.runtime import graph_cache
from tubedet.runtime.graph_cache import KEPT, cached_graphs

pytest.importorskip("platformdirs")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path)
    return tmp_path / "graphs"


def write(folder: Path) -> None:
    (folder / "pairs.onnx").write_bytes(b"graph")


def refuse(_: Path) -> None:
    raise AssertionError("there are graphs already")


def test_graphs_are_found_again(cache: Path) -> None:
    first = cached_graphs("a" * 64, write)
    assert (first / "pairs.onnx").read_bytes() == b"graph"
    assert cached_graphs("a" * 64, refuse) == first


def test_other_weights_or_another_code_have_others(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {cached_graphs(letter * 64, write) for letter in "ab"}
    monkeypatch.setattr(graph_cache, "_hash_of_code", lambda: "c" * 64)
    found.add(cached_graphs("a" * 64, write))
    assert len(found) == 3


def test_the_hash_is_of_the_code_that_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph_cache, "PACKAGE", tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models/net.py").write_text("width = 1")
    before = graph_cache._hash_of_code()
    (tmp_path / "models/net.py").write_text("width = 2")
    assert graph_cache._hash_of_code() != before


def test_what_fails_halfway_leaves_nothing(cache: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        cached_graphs("a" * 64, fail)
    assert not list(cache.iterdir())
    assert cached_graphs("a" * 64, write).is_dir()


def test_the_oldest_make_room(cache: Path) -> None:
    names = [chr(ord("a") + n) * 64 for n in range(KEPT + 1)]
    for age, name in enumerate(names[:-1]):
        folder = cached_graphs(name, write)
        os.utime(folder, (age, age))
    cached_graphs(names[0], refuse)  # used again: the second is the oldest now
    cached_graphs(names[-1], write)
    kept = {path.name[:1] for path in cache.iterdir()}
    assert kept == {name[0] for name in names} - {"b"}


def test_where_nothing_can_be_kept_they_are_made_all_the_same(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder would be")
    found = cached_graphs("a" * 64, write)
    assert (found / "pairs.onnx").is_file()
    assert found.parent != cache


def test_where_there_is_no_room_they_are_made_all_the_same(cache: Path) -> None:
    def write_where_there_is_room(folder: Path) -> None:
        if folder.is_relative_to(cache):
            raise OutputError("pairs.onnx: cannot be written: No space left on device")
        write(folder)

    found = cached_graphs("a" * 64, write_where_there_is_room)
    assert (found / "pairs.onnx").is_file()
    assert not list(cache.iterdir())


@pytest.mark.parametrize("damage", ["cut off", "gone"])
def test_damaged_graphs_are_made_anew(cache: Path, damage: str) -> None:
    graph = cached_graphs("a" * 64, write) / "pairs.onnx"
    if damage == "gone":
        graph.unlink()
    else:
        graph.write_bytes(b"gra")
    assert cached_graphs("a" * 64, write) == graph.parent
    assert graph.read_bytes() == b"graph"
    assert len(list(cache.iterdir())) == 1


def test_what_a_killed_program_left_makes_room_after_a_day(cache: Path) -> None:
    left, at_work = cache / ".pending-killed", cache / ".pending-now"
    left.mkdir(parents=True)
    at_work.mkdir()
    os.utime(left, (0, 0))
    cached_graphs("a" * 64, write)
    assert not left.exists()
    assert at_work.exists()
