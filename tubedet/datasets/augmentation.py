"""One crop, flip and colour change for all frames of a sample and their boxes.

The paper trains with random crops, horizontal flips and HSV distortion. `light` needs more, having
few clips: some samples show the whole frame made smaller, for distant actors, some have a part
blanked out, and in some the camera drifts, lest the network learn how the camera of each clip
moved. Otherwise all frames are changed alike. All of it happens before the flow network, so motion
needs no sign rule.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from tubedet.boxes import clip_xyxy

Pixels = NDArray[np.uint8]
Boxes = NDArray[np.float64]
Window = tuple[int, int, int, int]

STILL = (0, 0, 0, 0)
CROP_TRIES = 24  # windows drawn before giving up and showing the whole frame
BLANK = 127  # what lies beyond the frame, or is blanked out: the mean of the networks' input
ACTOR_MARGIN = 6  # px kept around a box that must stay outside: masks end before hair and hands do


@dataclass(frozen=True, slots=True)
class AugmentationRecipe:
    """Strength of every change; chances are in [0, 1]. As it is, the paper's.

    `min_visible` is the share of every actor's box that a crop keeps, `min_side` the shortest side
    of a crop as a share of the frame's, `max_aspect` the greatest change of aspect ratio. With
    `max_scale` none of the three counts: the frame is enlarged by a factor of up to it, and as much
    as the frame was is cut out of it anywhere, through actors too (1: no crop at all). Hue moves
    by up to `hue` turns, saturation and exposure by a factor of up to `saturation`, `exposure` or
    their inverse. `background_chance` is that of a crop without any actor. `widen_chance` is that
    of a window up to `max_widening` times as wide and high as the frame, in place of a crop.
    `blank_chance` is that of a blanked rectangle whose sides are at most `max_blank` of the view's.
    `mosaic_chance` is that of four windows of video as one, where windows are drawn.
    `drift_chance` is that of a camera that pans and zooms from frame to frame: the window moves by
    `drift` of its sides, and its sides by `drift` of themselves (standard deviations).
    """

    min_visible: float = 1.0
    min_side: float = 1.0
    max_aspect: float = 1.0
    # Paper §IV-C: "random cropping, HSV distortion, and horizontal flipping", and nothing else. It
    # does not say how strong: crops are those of yolo2-pytorch, which it builds on
    # (imcv2_affine_trans).
    max_scale: float | None = 1.1
    flip_chance: float = 0.5
    hue: float = 0.1
    saturation: float = 1.5
    exposure: float = 1.5
    grey_chance: float = 0.0
    background_chance: float = 0.0
    widen_chance: float = 0.0
    max_widening: float = 1.0
    mosaic_chance: float = 0.0
    blank_chance: float = 0.0
    max_blank: float = 0.0
    drift_chance: float = 0.0
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class ColourChange:
    """A shift of the hue in turns, factors for saturation and value, or all colour taken away."""

    hue: float
    saturation: float
    value: float
    grey: bool

    def apply(self, rgb: Pixels) -> Pixels:
        """Change a picture (H, W, 3) RGB."""
        levels = np.arange(256, dtype=np.float32)
        tables = np.stack(
            [(levels + self.hue * 180) % 180, levels * self.saturation, levels * self.value]
        )
        hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)  # 8-bit hue counts half degrees, 0..179
        changed = cv2.LUT(hsv, tables.clip(0, 255).astype(np.uint8).T.reshape(256, 1, 3))
        rgb = np.asarray(cv2.cvtColor(changed, cv2.COLOR_HSV2RGB), dtype=np.uint8)
        if self.grey:
            grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
            rgb = np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), dtype=np.uint8)
        return rgb


@dataclass(frozen=True, slots=True)
class View:
    """One draw: a window in source pixels (x1, y1, x2, y2, half-open), then flip and colour.

    The window may reach beyond the frame. In every later frame its sides have moved by `drift_xyxy`
    once more; boxes are those of the first. `blank_xyxy`, in fractions of the view, is blanked
    last.
    """

    window: Window
    flip: bool = False
    colour: ColourChange | None = None
    blank_xyxy: tuple[float, float, float, float] | None = None
    drift_xyxy: Window = STILL

    def frames(self, rgb: Pixels, size: int) -> Pixels:
        """The view of frames (T, H, W, 3), stretched to (T, size, size, 3) as at test time."""
        x1, y1, x2, y2 = self.window
        # Same rule as in video/preprocess.py: averaging only where much is thrown away.
        shrinks = max(x2 - x1, y2 - y1) > 2 * size
        method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        pictures = np.empty((len(rgb), size, size, 3), dtype=np.uint8)
        for time, (target, frame) in enumerate(zip(pictures, rgb, strict=True)):
            cut = _cut(frame, self.later(time).window)
            cv2.resize(cut, (size, size), dst=target, interpolation=method)
        if self.flip:
            pictures = np.ascontiguousarray(pictures[:, :, ::-1])
        if self.colour is not None:
            pictures = self.colour.apply(pictures.reshape(-1, size, 3)).reshape(pictures.shape)
        if self.blank_xyxy is not None:
            left, top, right, bottom = (round(side * size) for side in self.blank_xyxy)
            pictures[:, top:bottom, left:right] = BLANK
        return pictures

    def later(self, frames: int) -> "View":
        """What the camera shows so many frames later, or, below 0, earlier."""
        x1, y1, x2, y2 = np.add(self.window, np.multiply(self.drift_xyxy, frames)).tolist()
        return replace(self, window=(x1, y1, x2, y2))

    def boxes(self, boxes_xyxy: Boxes) -> Boxes:
        """Boxes (K, 4) in source pixels as fractions of the view; outside parts are cut off."""
        x1, y1, x2, y2 = self.window
        boxes = (boxes_xyxy - (x1, y1, x1, y1)) / (x2 - x1, y2 - y1, x2 - x1, y2 - y1)
        if self.flip:
            boxes = np.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], axis=1)
        return clip_xyxy(boxes, 1.0, 1.0)


def _cut(frame: Pixels, window: Window) -> Pixels:
    """The window of a frame (H, W, 3), blank where it reaches beyond."""
    (height, width), (x1, y1, x2, y2) = frame.shape[:2], window
    inside = frame[max(y1, 0) : min(y2, height), max(x1, 0) : min(x2, width)]
    if inside.shape[:2] == (y2 - y1, x2 - x1):
        return inside
    top, bottom, left, right = (max(side, 0) for side in (-y1, y2 - height, -x1, x2 - width))
    wide = cv2.copyMakeBorder(
        inside, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(BLANK, BLANK, BLANK)
    )
    return np.asarray(wide, dtype=np.uint8)


def draw_view(rng: np.random.Generator, recipe: AugmentationRecipe, window: Window) -> View:
    """Flip, colours, blanked part and drift for a window that is already drawn."""
    colour = ColourChange(
        hue=rng.uniform(-recipe.hue, recipe.hue),
        saturation=_draw_factor(rng, recipe.saturation),
        value=_draw_factor(rng, recipe.exposure),
        grey=bool(rng.random() < recipe.grey_chance),
    )
    flip = bool(rng.random() < recipe.flip_chance)
    blank = _draw_blank(rng, recipe) if rng.random() < recipe.blank_chance else None
    drifts = rng.random() < recipe.drift_chance
    return View(window, flip, colour, blank, _draw_drift(rng, recipe, window) if drifts else STILL)


def _draw_drift(rng: np.random.Generator, recipe: AugmentationRecipe, window: Window) -> Window:
    x1, y1, x2, y2 = window
    wh = np.array([x2 - x1, y2 - y1])
    pan, zoom = rng.normal(0, recipe.drift, 2), rng.normal(0, recipe.drift / 2)
    left, top = np.rint((pan - zoom) * wh).astype(int).tolist()
    right, bottom = np.rint((pan + zoom) * wh).astype(int).tolist()
    return (left, top, right, bottom)


def _draw_blank(
    rng: np.random.Generator, recipe: AugmentationRecipe
) -> tuple[float, float, float, float]:
    sides = rng.uniform(recipe.max_blank / 3, recipe.max_blank, 2)
    x1, y1 = rng.random(2) * (1 - sides)
    return (x1, y1, x1 + sides[0], y1 + sides[1])


def _draw_factor(rng: np.random.Generator, greatest: float) -> float:
    factor = rng.uniform(1.0, greatest)
    return float(factor if rng.random() < 0.5 else 1.0 / factor)


def draw_crop(
    rng: np.random.Generator,
    recipe: AugmentationRecipe,
    boxes_xyxy: Boxes,
    frame_wh: tuple[int, int],
) -> Window:
    """The crop that a recipe asks for: of a frame with these boxes (K, 4)."""
    if recipe.max_scale is not None:
        return draw_enlarged_window(rng, recipe.max_scale, frame_wh)
    return draw_actor_window(rng, recipe, boxes_xyxy, frame_wh)


def draw_enlarged_window(
    rng: np.random.Generator, max_scale: float, frame_wh: tuple[int, int]
) -> Window:
    """A random window of the frame's own size out of the frame enlarged by 1 to `max_scale`."""
    frame = np.array(frame_wh)
    wh = np.rint(frame / rng.uniform(1.0, max_scale))
    x1, y1 = np.floor(rng.random(2) * (frame - wh + 1)).astype(int)
    return (int(x1), int(y1), int(x1 + wh[0]), int(y1 + wh[1]))


