from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tubedet.video.cuts import FRAMES_AFTER, FRAMES_BEFORE, mark_shots
from tubedet.video.frame import VideoFrame
from tubedet.video.reader import VideoReader

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
WIDTH, HEIGHT = 160, 120
Picture = NDArray[np.uint8]


def as_frames(pictures: Iterable[Picture], gaps: Iterable[int] = ()) -> Iterator[VideoFrame]:
    for number, rgb in enumerate(pictures):
        yield VideoFrame(number, number, Fraction(number, 30), rgb, after_gap=number in gaps)


def beginnings(pictures: Iterable[Picture], gaps: Iterable[int] = ()) -> list[int]:
    """The numbers of the frames, from 0, that a new shot begins with."""
    return [frame.frame for frame, begins in mark_shots(as_frames(pictures, gaps)) if begins]


def texture(seed: int, width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """A landscape of soft spots about 16 pixels wide, in colours of its own."""
    rng = np.random.default_rng(seed)
    spots = rng.uniform(-60, 60, (height // 12, width // 12, 1)) + rng.uniform(60, 190, 3)
    soft = cv2.resize(spots, (width, height), interpolation=cv2.INTER_CUBIC)
    return to_picture(soft + rng.normal(0, 4, soft.shape))


def to_picture(values: NDArray[np.floating[Any] | np.integer[Any]]) -> Picture:
    return values.round().clip(0, 255).astype(np.uint8)


def pan(seed: int, step: int, count: int) -> list[Picture]:
    """A camera that moves over a texture by `step` pixels a frame."""
    wide = texture(seed, WIDTH + abs(step) * count)
    starts = [step * t if step >= 0 else -step * (count - t) for t in range(count)]
    return [wide[:, x : x + WIDTH] for x in starts]


def shake(seed: int, count: int) -> list[Picture]:
    large = texture(seed, WIDTH + 20, HEIGHT + 20)
    places = np.random.default_rng(seed).integers(0, 21, (count, 2))
    return [large[y : y + HEIGHT, x : x + WIDTH] for y, x in places]


def with_flash(pictures: Sequence[Picture], at: Sequence[int], gain: float) -> list[Picture]:
    return [
        to_picture(rgb * gain + 60.0) if number in at else rgb
        for number, rgb in enumerate(pictures)
    ]


def fade(pictures: Sequence[Picture], onto: Sequence[Picture]) -> list[Picture]:
    """A dissolve over the whole length."""
    shares = np.linspace(0, 1, len(pictures))
    return [
        to_picture((1 - share) * one + share * other)
        for share, one, other in zip(shares, pictures, onto, strict=True)
    ]


def with_actor(seed: int, step: int, count: int) -> list[Picture]:
    """Something that covers an eighth of the picture crosses it."""
    scene, actor = texture(seed), texture(seed + 1, 40, 60)
    pictures = []
    for t in range(count):
        rgb = scene.copy()
        x = (step * t) % (WIDTH - 40)
        rgb[30:90, x : x + 40] = actor
        pictures.append(rgb)
    return pictures


def noise(count: int, cell: int) -> list[Picture]:
    """Every frame is new noise, in cells of so many pixels."""
    rng = np.random.default_rng(5)
    cells = rng.integers(0, 256, (count, HEIGHT // cell, WIDTH // cell, 3), dtype=np.uint8)
    return [np.kron(each, np.ones((cell, cell, 1), np.uint8)) for each in cells]


BLACK: Picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
STILL = [texture(1)] * 12
OTHER = [texture(2)] * 12

WITHOUT_CUT = {
    "no frame": [],
    "one frame": STILL[:1],
    "still": STILL,
    "black": [BLACK] * 6,
    "a pan of an eighth of the picture a frame": pan(3, 20, 12),
    "a pan the other way": pan(3, -20, 12),
    "a camera that shakes": shake(4, 20),
    "an actor that jumps by a quarter of the picture": with_actor(6, 40, 12),
    "a flash": with_flash(STILL, [5], 1.5),
    "a flash that burns out": with_flash(STILL, [5], 3.0),
    "a flash of two frames": with_flash(STILL, [5, 6], 1.5),
    "a flash in a pan": with_flash(pan(3, 10, 12), [5], 1.5),
    "strobe light": with_flash(STILL, range(0, 12, 2), 2.0),
    "slow strobe light": with_flash(STILL, [2, 3, 6, 7, 10, 11], 1.3),
    "light switched on for good": with_flash(STILL, range(6, 12), 1.2),
    "a white frame": [*STILL[:5], BLACK + 255, *STILL[6:]],
    "a black frame": [*STILL[:5], BLACK, *STILL[6:]],
    "fine noise": noise(12, 1),
    "middling noise": noise(12, 4),
    "coarse noise": noise(12, 10),
    "a fade to black": fade(STILL, [BLACK] * 12),
    "a fade from black": fade([BLACK] * 12, STILL),
    "a dissolve": fade(STILL, OTHER),
    "frozen frames in a pan": [rgb for rgb in pan(3, 20, 6) for _ in range(2)],
}

WITH_CUTS: dict[str, tuple[list[Picture], list[int]]] = {
    "still": ([*STILL[:6], *OTHER[:6]], [6]),
    "at the second frame": ([*STILL[:1], *OTHER[:6]], [1]),
    "at the last frame": ([*STILL[:6], *OTHER[:1]], [6]),
    "twice": ([*STILL[:4], *OTHER[:3], *STILL[:4]], [4, 7]),
    "between pans": ([*pan(3, 8, 6), *pan(7, -8, 6)], [6]),
    "between cameras that shake": ([*shake(3, 6), *shake(7, 6)], [6]),
    "actors": ([*with_actor(8, 10, 6), *with_actor(10, 10, 6)], [6]),
    "to black and from black": ([*STILL[:5], *[BLACK] * 4, *OTHER[:5]], [5, 9]),
    "to a black frame and from it": ([*STILL[:5], BLACK, *OTHER[:5]], [5, 6]),
}


@pytest.mark.parametrize("pictures", WITHOUT_CUT.values(), ids=WITHOUT_CUT)
def test_what_goes_on_in_a_shot_is_no_cut(pictures: list[Picture]) -> None:
    assert beginnings(pictures) == []


@pytest.mark.parametrize(("pictures", "expected"), WITH_CUTS.values(), ids=WITH_CUTS)
def test_a_hard_cut_is_found_at_the_first_frame_of_the_new_shot(
    pictures: list[Picture], expected: list[int]
) -> None:
    assert beginnings(pictures) == expected


@pytest.mark.parametrize("size", [(320, 240), (1920, 1080), (90, 160), (33, 17)])
def test_a_cut_is_found_in_pictures_of_any_size(size: tuple[int, int]) -> None:
    pictures = [to_picture(cv2.resize(rgb, size)) for rgb in [*STILL[:3], *OTHER[:3]]]
    assert beginnings(pictures) == [3]


def test_the_answer_depends_on_two_frames_on_either_side() -> None:
    pictures = [*pan(3, 8, 6), *with_flash(pan(7, -8, 8), [3, 4], 1.2), *shake(8, 5)]
    whole = beginnings(pictures)
    assert whole == [6, 14]
    for frame in range(FRAMES_BEFORE, len(pictures)):
        neighbours = pictures[frame - FRAMES_BEFORE : frame + FRAMES_AFTER + 1]
        assert (FRAMES_BEFORE in beginnings(neighbours)) == (frame in whole)


def test_a_gap_begins_a_shot_and_hides_what_is_behind_it() -> None:
    assert beginnings(STILL[:6], gaps=[3]) == [3]
    passing = [*STILL[:4], OTHER[0], *STILL[:4]]
    assert beginnings(passing) == []
    assert beginnings(passing, gaps=[5]) == [4, 5]


def test_a_frame_waits_for_two_more_and_no_longer() -> None:
    read: list[int] = []

    def watched() -> Iterator[VideoFrame]:
        for frame in as_frames(STILL):
            read.append(frame.frame)
            yield frame

    marked = mark_shots(watched())
    for number in range(len(STILL)):
        assert next(marked)[0].frame == number
        assert len(read) == min(number + 1 + FRAMES_AFTER, len(STILL))
    assert next(marked, None) is None


def real_pictures(name: str) -> list[Picture]:
    if not (DATA / name).is_file():
        pytest.skip(f"../shared/data/{name} is not here")
    with VideoReader(DATA / name) as reader:
        return [frame.rgb for frame in reader.frames()]


def test_the_one_cut_of_a_real_video_is_found() -> None:
    assert beginnings(real_pictures("robust/torchcodec_nasa_13013.mp4")) == [202]


def test_real_clips_are_one_shot_each_and_their_joins_are_cuts() -> None:
    folder = DATA / "jhmdb-21" / "ReCompress_Videos"
    if not folder.is_dir():
        pytest.skip("J-HMDB-21 (../shared/data/jhmdb-21) is not here")
    names = [sorted(each.glob("*.avi"))[0] for each in sorted(folder.iterdir())]
    clips = [real_pictures(str(path.relative_to(DATA))) for path in names]
    for one, other in pairwise(clips):
        assert beginnings([*one, *other]) == [len(one)]
