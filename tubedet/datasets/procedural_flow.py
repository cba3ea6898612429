"""A second source of exact flow, for measuring only: nothing in it is ever trained on.

Textures are functions of the plane (noise octaves, stripes, checks and dots), objects are discs,
rotated boxes and flowers. Both frames evaluate the same functions at moved points, so no image is
ever resampled: it shares no texture, shape, motion law or renderer with `moving_layers`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from tubedet.datasets.flow_sample import FlowArray, FlowSample, affine_flow, pixel_grid, similarity

FASTEST_PX = 20.0
MAX_OBJECTS = 4
GRID = 64  # cells a side of a random texture before it repeats
OCTAVES = 4
COARSEST_PX = 48.0  # wavelength of the first octave; each further one is half as long

Plane = Callable[[FlowArray, FlowArray], FlowArray]
"""(x, y) in px of the first frame, any shape → a value for every point."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Object:
    """A coloured texture on a shape, and where its points go."""

    texture: Plane
    dark_rgb: NDArray[np.float32]
    light_rgb: NDArray[np.float32]
    inside: Plane
    motion: Matrix


def procedural_samples(count: int, size: int = 192, seed: int = 0) -> Iterator[FlowSample]:
    """`count` samples of size × size px: 0 to 20 px of motion, rotation, zoom, 0 to 4 objects."""
    for index in range(count):
        yield procedural_sample(index, size, seed)


def procedural_sample(index: int, size: int = 192, seed: int = 0) -> FlowSample:
    """The sample of (seed, index); no pixel moves further than `FASTEST_PX`."""
    rng = np.random.default_rng((seed, index))
    scene = _scene(rng, size)
    pair = np.stack([_draw(scene, size, moved=False), _draw(scene, size, moved=True)])
    noisy = pair + rng.normal(0, rng.uniform(0, 3), pair.shape)
    flow = _flow(scene, size)
    known = np.ones((size, size), dtype=np.bool_)
    return FlowSample(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), flow, known)


def _scene(rng: Generator, size: int) -> list[_Object]:
    """The ground and its objects, back to front."""
    scene_speed = rng.uniform(0, FASTEST_PX)
    ground_speed = rng.uniform(0, 1) * scene_speed
    scene = [_object(rng, size, np.full(2, size / 2), size, ground_speed)]
    for _ in range(rng.integers(MAX_OBJECTS + 1)):
        position = rng.uniform(0.1, 0.9, 2) * size
        radius = size * rng.uniform(0.06, 0.3)
        scene.append(_object(rng, size, position, radius, scene_speed))
    return scene


def _object(
    rng: Generator, size: int, centre: NDArray[np.float64], radius: float, speed: float
) -> _Object:
    """Anything of this radius at this place; a radius of the whole size makes it the ground."""
    shapes = (_disc, _box, _flower)
    shape = (
        _everywhere if radius >= size else shapes[rng.integers(len(shapes))](rng, centre, radius)
    )
    textures = (_octaves, _octaves, _stripes, _checks, _dots)
    dark, light = rng.uniform(0, 140, 3), rng.uniform(100, 255, 3)
    return _Object(
        texture=textures[rng.integers(len(textures))](rng),
        dark_rgb=dark.astype(np.float32),
        light_rgb=light.astype(np.float32),
        inside=shape,
        motion=_motion(rng, centre, radius, speed),
    )


def _motion(
    rng: Generator, centre: NDArray[np.float64], radius: float, speed: float
) -> NDArray[np.float64]:
    """A similarity that moves no point within `radius` × √2 of `centre` further than `speed`."""
    shares = rng.dirichlet([6.0, 1.0, 1.0]) * speed
    direction = rng.uniform(0, 2 * np.pi)
    reach = max(radius * np.sqrt(2), 1.0)
    angle = rng.choice([-1, 1]) * shares[1] / reach
    zoom = 1 + rng.choice([-1, 1]) * shares[2] / reach
    shift = shares[0] * np.array([np.cos(direction), np.sin(direction)])
    return similarity(angle, zoom, centre, centre + shift)


def _draw(scene: list[_Object], size: int, *, moved: bool) -> FlowArray:
    """One frame (size, size, 3), every pixel the mean of 2 × 2 points."""
    x, y = _points_of_quarter_pixels(size)
    frame = np.zeros((2 * size, 2 * size, 3), dtype=np.float32)
    for item in scene:
        item_x, item_y = _apply(np.linalg.inv(item.motion), x, y) if moved else (x, y)
        seen = item.inside(item_x, item_y) > 0
        value = item.texture(item_x[seen], item_y[seen])[:, None]
        frame[seen] = item.dark_rgb + (item.light_rgb - item.dark_rgb) * value
    return np.asarray(frame.reshape(size, 2, size, 2, 3).mean(axis=(1, 3)), dtype=np.float32)


def _points_of_quarter_pixels(size: int) -> tuple[FlowArray, FlowArray]:
    """x and y of 2 × 2 points around every pixel centre, each (2 size, 2 size)."""
    x, y = pixel_grid(2 * size, 2 * size)
    half, quarter = np.float32(0.5), np.float32(0.25)
    return x * half - quarter, y * half - quarter


