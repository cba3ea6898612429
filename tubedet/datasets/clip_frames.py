"""Frames of annotated clips at random access: videos are decoded once, images read when asked for.

Decoded frames lie in files that all processes of this machine map: 230 kB for one of 320x240, so
5.2 GB for the 660 training clips of J-HMDB-21 and 91 GB for UCF101-24. In memory every worker would
hold its own copy. A folder keeps them for later runs; without one they go when the run ends.
"""

import hashlib
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip, agreed_length, length_note
from tubedet.errors import DatasetError, OutputError, VideoError
from tubedet.notes import Note
from tubedet.video.container import images_of
from tubedet.video.reader import VideoReader


class ClipFrames:
    """Frames of clips; picklable, so that worker processes share the decoded ones.

    Args:
        folder: keeps decoded frames between runs, and several runs may share it; None: a temporary
            folder (see TMPDIR), removed with this object.

    Attributes:
        notes: the clips met so far that are not as long as annotated.
    """

    def __init__(self, folder: Path | str | None = None) -> None:
        self.notes: list[Note] = []
        self._mapped: dict[Path, NDArray[np.uint8]] = {}
        self._images: dict[Path, list[Path]] = {}
        self._rates: dict[Path, float] = {}
        if folder is None:
            folder = tempfile.mkdtemp(prefix="tubedet-frames-")
            weakref.finalize(self, _remove, folder, self._mapped)
        self._folder = Path(folder)

    def __getstate__(self) -> dict[str, Any]:
        """Without open files; a temporary folder stays this object's."""
        return {**vars(self), "_mapped": {}, "_images": {}}

    def length(self, clip: AnnotatedClip) -> int:
        """How many frames of a clip can be asked for, see `agreed_length`.

        Raises:
            DatasetError: if the clip is unreadable, or of another length than annotated.
            OutputError: if the folder cannot take the decoded frames.
        """
        found = len(self._images_of(clip) or self._decoded(clip))
        note = length_note(clip, found)
        if note and note not in self.notes:
            self.notes.append(note)
        return agreed_length(clip, found)

    def rate(self, clip: AnnotatedClip) -> float:
        """Nominal frames a second of a clip's file; DatasetError if it is unreadable."""
        if clip.path not in self._rates:
            try:
                with VideoReader(clip.path) as reader:
                    self._rates[clip.path] = float(reader.info.fps)
            except VideoError as error:
                raise _bad(clip.path, error) from error
        return self._rates[clip.path]

    def of(self, clip: AnnotatedClip) -> NDArray[np.uint8]:
        """All frames of a clip, (T, H, W, 3) RGB; raises as `length` does."""
        return self.window(clip, range(self.length(clip)))

    def window(self, clip: AnnotatedClip, frames: range) -> NDArray[np.uint8]:
        """Consecutive frames of a clip, (T, H, W, 3) RGB; raises as `length` does.

        Of a clip of images only these are read.
        """
        if images := self._images_of(clip):
            return np.stack([_read(clip, image)[0] for image in images[frames.start : frames.stop]])
        return self._decoded(clip)[frames.start : frames.stop]

    def _images_of(self, clip: AnnotatedClip) -> list[Path]:
        if clip.path not in self._images:
            self._images[clip.path] = images_of(clip.path)
        return self._images[clip.path]

    def _decoded(self, clip: AnnotatedClip) -> NDArray[np.uint8]:
        if clip.path not in self._mapped:
            path = self._folder / f"{fingerprint(clip.path)}.npy"
            try:
                frames = _whole_frames(path)
                if frames is None:
                    self._folder.mkdir(parents=True, exist_ok=True)
                    _write_whole(path, _read(clip))
                    frames = np.load(path, mmap_mode="r")
                self._mapped[clip.path] = frames
            except OSError as error:
                raise OutputError(
                    f"{path}: cannot keep the decoded frames: {error}; give a folder that can"
                ) from error
            _require_size(self._mapped[clip.path], clip, clip.path)
        return self._mapped[clip.path]


def decode_clip(clip: AnnotatedClip) -> NDArray[np.uint8]:
    """All frames of a clip that count, (T, H, W, 3) RGB, in memory: for those who ask once.

    Raises:
        DatasetError: if it is unreadable, or of another length or size than annotated.
    """
    frames = _read(clip)
    return frames[: agreed_length(clip, len(frames))]


def _read(clip: AnnotatedClip, image: Path | None = None) -> NDArray[np.uint8]:
    """All frames of a clip, or one of its images."""
    path = image or clip.path
    try:
        with VideoReader(path) as reader:
            frames = np.stack([frame.rgb for frame in reader.frames()])
    except VideoError as error:
        raise _bad(path, error) from error
    _require_size(frames, clip, path)
    return frames


def _bad(path: Path, error: VideoError) -> DatasetError:
    return DatasetError(f"{path}: a clip of the data set is bad: {error}")


def _require_size(frames: NDArray[np.uint8], clip: AnnotatedClip, path: Path) -> None:
    height, width = frames.shape[1:3]
    if (width, height) != (clip.width, clip.height):
        raise DatasetError(
            f"{path}: annotated are frames of {clip.width}x{clip.height}, found {width}x{height}"
        )


def fingerprint(path: Path) -> str:
    """Changes when the clip is replaced, without reading it."""
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: a clip of the data set is gone: {error}") from error
    identity = f"{path.resolve()}|{status.st_size}|{status.st_mtime_ns}"
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def _whole_frames(path: Path) -> NDArray[np.uint8] | None:
    """Stored frames; None if there are none, or the file is damaged."""
    if not path.exists():
        return None
    try:
        frames: NDArray[np.uint8] = np.load(path, mmap_mode="r")
    except (ValueError, EOFError):
        return None
    is_video = frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3
    return frames if is_video else None


def _remove(folder: str, mapped: dict[Path, NDArray[np.uint8]]) -> None:
    mapped.clear()  # Windows removes no mapped file
    shutil.rmtree(folder, ignore_errors=True)


def _write_whole(path: Path, frames: NDArray[np.uint8]) -> None:
    """Write beside the final name and rename, so that no other process maps half a file."""
    part = path.with_name(f".{path.stem}-{uuid4().hex}.part")
    try:
        with part.open("wb") as file:
            np.save(file, frames)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
