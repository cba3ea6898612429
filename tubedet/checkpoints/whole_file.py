"""A checkpoint appears under its name only when all of it has been written."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tubedet.errors import OutputError


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A hidden path beside `path`; what the block writes there is renamed to `path` at its end.

    Raises:
        OutputError: if it cannot be written; a previous file of that name is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: the checkpoint could not be written ({error}); make room or choose another "
            "folder, a previous file of this name is untouched"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
