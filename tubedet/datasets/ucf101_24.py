"""UCF101-24 with the corrected annotations of Singh et al. (gurkirt/corrected-UCF101-Annots).

    ROOT/annotations/pyannot.pkl       boxes of all 3,194 videos
    ROOT/annotations/testlist01.txt    names of split 1's test videos; the others are training
    ROOT/videos/<class>/<video>.avi    or .mp4, or
    ROOT/rgb-images/<class>/<video>/00001.jpg …    frames extracted from it

The annotation file is a Python 2 pickle, and a pickle can run any code: it is read by an unpickler
that knows numpy's array constructors and nothing else. Its boxes are x, y, width, height in frames
of 320x240, in types as narrow as uint8, where x + width overflows. A video of another size has
them scaled to its own.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip, AnnotatedDataset, LabelledBox
from tubedet.errors import DatasetError, EmptyPartError, VideoError
from tubedet.labels import UCF101_24
from tubedet.video.reader import VideoReader

PARTS = ("train", "test", "all")
ANNOTATED_SIZE = (320, 240)
SUFFIXES = (".avi", ".mp4")
# Asked from numpy itself: the module that they are pickled under has another name in numpy 2.
ARRAY_CONSTRUCTORS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    ("numpy.core.multiarray", "scalar"): np.uint8(0).__reduce__()[0],
}


class AnnotatedTube(NamedTuple):
    """One actor over consecutive frames from `first_frame` on: boxes (T, 4), xyxy in 320x240."""

    first_frame: int
    boxes_xyxy: NDArray[np.float64]


class VideoAnnotation(NamedTuple):
    """All actors of one video; every one does the video's action."""

    class_index: int
    frames: int
    tubes: tuple[AnnotatedTube, ...]


def load_ucf101_24(
    root: Path | str, split: int = 1, part: str = "test", *, require_videos: bool = True
) -> AnnotatedDataset:
    """Read one part of split 1; every video that is present is opened for its size.

    Args:
        root: the folder that holds annotations and videos.
        split: 1.
        part: "train", "test", or "all" for both.
        require_videos: else an absent video counts too, at the annotation's own 320x240.

    Raises:
        DatasetError: for an unknown split or part, an absent or malformed list or annotation, a
            video that can't be read, or when no listed video is present. Single absent videos are
            named in `missing_videos`.
    """
    root = Path(root)
    if split != 1 or part not in PARTS:
        raise EmptyPartError(
            f"ucf101-24: no part {part!r} of split {split}; "
            f"there is split 1 with parts {', '.join(PARTS)}"
        )
    annotations = read_annotations(root / "annotations" / "pyannot.pkl")
    clips, missing = [], []
    for video in _listed(root / "annotations" / "testlist01.txt", annotations, part):
        paths = [root / "videos" / f"{video}{suffix}" for suffix in SUFFIXES]
        paths.append(root / "rgb-images" / video)
        path = next((path for path in paths if path.exists()), None)
        if path is None and not require_videos:
            clips.append(_sized_clip(video, paths[0], annotations[video], *ANNOTATED_SIZE))
        elif path is None:
            missing.append(video)
        else:
            clips.append(_annotated_clip(video, path, annotations[video]))
    if not clips:
        raise EmptyPartError(
            f"{root}: none of the {len(missing)} videos of part {part} is there; "
            "expected videos/<class>/<video>.avi or .mp4, or rgb-images/<class>/<video>/00001.jpg"
        )
    return AnnotatedDataset("ucf101-24", split, part, UCF101_24, tuple(clips), tuple(missing))


def read_annotations(path: Path) -> dict[str, VideoAnnotation]:
    """The annotation of every video, by "<class>/<video>".

    Raises:
        DatasetError: if the file is absent, or holds anything but the published structure.
    """
    try:
        with path.open("rb") as file:
            content = _ArrayUnpickler(file, encoding="latin1").load()
        return {video: _video_annotation(values) for video, values in content.items()}
    except (OSError, EOFError, pickle.UnpicklingError, AttributeError, LookupError) as error:
        raise DatasetError(f"{path}: expected annotations of UCF101-24: {error!r}") from error
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path}: malformed annotations of UCF101-24: {error}") from error


class _ArrayUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return ARRAY_CONSTRUCTORS[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}, which no array needs"
            ) from None


def _video_annotation(values: Mapping[str, Any]) -> VideoAnnotation:
    """Plain integers and floats of one video's record."""
    tubes = []
    for tube in values["annotations"]:
        first, end = int(tube["sf"]), int(tube["ef"])
        boxes = np.asarray(tube["boxes"]).astype(np.float64).reshape(end - first, 4)
        boxes[:, 2:] += boxes[:, :2]
        tubes.append(AnnotatedTube(first, boxes))
    return VideoAnnotation(int(values["label"]), int(values["numf"]), tuple(tubes))


def _listed(path: Path, annotations: Mapping[str, VideoAnnotation], part: str) -> list[str]:
    """Names of the videos of a part, in alphabetical order."""
    try:
        test = set(path.read_text(encoding="ascii").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: the list of test videos cannot be read: {error}") from error
    if unknown := sorted(test - set(annotations)):
        raise DatasetError(f"{path}: no annotation of {unknown[0]}; {len(unknown)} such names")
    videos = set(annotations)
    return sorted({"train": videos - test, "test": test, "all": videos}[part])


def _annotated_clip(video: str, path: Path, annotation: VideoAnnotation) -> AnnotatedClip:
    try:
        with VideoReader(path) as reader:
            width, height = reader.info.width, reader.info.height
    except VideoError as error:
        raise DatasetError(f"{video}: a video of the data set is bad: {error}") from error
    return _sized_clip(video, path, annotation, width, height)


def _sized_clip(
    video: str, path: Path, annotation: VideoAnnotation, width: int, height: int
) -> AnnotatedClip:
    return AnnotatedClip(
        video=video,
        path=path,
        class_index=annotation.class_index,
        group=video.rpartition("_")[0],  # v_Biking_g05_c02: clip 2 of source 5
        width=width,
        height=height,
        boxes_by_frame=_boxes_by_frame(video, annotation, width, height),
    )


def _boxes_by_frame(
    video: str, annotation: VideoAnnotation, width: int, height: int
) -> tuple[tuple[LabelledBox, ...], ...]:
    boxes: list[list[LabelledBox]] = [[] for _ in range(annotation.frames)]
    size = np.array([width, height, width, height], dtype=np.float64)
    annotated = np.array([*ANNOTATED_SIZE] * 2, dtype=np.float64)
    for tube, (first_frame, boxes_xyxy) in enumerate(annotation.tubes):
        if not 0 <= first_frame <= annotation.frames - len(boxes_xyxy):
            raise DatasetError(f"{video}: a tube leaves its {annotation.frames} frames")
        scaled = boxes_xyxy * size / annotated
        for frame, (x1, y1, x2, y2) in enumerate(scaled.tolist(), start=first_frame):
            boxes[frame].append(LabelledBox(annotation.class_index, (x1, y1, x2, y2), tube))
    return tuple(map(tuple, boxes))
