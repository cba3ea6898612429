"""A video to be processed, and the names of everything that belongs to it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class VideoJob:
    """One video on its way to one folder.

    Attributes:
        source: the video file, or a folder of images.
        video: what its rows call it (`video` column): relative to the folder given, with "/".
        folder: where its outputs go.
        stem: first part of every output's name.
        place: `stem` below the folders that lead to it from the folder given; where flow images of
            this video lie below the folder of all flow images.
        shown_as: what messages call the source; empty for its path.
        is_stream: it comes as it happens: nothing of it can be read again.
    """

    source: Path
    video: str
    folder: Path
    stem: str
    place: PurePosixPath
    shown_as: str = ""
    is_stream: bool = False

    @property
    def name(self) -> str:
        """How people know the source."""
        return self.shown_as or str(self.source)
