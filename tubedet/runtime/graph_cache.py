"""Graphs kept between starts, since making them takes as long as hundreds of frames."""

import hashlib
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from tubedet.extras import needed_for

KEPT = 8  # sets of graphs; the oldest make room
PACKAGE = Path(__file__).resolve().parents[1]


def cached_graphs(weights_sha256: str, write: Callable[[Path], object]) -> Path:
    """The folder with the graphs of some weights; they are made if this code has not yet.

    Where nothing can be kept, they are made in a temporary folder, which goes with the program.

    Args:
        weights_sha256: hash of the checkpoint file.
        write: puts the graphs into an empty folder.

    Raises:
        UsageError: if platformdirs is absent.
        Exception: whatever `write` raises.
    """
    with needed_for("ONNX graphs", "platformdirs"):
        from platformdirs import user_cache_path  # noqa: PLC0415

    folder = user_cache_path("tubedet", appauthor=False) / "graphs"
    kept = folder / f"{weights_sha256[:16]}-{_hash_of_code()[:16]}"
    if kept.is_dir():
        with suppress(OSError):
            kept.touch()  # it is in use: others are older
        return kept
    try:
        folder.mkdir(parents=True, exist_ok=True)
        pending = Path(tempfile.mkdtemp(prefix=".pending-", dir=folder))
    except OSError:
        pending = Path(tempfile.mkdtemp(prefix="tubedet-graphs-"))
        weakref.finalize(cached_graphs, shutil.rmtree, pending, ignore_errors=True)
        write(pending)
        return pending
    try:
        write(pending)
        with suppress(OSError):  # another program was quicker
            pending.rename(kept)
    finally:
        shutil.rmtree(pending, ignore_errors=True)
    _make_room(folder)
    return kept


def _make_room(folder: Path) -> None:
    with suppress(OSError):
        by_age = sorted(folder.glob("[!.]*"), key=lambda each: each.stat().st_mtime, reverse=True)
        for old in by_age[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)


def _hash_of_code() -> str:
    """Of what a network is built from and its graphs are written by."""
    files = sorted(
        path for part in ("models", "runtime") for path in PACKAGE.glob(f"{part}/**/*.py")
    )
    of_all = hashlib.sha256(torch.__version__.encode())
    for path in files:
        of_all.update(os.fsencode(path.relative_to(PACKAGE)) + path.read_bytes())
    return of_all.hexdigest()
