"""Graphs kept between starts, since making them takes as long as hundreds of frames."""

import hashlib
import json
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from tubedet.errors import OutputError
from tubedet.extras import needed_for

KEPT = 8  # sets of graphs; the oldest make room
HASHES = "sha256.json"  # of the files of a set, by name
PENDING = ".pending-"
LONGEST_S = 24 * 3600  # that nobody takes to make a set
PACKAGE = Path(__file__).resolve().parents[1]


def cached_graphs(weights_sha256: str, write: Callable[[Path], object]) -> Path:
    """The folder with the graphs of some weights; they are made if this code has not yet.

    They are made anew where a file is not as it was written. Where nothing can be kept, they are
    made in a temporary folder, which goes with the program.

    Args:
        weights_sha256: hash of the checkpoint file.
        write: puts the graphs into an empty folder.

    Raises:
        UsageError: if platformdirs is absent.
        OutputError: if there is no room in the temporary folder either.
        Exception: whatever `write` raises besides.
    """
    with needed_for("ONNX graphs", "platformdirs"):
        from platformdirs import user_cache_path  # noqa: PLC0415

    folder = user_cache_path("tubedet", appauthor=False) / "graphs"
    kept = folder / f"{weights_sha256[:16]}-{_hash_of_code()[:16]}"
    if _is_whole(kept):
        with suppress(OSError):
            kept.touch()  # it is in use: others are older
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _fill(folder, kept, write)
        _make_room(folder)
    except (OSError, OutputError):
        passing = Path(tempfile.mkdtemp(prefix="tubedet-graphs-"))
        weakref.finalize(cached_graphs, shutil.rmtree, passing, ignore_errors=True)
        write(passing)
        return passing
    return kept


def _fill(folder: Path, kept: Path, write: Callable[[Path], object]) -> None:
    """Make graphs aside, so that no other program meets half of them."""
    pending = Path(tempfile.mkdtemp(prefix=PENDING, dir=folder))
    try:
        write(pending)
        hashes = {path.name: _hash_of(path) for path in pending.iterdir()}
        (pending / HASHES).write_text(json.dumps(hashes), encoding="ascii")
        if not _is_whole(kept):
            shutil.rmtree(kept, ignore_errors=True)
        with suppress(OSError):  # another program was quicker
            pending.rename(kept)
    finally:
        shutil.rmtree(pending, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    """Whether every graph is there as it was written."""
    try:
        hashes = json.loads((folder / HASHES).read_text(encoding="ascii"))
        return all(_hash_of(folder / name) == each for name, each in hashes.items())
    except (OSError, ValueError):
        return False


def _make_room(folder: Path) -> None:
    """Remove the oldest sets, and what programs that were killed have left of theirs."""
    with suppress(OSError):
        by_age = sorted(folder.glob("[!.]*"), key=lambda each: each.stat().st_mtime, reverse=True)
        left = [
            each
            for each in folder.glob(f"{PENDING}*")
            if time.time() - each.stat().st_mtime > LONGEST_S
        ]
        for old in [*by_age[KEPT:], *left]:
            shutil.rmtree(old, ignore_errors=True)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hash_of_code() -> str:
    """Of what a network is built from and its graphs are written by."""
    parts = ("models", "runtime")
    files = sorted(path for part in parts for path in PACKAGE.glob(f"{part}/**/*.py"))
    of_all = hashlib.sha256(torch.__version__.encode())
    for path in files:
        of_all.update(os.fsencode(path.relative_to(PACKAGE)) + path.read_bytes())
    return of_all.hexdigest()
