"""Where the video is that an annotation names.

Unicode's forms make no difference, nor do capitals in a suffix: macOS decomposes the names of
files, cameras write .MP4, and annotation tools do neither.
"""

import unicodedata
from pathlib import Path, PurePosixPath

from tubedet.video.file_names import VIDEO_SUFFIXES


def same_form(name: str) -> str:
    """A name in Unicode's composed form: macOS decomposes the names of files, others don't."""
    return unicodedata.normalize("NFC", name)


def find_video(folder: Path, name: str) -> Path | None:
    """The video of this name in a folder, or the folder of its extracted frames.

    Args:
        folder: that the name counts from.
        name: with or without suffix, "/" between folders. Unicode's forms make no difference, nor
            do capitals in a suffix.
    """
    *parents, last = PurePosixPath(name).parts or ("",)
    for parent in parents:
        folder = _called(folder, parent) or folder / parent
    exact = [folder / f"{last}{suffix}" for suffix in (*VIDEO_SUFFIXES, "")]
    return next(filter(is_there, exact), None) or _called(folder, last)


def only_video(folder: Path) -> Path | None:
    """The video in a folder, if there is one and no other."""
    found = [path for path in _files(folder) if is_video_name(path) and path.is_file()]
    return found[0] if len(found) == 1 else None


def is_video_name(path: Path) -> bool:
    """Whether its suffix says that a file is a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


def without_suffix(name: str) -> str:
    """A video's name as data sets have it; of another file, or of a folder, its name."""
    path = PurePosixPath(name)
    return path.with_suffix("").as_posix() if is_video_name(Path(name)) else name


def is_there(path: Path) -> bool:
    """Whether a file or folder exists; not, if its name is none."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _called(folder: Path, name: str) -> Path | None:
    """What bears a name in a folder; the very name first, then any spelling of it."""
    if is_there(folder / name):
        return folder / name
    wanted = _spelling(Path(name))
    return next(
        (
            path
            for path in _files(folder)
            if _spelling(path) == wanted or (is_video_name(path) and same_form(path.stem) == wanted)
        ),
        None,
    )


def _spelling(path: Path) -> str:
    """The name in one Unicode form, a video's suffix in small letters."""
    suffix = path.suffix.lower() if is_video_name(path) else path.suffix
    return same_form(f"{path.stem}{suffix}")


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (OSError, ValueError):
        return []
