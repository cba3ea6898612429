"""Formats that are one file a frame: STEM/000000.flo and the like.

The files are written into a hidden folder and get their place together when all are there, so that
neither half a file nor half a video stands under the final name.
"""

from abc import abstractmethod
from collections.abc import Iterable
from errno import ENOTDIR
from pathlib import Path
from shutil import rmtree
from typing import ClassVar

from tubedet.writers.target import OutputTarget
from tubedet.writers.writer import FlowArray, FrameResult, Writer, output_errors


class FrameFilesWriter(Writer):
    """STEM/<number><file_suffix>, one file a frame; formats share STEM and leave each other alone.

    Attributes:
        file_suffix: of every file.
        digits: of its number, at least.
        first_number: of frame 0.
    """

    suffix: ClassVar[str] = ""
    outlives_failure: ClassVar[bool] = True
    file_suffix: ClassVar[str]
    digits: ClassVar[int]
    first_number: ClassVar[int] = 0

    def __init__(self, target: OutputTarget) -> None:
        """Make the hidden folder, empty."""
        super().__init__(target)
        final = target.path(self.suffix)
        with self.errors():
            if final.exists() and not final.is_dir():
                raise NotADirectoryError(ENOTDIR, "a file of this name is in the way of a folder")
            rmtree(self.path, ignore_errors=not self.path.exists())
            self.path.mkdir()
        self._latest = self.path / "begun"

    @abstractmethod
    def encode(self, flow_uv: FlowArray) -> bytes:
        """The content of a file: flow (2, H, W) in px."""

    def write(self, result: FrameResult) -> None:
        """Add the file of one frame, if its flow was estimated."""
        self._latest = self.path / "begun"
        if result.flow_uv is None:
            return
        name = f"{result.frame.frame + self.first_number:0{self.digits}d}{self.file_suffix}"
        begun = self.path / "begun"
        with self.errors():
            begun.write_bytes(self.encode(result.flow_uv))
            begun.replace(self.path / name)
        self._latest = self.path / name

    def take_back(self) -> None:
        """Delete the latest file."""
        with self.errors():
            self._latest.unlink(missing_ok=True)

    def close(self, *, complete: bool) -> None:
        """Nothing is left to do but to drop half a file."""
        with self.errors():
            (self.path / "begun").unlink(missing_ok=True)

    def abandon(self) -> None:
        """Nothing is open."""

    def rename(self, final: Path) -> None:
        """Put all files into the folder, in the place of an older run's."""
        with output_errors(final):
            if not final.exists():
                self.path.replace(final)  # all in one step
                return
            new = {path.name: path for path in self.files_of(self.path)}
            for name, path in sorted(new.items()):
                path.replace(final / name)
            delete(path for path in self.files_of(final) if path.name not in new)
            self.path.rmdir()

    def remove(self) -> None:
        """Remove the hidden folder."""
        with self.errors():
            rmtree(self.path, ignore_errors=not self.path.exists())

    @classmethod
    def hidden_suffixes(cls) -> tuple[str, ...]:
        """Formats that share a folder are written apart."""
        return (cls.file_suffix,)

    @classmethod
    def files_of(cls, final: Path) -> list[Path]:
        """The files of this format in a folder; none where there is no folder."""
        try:
            entries = list(final.iterdir())
        except OSError:
            return []
        return [path for path in entries if cls._is_ours(path)]

    @classmethod
    def _is_ours(cls, path: Path) -> bool:
        number = path.name.removesuffix(cls.file_suffix)
        return path.suffix == cls.file_suffix and number.isdecimal() and len(number) >= cls.digits


def delete(files: Iterable[Path]) -> None:
    """Delete files; OSError if one cannot be."""
    for path in files:
        path.unlink(missing_ok=True)
