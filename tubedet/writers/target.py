"""Where the results of one video go, and what writers may know of the video."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tubedet.video.frame import VideoInfo

if TYPE_CHECKING:  # the meta is made of what the writers of a target left
    from tubedet.writers.run_meta import RunMeta


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputTarget:
    """One video on its way to one folder.

    Attributes:
        folder: made if absent.
        stem: first part of every output's name.
        source: the video file; the MP4 takes its sound from there. None for a stream, of which
            nothing can be read again.
        video: the rows' `video` column.
        info: of the source.
        run_meta: what is to be told of the run; complete once a writer is closed.
        cut_start: the run begins inside the video: the MP4 has no earlier sound.
        cut_end: the run ends inside the video: the MP4's sound ends with its last frame.
        spreadsheet_safe: text that a spreadsheet would run as a formula gets an apostrophe.
    """

    folder: Path
    stem: str
    source: Path | None
    video: str
    info: VideoInfo
    run_meta: "Callable[[], RunMeta]"
    cut_start: bool = False
    cut_end: bool = False
    spreadsheet_safe: bool = False

    def path(self, suffix: str) -> Path:
        """The finished file with this suffix, such as ".csv"; the folder STEM for ""."""
        return self.folder / f"{self.stem}{suffix}"

    def partial_path(self, suffix: str, number: int = 1) -> Path:
        """The same for a run that did not end well."""
        return partial_path(self.folder, self.stem, suffix, number)

    def hidden_path(self, suffix: str) -> Path:
        """The file while it is written, which a later run of the same target writes over."""
        return hidden_path(self.folder, self.stem, suffix)


def hidden_path(folder: Path, stem: str, suffix: str) -> Path:
    """See `OutputTarget.hidden_path`."""
    return folder.absolute() / f".{stem}{suffix}.part"


def partial_path(folder: Path, stem: str, suffix: str, number: int) -> Path:
    """STEM.partial.csv, or STEM.partial-2.csv where that is taken."""
    which = "partial" if number == 1 else f"partial-{number}"
    return folder / f"{stem}.{which}{suffix.removeprefix('.tubedet')}"
