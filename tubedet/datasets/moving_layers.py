"""Image pairs with exactly known flow: pieces of real frames that move over each other.

In the spirit of FlyingChairs (Dosovitskiy et al., "FlowNet", 2015): a background and a few
soft-edged pieces, each cut from its own real frame and moved by its own affine motion on top of
the camera's. Both frames are drawn by warping the source, so the flow is exact, occlusion
included. Every sample is a function of (seed, index): nothing is stored, any order will do.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import FlowArray, FlowSample, affine_flow, similarity

# Numbers below are px at this size and scale with the size that is asked for.
REFERENCE_SIZE = 192
MAX_PIECES = 7

# How many motions are none at all; of the others, share and mean speed (px a frame) of the slow
# and the brisk; the rest is anything up to FASTEST. Mostly slow as in real clips; the tail, thicker
# than theirs, teaches long matches, which a network without a correlation learns last.
STILL_SHARE = 0.3
SLOW = (0.5, 1.5)
BRISK = (0.35, 5.0)
FASTEST = 20.0

Matrix = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class _Layer:
    """A cut-out and its motion: `rgba` (H, W, 4) source pixels, matrices source → frame."""

    rgba: Image
    placement: Matrix
    motion: Matrix
    border: int


class MovingLayers:
    """Makes one exact-flow sample for every index.

    Args:
        frames: (N, H, W, 3) uint8 RGB, real frames to cut from; may be a memory map.
        size: side of the square samples in px.
        seed: another seed is another endless data set.
    """

    def __init__(self, frames: Image, size: int, seed: int = 0) -> None:
        self.frames = frames
        self.size = size
        self.seed = seed

    def sample(self, index: int) -> FlowSample:
        """The sample of this index; the same whenever and wherever it is asked for."""
        rng = np.random.default_rng((self.seed, index))
        layers = self._layers(rng)
        first, flow = _draw_first(layers, self.size)
        second = _draw_second(layers, self.size)
        pair = photometric_change(np.stack([first, second]), rng)
        return FlowSample(pair, flow, np.ones((self.size, self.size), dtype=np.bool_))

    def _layers(self, rng: Generator) -> list[_Layer]:
        """A background under the camera's motion, and up to MAX_PIECES pieces with their own."""
        centre = np.full(2, self.size / 2)
        camera = _motion(rng, self.size, centre)
        layers = [self._background(rng, camera)]
        for _ in range(rng.integers(MAX_PIECES + 1)):
            position = rng.random(2) * self.size
            own = _motion(rng, self.size, position)
            carried = rng.random() < 0.8  # the rest ignore the camera, like a title or a shaky lens
            layers.append(self._piece(rng, position, own @ camera if carried else own))
        return layers

    def _background(self, rng: Generator, motion: Matrix) -> _Layer:
        """A whole frame, turned, zoomed and mirrored beyond its borders."""
        rgba = _opaque(self._frame(rng))
        height, width = rgba.shape[:2]
        zoom = self.size / height * np.exp(rng.uniform(-0.4, 0.6))
        middle = np.array([width, height]) * rng.uniform(0.3, 0.7, 2)
        placement = similarity(rng.normal(0, 0.2), zoom, middle, np.full(2, self.size / 2))
        return _Layer(rgba, placement, motion, cv2.BORDER_REFLECT_101)

    def _piece(self, rng: Generator, position: NDArray[np.float64], motion: Matrix) -> _Layer:
        """A soft-edged shape, 12 to 90 % of the sample's side, cut anywhere from a frame."""
        frame = self._frame(rng)
        height, width = frame.shape[:2]
        side = int(height * rng.uniform(0.3, 0.9))
        left, top = rng.integers(width - side), rng.integers(height - side)
        rgba = _opaque(frame[top : top + side, left : left + side])
        rgba[..., 3] = _soft_shape(rng, side)
        zoom = self.size / side * np.exp(rng.uniform(np.log(0.12), np.log(0.9)))
        placement = similarity(rng.normal(0, 0.5), zoom, np.full(2, side / 2), position)
        return _Layer(rgba, placement, motion, cv2.BORDER_CONSTANT)

    def _frame(self, rng: Generator) -> Image:
        frame: Image = self.frames[rng.integers(len(self.frames))]
        return frame[:, ::-1] if rng.random() < 0.5 else frame


def _opaque(rgb: Image) -> Image:
    """RGB with a full alpha channel, as a new array (H, W, 4)."""
    return np.dstack([rgb, np.full(rgb.shape[:2], 255, dtype=np.uint8)])


def _soft_shape(rng: Generator, side: int) -> Image:
    """An alpha mask (side, side): a blob, a star or a limb, with a blurred edge."""
    corners = int(rng.integers(3, 12))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
    radii = 0.46 * side * rng.uniform(rng.uniform(0.2, 0.9), 1.0, corners)
    points = np.stack([np.cos(angles), np.sin(angles)], axis=1) * radii[:, None]
    points[:, 1] *= rng.choice([1.0, 0.5, 0.25])  # flat ones move like arms, clubs and bats
    mask = np.zeros((side, side), dtype=np.uint8)
    outline = np.rint((points + side / 2) * 16).astype(np.int32)
    cv2.fillPoly(mask, [outline], (255,), cv2.LINE_AA, shift=4)
    if rng.random() < 0.6:  # round the corners
        mask = (cv2.blur(mask, (side // 8, side // 8)) > 127).astype(np.uint8) * np.uint8(255)
    softness = rng.uniform(0.5, 2.0)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), softness), dtype=np.uint8)


