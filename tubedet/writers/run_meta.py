"""What was done to a video and with what: rows and this are enough for any other format."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, slots=True, kw_only=True)
class RunMeta:
    """One run over one video.

    Processed were the frames `first_frame + i * stride` for i < `processed_frames`; a frame without
    rows among them is one where nothing was found.

    Attributes:
        video: as in the rows' `video` column.
        source: `bytes` and `modified_ns` of the source file, by which it is known again.
        width: pixels after rotation, as `height`.
        rotation: clockwise degrees that were applied: 0, 90, 180, 270.
        time_base: seconds of one unit of `pts`, as a fraction "1/12800".
        fps: the source's nominal rate, as a fraction "30/1".
        frames_in_container: what the container claims, None if it says nothing.
        decoded_frames: frames up to where the run has come, those outside the range included: they
            were decoded, or passed over on the way to the key frame before the range.
        source_start_s: time of the video's first frame on the source's own clock; `time_s` of the
            rows counts from there.
        mp4_offset_s: `time_s` + this is the time in the MP4; None without an MP4.
        start: beginning of the range as `--start` reads it, "62.5" (seconds) or "300f"; None for
            the whole video; as `end`.
        first_frame: number of the first processed frame, None if there was none.
        skipped_frames: packets that could not be decoded, usually one frame each.
        repaired_timestamps: frames whose time was missing or did not increase, and was made up.
        complete: False for a run that ended before its last frame.
        notes: what people were told of the video: `text`, and whether it is a `loss`.
        outputs: of every format the file's `name`, its `bytes`, and how many `files` if it is a
            folder; empty in the meta inside STEM.json, which is one of them.
        class_names: labels that the detector knows, in the order of its classes.
        settings: the options that change a result.
        runtime: what the result was computed on, and in what batches.
        resume: what a later run needs to go on; None in a complete run.
    """

    video: str
    source: Mapping[str, int]
    width: int
    height: int
    rotation: int
    time_base: str
    fps: str
    frames_in_container: int | None
    decoded_frames: int
    source_start_s: float
    mp4_offset_s: float | None
    start: str | None
    end: str | None
    first_frame: int | None
    stride: int
    processed_frames: int
    skipped_frames: int
    repaired_timestamps: int
    complete: bool
    notes: tuple[Mapping[str, Any], ...] = ()
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    class_names: tuple[str, ...]
    weights_sha256: str | None
    settings: Mapping[str, object]
    runtime: Mapping[str, object]
    resume: Mapping[str, Any] | None = None
    tubedet_version: str

    def to_json(self, *, indent: int | None = 2) -> str:
        """The fields by name as JSON, in ASCII; one line without indentation."""
        return json.dumps(asdict(self), indent=indent)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """The meta in a file; None where there is none, or one that tubedet did not write."""
        try:
            return cls.of(json.loads(path.read_bytes()))
        except (OSError, ValueError):
            return None

    @classmethod
    def of(cls, told: Any) -> Self | None:
        """The meta that JSON tells; None if tubedet did not write it."""
        try:
            return cls(**{each.name: told[each.name] for each in fields(cls)})
        except (KeyError, TypeError):
            return None

    def ended(self, *, complete: bool) -> Self:
        """The meta of a run that has ended so."""
        return replace(self, complete=complete, resume=None if complete else self.resume)

    def joined(self, later: Self, outputs: Mapping[str, Mapping[str, Any]]) -> Self:
        """The meta of a run whose outputs a later run has added to, of which it took the rows over.

        Args:
            later: the meta of that run.
            outputs: what it has added.
        """
        return replace(
            self,
            outputs={**self.outputs, **outputs},
            notes=(*self.notes, *(note for note in later.notes if note not in self.notes)),
            mp4_offset_s=self.mp4_offset_s if later.mp4_offset_s is None else later.mp4_offset_s,
        )

    @property
    def end_frame(self) -> int:
        """The frame behind the last one that was processed."""
        if self.first_frame is None:
            return 0
        return self.first_frame + (self.processed_frames - 1) * self.stride + 1

    @property
    def asked(self) -> dict[str, object]:
        """Source, weights and settings: runs for which they are equal have the same results."""
        return as_asked(
            source=self.source,
            weights=self.weights_sha256,
            start=self.start,
            end=self.end,
            stride=self.stride,
            settings=self.settings,
        )

    def differences(self, asked: Mapping[str, object]) -> list[str]:
        """What sets this run apart from one that is asked for, in words; nothing if it does not."""
        mine = self.asked
        return [
            f"{name} was {mine.get(name)}, is {asked.get(name)} now"
            for name in dict.fromkeys((*mine, *asked))
            if mine.get(name) != asked.get(name)
        ]


def as_asked(
    *,
    source: Mapping[str, int],
    weights: str | None,
    start: str | None,
    end: str | None,
    stride: int,
    settings: Mapping[str, object],
) -> dict[str, object]:
    """All by which runs are compared, each under the name that messages use."""
    own = {"source": dict(source), "weights": weights, "start": start, "end": end, "stride": stride}
    return {**own, **settings}
