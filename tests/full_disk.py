"""A disk that is full for a moment."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ROOM_BYTES = 4096


@contextmanager
def full_disk(room_bytes: int = ROOM_BYTES) -> Iterator[None]:
    """Let every file of this process end at 4 kB, or where it is told, inside the block alone.

    A fixture would last too long: the test runner's own log may be such a file. Skips the test on a
    system that cannot limit files.
    """
    resource = pytest.importorskip("resource", reason="no limit for files here")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