def _motion(rng: Generator, size: int, centre: NDArray[np.float64]) -> Matrix:
    """A random motion around `centre`: speed in any direction, rotation, zoom."""
    scale = size / REFERENCE_SIZE
    direction = rng.uniform(0, 2 * np.pi)
    shift = _speed(rng) * scale * np.array([np.cos(direction), np.sin(direction)])
    lively = 4.0 if rng.random() < 0.25 else 1.0
    angle = rng.normal(0, 0.02) * lively
    zoom = np.exp(rng.normal(0, 0.015) * lively)
    if rng.random() < STILL_SHARE:
        return np.eye(3)
    return similarity(angle, zoom, centre, centre + shift)


def _speed(rng: Generator) -> float:
    """Px a frame at REFERENCE_SIZE."""
    draw = rng.random()
    for share, mean in (SLOW, BRISK):
        if draw < share:
            return float(min(rng.exponential(mean), FASTEST))
        draw -= share
    return float(rng.uniform(0, FASTEST))


def _draw_first(layers: list[_Layer], size: int) -> tuple[Image, FlowArray]:
    """The first frame and the flow of the topmost layer at every pixel."""
    canvas = np.zeros((size, size, 3), dtype=np.float32)
    flow = np.zeros((2, size, size), dtype=np.float32)
    for layer in layers:
        rows, columns, alpha = _draw(canvas, layer, layer.placement)
        layer_flow = affine_flow(layer.motion, size, size)[:, rows, columns]
        np.copyto(flow[:, rows, columns], layer_flow, where=alpha > 0.5)
    return _to_uint8(canvas), flow


def _draw_second(layers: list[_Layer], size: int) -> Image:
    canvas = np.zeros((size, size, 3), dtype=np.float32)
    for layer in layers:
        _draw(canvas, layer, layer.motion @ layer.placement)
    return _to_uint8(canvas)


def _draw(canvas: FlowArray, layer: _Layer, placement: Matrix) -> tuple[slice, slice, FlowArray]:
    """Blend a layer onto the canvas (S, S, 3) in place; return where, and its alpha there."""
    rows, columns = _footprint(layer, placement, len(canvas))
    shifted = placement[:2] - [[0, 0, columns.start], [0, 0, rows.start]]
    size = (columns.stop - columns.start, rows.stop - rows.start)
    rgba = cv2.warpAffine(layer.rgba, shifted, size, borderMode=layer.border)
    alpha = rgba[..., 3].astype(np.float32) / 255.0
    canvas[rows, columns] += (rgba[..., :3] - canvas[rows, columns]) * alpha[..., None]
    return rows, columns, alpha


def _footprint(layer: _Layer, placement: Matrix, size: int) -> tuple[slice, slice]:
    """Rows and columns of the canvas that a layer can touch, at least one of each."""
    if layer.border != cv2.BORDER_CONSTANT:
        return slice(0, size), slice(0, size)
    height, width = layer.rgba.shape[:2]
    corners = placement[:2] @ [[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]]
    first = np.clip(np.floor(corners.min(axis=1)), 0, size - 1).astype(int)
    last = np.clip(np.ceil(corners.max(axis=1)), 0, size - 1).astype(int)
    return slice(int(first[1]), int(last[1]) + 1), slice(int(first[0]), int(last[0]) + 1)


def _to_uint8(image: NDArray[np.floating]) -> Image:
    rounded: Image = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return rounded


def photometric_change(pair_rgb: Image, rng: Generator) -> Image:
    """Light and camera: the pair gets one large change, each frame a small one, and noise.

    Args:
        pair_rgb: (2, H, W, 3).
        rng: source of every choice.

    Returns:
        A new array of the same shape.
    """
    common = _tone_curve(rng, strength=1.0)
    blur = rng.uniform(0.3, 1.2) if rng.random() < 0.25 else 0.0
    noise = abs(rng.normal(0, 4.0)) if rng.random() < 0.6 else 0.0
    unsteady = 0.15 if rng.random() < 0.5 else 0.0
    frames = []
    for frame in pair_rgb:
        curve = common + _tone_curve(rng, strength=unsteady) - np.arange(256)[:, None]
        table = _to_uint8(curve).reshape(256, 1, 3)
        toned = cv2.LUT(cv2.GaussianBlur(frame, (0, 0), blur) if blur else frame, table)
        # Uniform grain: a normal one takes three times as long to draw and teaches no more.
        grain = noise * np.sqrt(12) * (rng.random(frame.shape, dtype=np.float32) - 0.5)
        frames.append(_to_uint8(toned + grain))
    return np.stack(frames)


def _tone_curve(rng: Generator, strength: float) -> NDArray[np.float64]:
    """New values (256, 3) of the 256 levels of each channel: gamma, contrast, brightness, tint."""
    gamma = np.exp(rng.normal(0, 0.25) * strength)
    contrast = np.exp((rng.normal(0, 0.2) + rng.normal(0, 0.07, 3)) * strength)
    brightness = rng.normal(0, 12.0) * strength
    levels = 255.0 * (np.arange(256) / 255.0) ** gamma
    curve: NDArray[np.float64] = (levels[:, None] - 128.0) * contrast + 128.0 + brightness
    return curve
