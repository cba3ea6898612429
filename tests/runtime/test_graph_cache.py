import os
from pathlib import Path

import pytest

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
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
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
