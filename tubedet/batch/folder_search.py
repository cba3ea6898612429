"""Videos below folders, by name, and what was passed over there."""

import errno
import os
import stat
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tubedet.batch.own_results import exists, holds_flow_images, is_result
from tubedet.batch.wanted import ALL_WANTED, Wanted
from tubedet.notes import Note
from tubedet.video.file_names import are_frames, is_image_name, is_video_name

NAMED = 3  # of what is left out on purpose
NAMED_UNREADABLE = 10
TEXT_SUFFIXES = (".ts", ".mts", ".mod")  # TypeScript, Qt's translations, modules of Go and Fortran
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
CONTROL_BYTES = frozenset(range(32)) - set(b"\t\n\f\r\x1b")
LEFT_OUT = {  # kind: what to call one, and several
    "result": (
        "file left out that looks like tubedet's own result",
        "files left out that look like tubedet's own results",
    ),
    "hidden": ("hidden file or folder left out", "hidden files or folders left out"),
    "output": ("folder left out, where results go", "folders left out, where results go"),
    "searched": (
        "link left out to a folder that is searched anyway",
        "links left out to folders that are searched anyway",
    ),
    "unwanted": (
        "video or folder left out by --include and --exclude",
        "videos or folders left out by --include and --exclude",
    ),
    "dead": ("link left out that leads nowhere", "links left out that lead nowhere"),
}


class _Content(NamedTuple):
    files: list[Path]
    folders: list[Path]
    linked_folders: list[Path]


