"""What is written of a video's optical flow, and which formats there are."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tubedet.errors import UsageError
from tubedet.video.frame import VideoFrame
from tubedet.writers.brox_images import BroxImageWriter
from tubedet.writers.flo import FloWriter
from tubedet.writers.flow_mp4 import FlowMp4Writer
from tubedet.writers.frame_files import FlowArray, FrameFilesWriter
from tubedet.writers.output_set import Outputs
from tubedet.writers.output_target import OutputTarget

FlowWriter: TypeAlias = FlowMp4Writer | FrameFilesWriter

FLOW_WRITERS: dict[str, type[FlowMp4Writer] | type[FloWriter] | type[BroxImageWriter]] = {
    "mp4": FlowMp4Writer,
    "flo": FloWriter,
    "brox": BroxImageWriter,
}


class FlowOutputs(Outputs[FlowWriter]):
    """Several writers that see the same flow."""

    def open(self, formats: Iterable[str], target: OutputTarget) -> None:
        """One writer a format.

        Raises:
            UsageError: if there is no such format.
            OutputError: if the folder cannot be written.
        """
        for name in dict.fromkeys(formats):
            self.writers.append(flow_writer_class(name)(target))

    def write(self, frame: VideoFrame, flow_uv: FlowArray) -> None:
        """Give a frame and its flow (2, H, W) to every writer; `frame.rgb` is the flow in colour.

        Colour is only looked at if `needs_pixels`.
        """
        for writer in self.writers:
            writer.write(frame, flow_uv)


def flow_writer_class(
    name: str,
) -> type[FlowMp4Writer] | type[FloWriter] | type[BroxImageWriter]:
    """The writers of a format; UsageError if there is none of that name."""
    if name not in FLOW_WRITERS:
        raise UsageError(f"unknown format '{name}': choose from {', '.join(FLOW_WRITERS)}")
    return FLOW_WRITERS[name]


def flow_output_paths(formats: Iterable[str], folder: Path, stem: str) -> list[Path]:
    """The file and the folder where outputs of these formats end."""
    paths = (flow_writer_class(name).output_path(folder, stem) for name in formats)
    return list(dict.fromkeys(paths))


def existing_flow(formats: Iterable[str], folder: Path, stem: str) -> list[Path]:
    """What is in the way of these formats, at most one path each."""
    found = (flow_writer_class(name).existing(folder, stem) for name in formats)
    return [path for path in found if path is not None]