def _flow(scene: list[_Object], size: int) -> FlowArray:
    """The flow of the topmost object at every pixel centre of the first frame."""
    x, y = pixel_grid(size, size)
    flow = np.zeros((2, size, size), dtype=np.float32)
    for item in scene:
        np.copyto(flow, affine_flow(item.motion, size, size), where=item.inside(x, y) > 0)
    return flow


def _apply(matrix: NDArray[np.floating], x: FlowArray, y: FlowArray) -> tuple[FlowArray, FlowArray]:
    (a, b, c), (d, e, f), _ = matrix.astype(np.float32)
    return a * x + b * y + c, d * x + e * y + f


def _everywhere(x: FlowArray, y: FlowArray) -> FlowArray:
    return np.ones_like(x)


def _disc(rng: Generator, centre: NDArray[np.float64], radius: float) -> Plane:
    flattening = np.float32(rng.uniform(0.4, 1.0))

    def inside(x: FlowArray, y: FlowArray) -> FlowArray:
        dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
        return np.asarray(radius - np.hypot(dx, dy / flattening), dtype=np.float32)

    return inside


def _box(rng: Generator, centre: NDArray[np.float64], radius: float) -> Plane:
    turn = similarity(rng.uniform(0, np.pi), 1.0, centre, np.zeros(2))
    sides = radius * np.array([1.0, rng.uniform(0.2, 1.0)]) / np.sqrt(2)

    def inside(x: FlowArray, y: FlowArray) -> FlowArray:
        across, along = _apply(turn, x, y)
        room = np.minimum(sides[0] - np.abs(across), sides[1] - np.abs(along))
        return np.asarray(room, dtype=np.float32)

    return inside


def _flower(rng: Generator, centre: NDArray[np.float64], radius: float) -> Plane:
    petals, phase = int(rng.integers(3, 8)), rng.uniform(0, 2 * np.pi)

    def inside(x: FlowArray, y: FlowArray) -> FlowArray:
        dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
        edge = radius * (0.75 + 0.25 * np.cos(petals * np.arctan2(dy, dx) + phase))
        return np.asarray(edge - np.hypot(dx, dy), dtype=np.float32)

    return inside


def _octaves(rng: Generator) -> Plane:
    """Smooth noise of several wavelengths, the finer ones weaker."""
    roughness = rng.uniform(0.5, 0.9)
    weights = roughness ** np.arange(OCTAVES)
    grids = rng.random((OCTAVES, GRID, GRID), dtype=np.float32)

    def texture(x: FlowArray, y: FlowArray) -> FlowArray:
        value = np.zeros_like(x)
        for octave, (weight, grid) in enumerate(zip(weights, grids, strict=True)):
            wavelength = np.float32(COARSEST_PX / 2**octave)
            value += weight * _lattice(x / wavelength, y / wavelength, grid)
        contrasted = np.clip((value / weights.sum() - 0.5) * 2 + 0.5, 0, 1)
        return np.asarray(contrasted, dtype=np.float32)

    return texture


def _lattice(x: FlowArray, y: FlowArray, grid: FlowArray) -> FlowArray:
    """Value noise: the grid's values at whole points, smoothly joined, repeating at its end."""
    left, top = np.floor(x), np.floor(y)
    fx, fy = (t * t * (3 - 2 * t) for t in (x - left, y - top))
    near, far = (_cell(left, top + below) for below in (0, 1))
    right = _cell(left + 1, top)[1]
    upper, lower = (
        grid[row, near[1]] + (grid[row, right] - grid[row, near[1]]) * fx
        for row in (near[0], far[0])
    )
    return np.asarray(upper + (lower - upper) * fy, dtype=np.float32)


def _cell(x: FlowArray, y: FlowArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of the random GRID × GRID value that belongs to the unit square at (x, y)."""
    return np.floor(y).astype(np.intp) % GRID, np.floor(x).astype(np.intp) % GRID


def _stripes(rng: Generator) -> Plane:
    """Bars of uneven brightness: a wave in one direction on smooth noise, so never quite alike."""
    direction, wavelength = rng.uniform(0, 2 * np.pi), rng.uniform(8, 40)
    kx, ky = 2 * np.pi / wavelength * np.cos(direction), 2 * np.pi / wavelength * np.sin(direction)
    ground = _octaves(rng)
    return lambda x, y: 0.25 + 0.25 * np.sin(kx * x + ky * y) + 0.5 * ground(x, y)


def _checks(rng: Generator) -> Plane:
    """A turned chessboard whose fields have random brightness."""
    turn = similarity(rng.uniform(0, np.pi), 1 / rng.uniform(6, 30), np.zeros(2), np.zeros(2))
    grid = rng.random((GRID, GRID), dtype=np.float32)

    return lambda x, y: np.asarray(grid[_cell(*_apply(turn, x, y))])


def _dots(rng: Generator) -> Plane:
    """Discs of random size and brightness, one in every field of a grid."""
    spacing = np.float32(rng.uniform(10, 30))
    grey, radius = rng.random((2, GRID, GRID), dtype=np.float32)

    def texture(x: FlowArray, y: FlowArray) -> FlowArray:
        x, y = x / spacing, y / spacing
        here = _cell(x, y)
        distance = np.hypot(x % 1 - 0.5, y % 1 - 0.5)
        return np.where(distance < 0.15 + 0.3 * radius[here], grey[here], np.float32(0.5))

    return texture