def draw_actor_window(
    rng: np.random.Generator,
    recipe: AugmentationRecipe,
    boxes_xyxy: Boxes,
    frame_wh: tuple[int, int],
) -> Window:
    """A random window that keeps `min_visible` of every box (K, 4); the whole frame at worst."""
    width, height = frame_wh
    sides = rng.uniform(recipe.min_side, 1.0, CROP_TRIES)
    stretch = np.sqrt(recipe.max_aspect ** rng.uniform(-1.0, 1.0, CROP_TRIES))
    wh = np.stack([sides * stretch, sides / stretch], axis=1).clip(recipe.min_side, 1.0)
    wh = np.rint(wh * frame_wh)
    corner = np.floor(rng.random((CROP_TRIES, 2)) * (np.array(frame_wh) - wh + 1))
    windows = np.concatenate([corner, corner + wh], axis=1)
    is_fitting = _shares_inside(boxes_xyxy, windows).min(axis=0, initial=1.0) >= recipe.min_visible
    if not is_fitting.any():
        return (0, 0, width, height)
    x1, y1, x2, y2 = windows[is_fitting.argmax()].astype(int).tolist()
    return (x1, y1, x2, y2)


def draw_wider_window(
    rng: np.random.Generator, recipe: AugmentationRecipe, frame_wh: tuple[int, int]
) -> Window:
    """A random window that holds the whole frame."""
    frame = np.array(frame_wh)
    wh = np.rint(frame * rng.uniform(1.0, recipe.max_widening)).astype(int)
    x1, y1 = -np.floor(rng.random(2) * (wh - frame + 1)).astype(int)
    return (int(x1), int(y1), int(x1 + wh[0]), int(y1 + wh[1]))


