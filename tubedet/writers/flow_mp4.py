"""The colour-wheel video of a flow."""

from pathlib import Path
from typing import ClassVar

from tubedet.video.frame import VideoFrame
from tubedet.writers.frame_files import FlowArray
from tubedet.writers.mp4 import Mp4File


class FlowMp4Writer(Mp4File):
    """STEM.flow.mp4: the coloured flow at the source's times, with its audio."""

    suffix: ClassVar[str] = ".flow.mp4"

    @classmethod
    def output_path(cls, folder: Path, stem: str) -> Path:
        """Where the video of a stem will be."""
        return folder / f"{stem}{cls.suffix}"

    @classmethod
    def existing(cls, folder: Path, stem: str) -> Path | None:
        """The file that is in the way of a run, if there is one."""
        path = cls.output_path(folder, stem)
        return path if path.exists() else None

    def write(self, frame: VideoFrame, flow_uv: FlowArray) -> None:
        """Encode `frame.rgb`, which is the coloured flow already; errors as `add`."""
        self.add(frame)
