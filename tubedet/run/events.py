"""What happens while videos are processed, for whoever shows it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tubedet.notes import Note
from tubedet.run.jobs import VideoJob


@dataclass(frozen=True, slots=True)
class NetworkLoaded:
    """What every result will be made with: hashes of the settings and of the checkpoint file."""

    settings_sha256: str | None
    weights_sha256: str | None


@dataclass(frozen=True, slots=True)
class VideoStarted:
    """Work on a video begins; `number` counts from 1 to `of`."""

    job: VideoJob
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class DiskNeeded:
    """The outputs will take about so many bytes, `free` are there; said if it is much or too much.

    `of_flo` are `.flo` files, beside which nothing else counts.
    """

    job: VideoJob
    needed: int
    free: int
    of_flo: bool = True


@dataclass(frozen=True, slots=True)
class FrameDone:
    """So many frames are written; `total` follows the container's word, and may be wrong.

    `job` is given where several videos are at work at once.
    """

    done: int
    total: int | None
    job: VideoJob | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class VideoDone:
    """What became of a video.

    Attributes:
        job: the video.
        outputs: files and folders, the meta's last.
        partial: the run ended early, and these are what it had.
        frames: were written.
        processed: of these went through the network, in this run or in the one that it goes on.
        found: of these have a box; None where none was looked for.
        seconds: it took.
        notes: on the source and the outputs.
    """

    job: VideoJob
    outputs: tuple[Path, ...]
    partial: bool
    frames: int
    processed: int
    found: int | None
    seconds: float
    notes: tuple[Note, ...]

    @property
    def has_loss(self) -> bool:
        """Whether something of the source is missing from the results."""
        return any(note.loss for note in self.notes)


@dataclass(frozen=True, slots=True)
class VideoSkipped:
    """Nothing was done, and why."""

    job: VideoJob
    reason: str


@dataclass(frozen=True, slots=True)
class VideoFailed:
    """The video could not be processed to its end; a `VideoDone` before says what was kept."""

    job: VideoJob
    error: Exception


Event: TypeAlias = (
    NetworkLoaded | VideoStarted | DiskNeeded | FrameDone | VideoDone | VideoSkipped | VideoFailed
)
