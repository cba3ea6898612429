"""A video to be processed, and the names of everything that belongs to it."""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath


@dataclass(frozen=True, slots=True)
class RemotePlaces:
    """Where a video or its results are, if not among the files of this machine.

    Attributes:
        source: address of the video, or of the folder or pattern of its images; "" if it is here.
        folder: address of the folder of results; "" if it is here.
        source_bytes: by which, with `modified_ns`, the source is known again.
        of_images: the source is a folder or a pattern of images.
    """

    source: str = ""
    folder: str = ""
    source_bytes: int = 0
    modified_ns: int = 0
    of_images: bool = False


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
        shown_folder: what messages call `folder`; empty for its path.
        remote: where the source or the results are, if not here; the paths only name them then.
    """

    source: Path
    video: str
    folder: Path
    stem: str
    place: PurePosixPath
    shown_as: str = ""
    is_stream: bool = False
    shown_folder: str = ""
    remote: RemotePlaces | None = None

    @property
    def name(self) -> str:
        """How people know the source."""
        return self.shown_as or str(self.source)

    def output_name(self, output: Path) -> str:
        """How people know an output, which lies in `folder`."""
        return f"{self.shown_folder}/{output.name}" if self.shown_folder else str(output)
