"""Footage in which nobody acts, to count false alarms on.

From annotated clips: windows that no actor and no bystander enters in any frame, standing still or
gliding. Made here: noise, titles, and fades between drawn scenes. What a person detector missed
(see `ignore_regions`) may still be in a window.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import AnnotatedClip
from tubedet.datasets.clip_frames import decode_clip
from tubedet.datasets.ignore_regions import IgnoreRegions
from tubedet.datasets.procedural_flow import procedural_sample
from tubedet.video.reader import VideoReader

MARGIN_PX = 8  # kept from every person: masks and boxes end before hair, shadows and tools do
# Sides of a window as shares of the frame's, the largest that fits is taken.
WINDOW_SHARES = (0.8, 0.7, 0.6, 0.5, 0.4, 0.3)
LEAST_GLIDE = 0.1  # of the frame's shorter side; a shorter way is no pan
MADE_WIDTH, MADE_HEIGHT = 320, 240
SCENE_FRAMES = 60  # from one drawn scene to the next

Frames = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""


MADE_FOOTAGE = ("noise", "titles", "fades between drawn scenes")


class Shot(NamedTuple):
    """Consecutive pictures (H, W, 3) RGB, without a cut, and what kind of footage they are of."""

    footage: str
    frames_rgb: Iterable[NDArray[np.uint8]]


def actor_free_shots(
    clips: Iterable[AnnotatedClip],
    regions: IgnoreRegions,
    videos: Iterable[Path],
    made_frames: int,
) -> Iterator[Shot]:
    """All footage there is, shot by shot; each is read while the next has not been asked for.

    Args:
        clips: annotated ones, seen through windows that nobody enters.
        regions: their bystanders.
        videos: files that show nobody.
        made_frames: of each kind that is made here.

    Raises:
        DatasetError: for a clip that can't be read.
        VideoError: for a video that can't be read.
    """
    for clip in clips:
        frames = decode_clip(clip)
        for footage, view in (("still windows", still_view), ("gliding windows", gliding_view)):
            seen = view(clip, frames, regions)
            if seen is not None:
                yield Shot(footage, seen)
    for video in videos:
        with VideoReader(video) as reader:
            yield Shot(video.name, (frame.rgb for frame in reader.frames()))
    for footage, made in zip(MADE_FOOTAGE, (noise, titles, fades), strict=True):
        yield Shot(footage, made(made_frames))


def still_view(clip: AnnotatedClip, frames: Frames, regions: IgnoreRegions) -> Frames | None:
    """The clip seen through its largest person-free window, (T, h, w, 3); None if it has none."""
    occupied = _occupied(clip, regions)
    for height, width in _window_sizes(clip):
        places = np.argwhere(_free_places(occupied, height, width))
        if len(places):
            y, x = places[len(places) // 2]
            return frames[:, y : y + height, x : x + width]
    return None


def gliding_view(clip: AnnotatedClip, frames: Frames, regions: IgnoreRegions) -> Frames | None:
    """The clip through a person-free window that moves evenly along a row or a column of pixels.

    (T, h, w, 3) of the largest window that has a way of `LEAST_GLIDE`; None if none has.
    """
    occupied = _occupied(clip, regions)
    for height, width in _window_sizes(clip):
        free = _free_places(occupied, height, width)
        (row, across), (column, along) = _longest_run(free), _longest_run(free.T)
        rows, columns = (row, across) if len(across) >= len(along) else (along, column)
        if max(len(rows), len(columns)) >= LEAST_GLIDE * min(clip.width, clip.height):
            share = np.arange(len(frames)) / max(1, len(frames) - 1)
            ys = rows.start + np.rint(share * (len(rows) - 1)).astype(int)
            xs = columns.start + np.rint(share * (len(columns) - 1)).astype(int)
            placed = zip(frames, ys, xs, strict=True)
            return np.stack([frame[y : y + height, x : x + width] for frame, y, x in placed])
    return None


def noise(frames: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Static: grains of 1 to 32 px, new in every frame, around a brightness that drifts."""
    rng = np.random.default_rng((seed, 0))
    for t in range(frames):
        grain = 2 ** (t // SCENE_FRAMES % 6)
        cells = (-(-MADE_HEIGHT // grain), -(-MADE_WIDTH // grain), 3)
        grains = rng.normal(128 + 90 * np.sin(t / 40), 50, cells)
        fine = grains.repeat(grain, axis=0).repeat(grain, axis=1)[:MADE_HEIGHT, :MADE_WIDTH]
        yield np.clip(fine, 0, 255).astype(np.uint8)


def titles(frames: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Lines of large letters that roll upwards over one colour; a new colour for every scene."""
    rng = np.random.default_rng((seed, 1))
    spacing = 36
    for t in range(frames):
        if t % SCENE_FRAMES == 0:
            ground, ink = rng.integers(0, 90, 3), rng.integers(160, 256, 3).tolist()
            lines = [_random_line(rng) for _ in range(20)]
        picture = np.full((MADE_HEIGHT, MADE_WIDTH, 3), ground, dtype=np.uint8)
        for number, line in enumerate(lines):
            place = (20, MADE_HEIGHT // 2 + spacing * number - 3 * (t % SCENE_FRAMES))
            cv2.putText(picture, line, place, cv2.FONT_HERSHEY_DUPLEX, 1.0, ink, 2, cv2.LINE_AA)
        yield picture


def fades(frames: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """Drawn scenes of textured shapes, each held, then faded into the next or through black."""
    scenes = range(-(-frames // SCENE_FRAMES) + 1)
    pictures = (_drawn_scene(scene, seed) for scene in scenes)
    for scene, (before, after) in enumerate(pairwise(pictures)):
        for t in range(min(SCENE_FRAMES, frames - scene * SCENE_FRAMES)):
            share = min(1.0, 2 * t / SCENE_FRAMES)
            through_black = abs(1 - 2 * share) if scene % 2 else 1.0
            mixed = (1 - share) * before + share * after
            yield np.rint(through_black * mixed).astype(np.uint8)


def _occupied(clip: AnnotatedClip, regions: IgnoreRegions) -> NDArray[np.bool_]:
    """(H, W): where an actor or a bystander is in any frame of the clip, and a margin."""
    occupied = np.zeros((clip.height, clip.width), dtype=np.bool_)
    for frame, boxes in enumerate(clip.boxes_by_frame):
        actors = np.array([box.box_xyxy for box in boxes]).reshape(-1, 4)
        people = np.concatenate([actors, regions.at(clip.video, frame)])
        people[:, :2] = np.floor(people[:, :2]) - MARGIN_PX
        people[:, 2:] = np.ceil(people[:, 2:]) + MARGIN_PX
        for x1, y1, x2, y2 in people.clip(min=0).astype(int):
            occupied[y1:y2, x1:x2] = True
    return occupied


def _window_sizes(clip: AnnotatedClip) -> Iterator[tuple[int, int]]:
    """Height and width of the windows that are tried, in the clip's aspect."""
    for share in WINDOW_SHARES:
        yield round(share * clip.height), round(share * clip.width)


def _free_places(occupied: NDArray[np.bool_], height: int, width: int) -> NDArray[np.bool_]:
    """Whether a window of this size is empty, at every place (y, x) of its upper left corner."""
    total = np.pad(occupied.astype(np.int64).cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    inside = (
        total[height:, width:] - total[:-height, width:]
        - total[height:, :-width] + total[:-height, :-width]
    )  # fmt: skip
    return np.asarray(inside == 0)


def _longest_run(free: NDArray[np.bool_]) -> tuple[range, range]:
    """The longest unbroken stretch of one row, as ranges of rows and columns; empty if none."""
    change = np.diff(np.pad(free, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    begins, ends = np.argwhere(change == 1), np.argwhere(change == -1)  # pairs, row by row
    if not len(begins):
        return range(0), range(0)
    longest = int((ends - begins)[:, 1].argmax())
    (row, begin), end = begins[longest].tolist(), int(ends[longest, 1])
    return range(row, row + 1), range(begin, end)


def _random_line(rng: np.random.Generator) -> str:
    letters = rng.choice(list("ABCDEFGHIKLMNOPRSTUVWY    "), size=14)
    return "".join(letters.tolist()).strip()


def _drawn_scene(index: int, seed: int) -> NDArray[np.uint8]:
    return procedural_sample(index, MADE_WIDTH, seed).pair_rgb[0, :MADE_HEIGHT]