def _shares_inside(boxes_xyxy: Boxes, windows: Boxes) -> Boxes:
    """Share of the area of every box (K, 4) inside every window (N, 4), as (K, N)."""
    boxes = boxes_xyxy[:, None]
    sides = np.minimum(boxes[..., 2:], windows[:, 2:]) - np.maximum(boxes[..., :2], windows[:, :2])
    inside: Boxes = sides.clip(min=0).prod(axis=-1)
    shares: Boxes = inside / (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return shares


def draw_actor_free_window(
    rng: np.random.Generator,
    recipe: AugmentationRecipe,
    boxes_xyxy: Boxes,
    frame_wh: tuple[int, int],
) -> Window | None:
    """A random window beside, above or below all boxes (K, 4); None if every gap is too narrow.

    Its sides are at least half of `min_side`: a narrower strip would be stretched beyond
    recognition.
    """
    width, height = frame_wh
    x1, y1 = np.floor(boxes_xyxy[:, :2].min(axis=0)).astype(int) - ACTOR_MARGIN
    x2, y2 = np.ceil(boxes_xyxy[:, 2:].max(axis=0)).astype(int) + ACTOR_MARGIN
    gaps = [(0, 0, x1, height), (x2, 0, width, height), (0, 0, width, y1), (0, y2, width, height)]
    least = np.rint(np.array(frame_wh) * recipe.min_side / 2).astype(int)
    wide = [g for g in gaps if g[2] - g[0] >= least[0] and g[3] - g[1] >= least[1]]
    if not wide:
        return None
    gap = wide[rng.integers(len(wide))]
    w, h = (int(rng.integers(least[i], gap[i + 2] - gap[i] + 1)) for i in (0, 1))
    left = int(rng.integers(gap[0], gap[2] - w + 1))
    top = int(rng.integers(gap[1], gap[3] - h + 1))
    return (left, top, left + w, top + h)
