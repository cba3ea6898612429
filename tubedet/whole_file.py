"""A file appears under its name only when all of it has been written."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tubedet.errors import OutputError


@contextmanager
def written_whole(
    path: Path,
    problem: str = "could not be written",
    remedy: str = "make room or choose another folder",
) -> Iterator[Path]:
    """A hidden path beside `path`; what the block writes there is renamed to `path` at its end.

    Args:
        path: in a folder that is there.
        problem, remedy: what the message calls a failure, and what can be done about it.

    Raises:
        OutputError: at OSError in the block or behind it; a previous file of that name is
            untouched.
    """
    pending = path.with_name(f".{path.name}.part")
    try:
        pending.unlink(missing_ok=True)  # a link would be written through
        yield pending
        pending.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: {problem} ({error}); {remedy}, a previous file of this name is untouched"
        ) from error
    finally:
        with suppress(OSError):
            pending.unlink(missing_ok=True)
