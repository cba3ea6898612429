"""What was done to a video and with what: rows and this are enough for any other format."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields

from tubedet.detections import FrameDetections
from tubedet.writers.text_file import TextFile


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeta:
    """One run over one video.

    Detected were the frames `first_frame + i * stride` for i < `processed_frames`; a frame without
    rows among them is one where nothing was found.

    Attributes:
        video: as in the rows' `video` column.
        width: pixels after rotation, as `height`.
        rotation: clockwise degrees that were applied: 0, 90, 180, 270.
        time_base: seconds of one unit of `pts`, as a fraction "1/12800".
        fps: the source's nominal rate, as a fraction "30/1".
        frames_in_container: what the container claims, None if it says nothing.
        decoded_frames: frames that were decoded, those outside the range included.
        start: beginning of the range as the user gave it, None for the whole video; as `end`.
        first_frame: number of the first detected frame, None if there was none.
        skipped_frames: packets that could not be decoded, usually one frame each.
        repaired_timestamps: frames whose timestamp was missing or did not increase, which the MP4
            shows one nominal duration after the previous one; the rows keep the source's.
        complete: False for an interrupted run.
        settings: the options that change a result.
    """

    video: str
    width: int
    height: int
    rotation: int
    time_base: str
    fps: str
    frames_in_container: int | None
    decoded_frames: int
    start: str | None
    end: str | None
    first_frame: int | None
    stride: int
    processed_frames: int
    skipped_frames: int
    repaired_timestamps: int
    complete: bool
    source_sha256: str | None
    weights_sha256: str | None
    settings: Mapping[str, object]
    tubedet_version: str

    def to_dict(self) -> dict[str, object]:
        """The fields by name, ready for JSON as far as `settings` is."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**named, "settings": dict(self.settings)}

    def to_json(self) -> str:
        """The same as indented JSON."""
        return json.dumps(self.to_dict(), indent=2)


class RunMetaWriter(TextFile):
    """STEM.meta.json: looks at no frame and asks for the meta when it finishes."""

    suffix = ".meta.json"

    def begin(self) -> None:
        """The meta is known last."""

    def add(self, detections: FrameDetections) -> None:
        """The meta says nothing about single frames."""

    def end(self) -> None:
        """Write the meta."""
        self.text.write(self.target.run_meta().to_json() + "\n")
