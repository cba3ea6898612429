"""What a data set is to the rest of the package: clips whose frames carry labelled boxes.

Every reader in this folder returns an `AnnotatedDataset`, so that sampling, training and evaluation
never learn where the annotations came from. Records are plain and frozen; pixels stay in the file.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from tubedet.errors import DatasetError
from tubedet.notes import Note

# What a video's length may differ by from its annotation.
MOST_FRAMES_OFF, MOST_SHARE_OFF = 2, 0.05

BoxXyxy = tuple[float, float, float, float]


class LabelledBox(NamedTuple):
    """One actor in one frame; `box_xyxy` in source pixels, half-open.

    `tube` numbers the actors of a clip: boxes of one number are one actor over time.
    """

    class_index: int
    box_xyxy: BoxXyxy
    tube: int = 0


def is_inside(box_xyxy: BoxXyxy, width: int, height: int) -> bool:
    """Whether a box has an area and lies in a frame; never, if it isn't made of numbers."""
    x1, y1, x2, y2 = box_xyxy
    return 0 <= x1 < x2 <= width and 0 <= y1 < y2 <= height


@dataclass(frozen=True, slots=True)
class AnnotatedClip:
    """One video of a data set.

    Attributes:
        video: name within the data set, without suffix, "/" between folders.
        path: the video file.
        class_index: the clip's action, by which clips are drawn; boxes carry their own.
        group: clips of one group show the same source and never lie on both sides of a division.
        width: of the frame that the boxes are measured in, in pixels.
        height: of the same frame.
        boxes_by_frame: for every frame its boxes; an empty tuple where nothing is annotated.
        examined_frames: frames that somebody looked at: those without a box are background, to be
            learned from; of all others nothing is known. None where the data set doesn't say:
            frames without a box are then not learned from, and count as empty in evaluation.

    Raises:
        DatasetError: if a box is empty or leaves the frame.
    """

    video: str
    path: Path
    class_index: int
    group: str
    width: int
    height: int
    boxes_by_frame: tuple[tuple[LabelledBox, ...], ...]
    examined_frames: frozenset[int] | None = None

    def __post_init__(self) -> None:
        for frame, boxes in enumerate(self.boxes_by_frame):
            for box in boxes:
                if not is_inside(box.box_xyxy, self.width, self.height):
                    raise DatasetError(
                        f"{self.video}: frame {frame}: expected a box inside "
                        f"{self.width}x{self.height}, found {tuple(box.box_xyxy)}"
                    )

    @property
    def frames(self) -> int:
        """Number of frames that the annotation speaks of."""
        return len(self.boxes_by_frame)

    def up_to(self, frames: int) -> "AnnotatedClip":
        """The clip without what is annotated behind so many frames."""
        if frames >= self.frames:
            return self
        return replace(self, boxes_by_frame=self.boxes_by_frame[:frames])

    def frames_by_class(self) -> dict[int, list[int]]:
        """For every class that somebody is of, the frames that show one."""
        frames: dict[int, list[int]] = {}
        for frame, boxes in enumerate(self.boxes_by_frame):
            for class_index in {box.class_index for box in boxes}:
                frames.setdefault(class_index, []).append(frame)
        return frames

    def is_known(self, frame: int) -> bool:
        """Whether it is known what a frame shows: somebody, or that nobody is there."""
        return bool(self.boxes_by_frame[frame]) or frame in (self.examined_frames or ())

    @property
    def background_frames(self) -> list[int]:
        """Frames that somebody looked at and found nobody in."""
        return [
            frame for frame in sorted(self.examined_frames or ()) if not self.boxes_by_frame[frame]
        ]


def agreed_length(clip: AnnotatedClip, found_frames: int) -> int:
    """How many frames of a clip count: those that are both annotated and in its video.

    Annotation tools and decoders differ by a frame or two at the ends of many videos; a download
    may end early. `length_note` says so to the user.

    Raises:
        DatasetError: if they differ by more than 2 frames and 5 %: the boxes are then those of
            another video, or of this one at another frame rate.
    """
    annotated = clip.frames
    if abs(annotated - found_frames) > max(MOST_FRAMES_OFF, MOST_SHARE_OFF * annotated):
        raise DatasetError(
            f"{clip.path}: expected the {annotated} frames that are annotated, found "
            f"{found_frames}; fetch the video that was annotated"
        )
    return min(annotated, found_frames)


def length_note(clip: AnnotatedClip, found_frames: int) -> Note | None:
    """What a user should know of a clip of another length than annotated."""
    if found_frames == clip.frames:
        return None
    return Note(
        f"{clip.video}: annotated are {clip.frames} frames, found {found_frames}: "
        f"the first {min(clip.frames, found_frames)} count",
        loss=True,
    )


@dataclass(frozen=True)
class AnnotatedDataset:
    """One part of one split of a data set.

    `missing_videos` were listed but are not on disk; `notes` say what else was odd about the
    annotation, each with the name of its video, and was put right or left out.
    """

    name: str
    split: int
    part: str
    class_names: tuple[str, ...]
    clips: tuple[AnnotatedClip, ...]
    missing_videos: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()

    @property
    def frames(self) -> int:
        """Number of frames of all clips."""
        return sum(clip.frames for clip in self.clips)

    @cached_property
    def sha256(self) -> str:
        """Hash over the names, labels and boxes of all clips: what a checkpoint was trained on."""
        content = [
            (
                clip.video,
                clip.class_index,
                clip.width,
                clip.height,
                [
                    [(box.class_index, box.box_xyxy) for box in boxes]
                    for boxes in clip.boxes_by_frame
                ],
            )
            for clip in self.clips
        ]
        return hashlib.sha256(json.dumps(sorted(content)).encode()).hexdigest()

    def require_every_class(self) -> None:
        """Raise DatasetError if a class has no clip: it could not be learned."""
        # Where it is known which frames show somebody, a clip of nobody is of no class.
        clips_of = Counter(clip.class_index for clip in self.clips if clip.examined_frames is None)
        clips_of.update(
            box.class_index for clip in self.clips for boxes in clip.boxes_by_frame for box in boxes
        )
        empty = [name for index, name in enumerate(self.class_names) if not clips_of[index]]
        if empty:
            raise DatasetError(
                f"{self.name}, split {self.split}, part {self.part}: no clip of {', '.join(empty)}"
            )