class FolderSearch:
    """Searches folders for videos, and remembers what it leaves out.

    Videos are files with one of `VIDEO_SUFFIXES`, and folders that hold frames but no such file.
    Left out are hidden ones, the output folder, text, and what `own_results` knows. A video that
    cannot be opened is one nevertheless: whoever opens it says why.

    Args:
        output: where the results go.
        wanted: which of the videos are taken; folders that are excluded are not looked into.
    """

    def __init__(self, output: Path, wanted: Wanted = ALL_WANTED) -> None:
        self._wanted = wanted
        self._output = os.path.realpath(output)
        self._left_out: dict[Path, str] = {}  # one of `LEFT_OUT`, or what it is counted as
        self._unreadable: dict[Path, str] = {}

    def videos_in(self, root: Path) -> Iterator[Path]:
        """By name within each folder; linked folders come last, and each real folder once."""
        searched: set[str] = set()
        folders, links = [root], deque[Path]()
        while folders or links:
            is_link = not folders
            folder = links.popleft() if is_link else folders.pop()
            real = os.path.realpath(folder)
            if real in searched:
                if is_link:
                    self._left_out[folder] = "searched"
                continue
            searched.add(real)
            content = self._content(folder)
            for video in self._videos_among(content.files, folder, is_named=folder == root):
                if video == root or self._wanted.takes(video.relative_to(root)):
                    yield video
                else:
                    self._left_out[video] = "unwanted"
            folders.extend(reversed(self._not_excluded(content.folders, root)))
            links.extend(self._not_excluded(content.linked_folders, root))

    def left_unwanted(self, root: Path) -> bool:
        """Whether something below a folder was left out since nobody wants it."""
        return any(
            kind == "unwanted" and path.is_relative_to(root)
            for path, kind in self._left_out.items()
        )

    def notes(self) -> list[Note]:
        """What was left out in all folders searched so far, one note for each kind."""
        notes: list[Note] = []
        for kind, (one, several) in LEFT_OUT.items():
            if paths := [
                str(path) for path, its_kind in self._left_out.items() if its_kind == kind
            ]:
                counted = f"{len(paths)} {one if len(paths) == 1 else several}"
                notes.append(Note(f"{counted}: {some_of(paths, NAMED)}"))
        others = Counter(kind for kind in self._left_out.values() if kind not in LEFT_OUT)
        if count := others.total():
            suffixes = [f"{suffix} ({number})" for suffix, number in others.most_common()]
            files = "file" if count == 1 else "files"
            notes.append(Note(f"{count} other {files} left out: {some_of(suffixes, 2 * NAMED)}"))
        if self._unreadable:
            paths = [f"{path} ({reason})" for path, reason in self._unreadable.items()]
            named = some_of(paths, NAMED_UNREADABLE)
            notes.append(Note(f"could not be read, videos may be missing: {named}", loss=True))
        return notes

    def _content(self, folder: Path) -> _Content:
        """What is in a folder, by name, without what is not to be looked at."""
        content = _Content([], [], [])
        try:
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: entry.name)
        except OSError as error:
            self._cannot_read(folder, error)
            return content
        for entry in entries:
            path, is_video = folder / entry.name, is_video_name(entry.name)
            try:
                is_folder = entry.is_dir()
            except OSError as error:  # of links alone: in circles, or to where one may not look
                if error.errno != errno.ELOOP and not is_video:
                    self._cannot_read(path, error)
                    continue
                is_folder = False
            if entry.name[0] == ".":
                if is_folder or is_video:
                    self._left_out[path] = "hidden"
            elif is_folder and os.path.realpath(path) == self._output:
                self._left_out[path] = "output"
            elif is_folder:
                (content.linked_folders if entry.is_symlink() else content.folders).append(path)
            elif entry.is_symlink() and not is_video and not exists(path):
                self._left_out[path] = "dead"
            else:
                content.files.append(path)
        return content

    def _videos_among(self, files: list[Path], folder: Path, *, is_named: bool) -> list[Path]:
        """The videos among a folder's files, or the folder itself if these are frames."""
        stems = {path.stem.casefold() for path in files if is_video_name(path.name)}
        kinds = [(path, _kind(path, stems)) for path in files]
        videos = [path for path, kind in kinds if kind == "video"]
        if not videos and are_frames(path.name for path in files):
            kinds = [(path, kind) for path, kind in kinds if not is_image_name(path.name)]
            if is_named or not holds_flow_images(folder):
                videos = [folder]
            else:
                self._left_out[folder] = "result"
        for path, kind in kinds:
            if kind != "video":
                self._left_out[path] = kind
        return videos

    def _not_excluded(self, folders: Iterable[Path], root: Path) -> list[Path]:
        excluded = [each for each in folders if self._wanted.excludes(each.relative_to(root))]
        self._left_out |= dict.fromkeys(excluded, "unwanted")
        return [each for each in folders if each not in excluded]

    def _cannot_read(self, path: Path, error: OSError) -> None:
        self._unreadable[path] = error.strerror or str(error)


def _kind(path: Path, stems: set[str]) -> str:
    """What a file is: "video", "result", or what it is counted as."""
    suffix = path.suffix.lower() or "no suffix"
    if not is_video_name(path.name):
        return suffix
    if _is_device(path):
        return f"{suffix} that is a device"
    if suffix in TEXT_SUFFIXES and _is_text(path):
        return f"{suffix} that is text"
    return "result" if is_result(path, stems) else "video"


def _is_device(path: Path) -> bool:
    """Whether opening it might wait for ever, as a pipe does."""
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False


def _is_text(path: Path) -> bool:
    """Whether a file begins as text. Packets of a video hold control bytes: 0x10..0x1F in MPEG-TS
    (their counter), 0x00 in MPEG-PS (start codes).
    """
    try:
        with path.open("rb") as file:
            beginning = file.read(4096)
    except OSError:
        return False
    return beginning.startswith(UTF_16) or (
        beginning != b"" and CONTROL_BYTES.isdisjoint(beginning)
    )


def some_of(names: Sequence[str], limit: int) -> str:
    """The first names, and how many more there are, as text that any terminal takes."""
    more = [f"… and {len(names) - limit} more"] if len(names) > limit else []
    return os.fsencode(", ".join([*names[:limit], *more])).decode("utf-8", "replace")
