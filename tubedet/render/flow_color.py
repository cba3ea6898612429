"""Optical flow as a picture: hue is the direction, saturation the speed.

The wheel is that of Baker et al., "A Database and Evaluation Methodology for Optical Flow" (2011):
motion to the right is red, down yellow, left cyan, up violet; no motion is white.
"""

import numpy as np
from numpy.typing import NDArray

# Steps between neighbouring corners of the wheel; more where the eye tells hues apart better.
_WHEEL_STEPS = (15, 6, 4, 11, 13, 6)  # red → yellow → green → cyan → blue → magenta → red
_WHEEL_RGB = np.array(
    [(1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1), (1, 0, 1), (1, 0, 0)], dtype=np.float32
)
_WHEEL_TURN = np.cumsum((0, *_WHEEL_STEPS)) / sum(_WHEEL_STEPS)  # 0..1 around the circle
_TOO_FAST_DIMMING = 0.75  # vectors longer than the scale get a darker full colour

_FITTING_PERCENT = 99.9  # an actor far away is 1 % of a picture, and should not be cut off whole
_CALMING = 0.98  # a frame: after a fast move, full colour comes back to slow ones within seconds
_LEAST_FULL_COLOUR_PX = 1.0  # so that noise on a picture that stands still stays pale


class SteadyScale:
    """The vector length of full saturation along a video, steady enough that nothing flickers."""

    def __init__(self) -> None:
        self._longest_px = _LEAST_FULL_COLOUR_PX

    def follow(self, flow_uv: NDArray[np.floating]) -> float:
        """Length in px for the next frame's flow (2, H, W): almost all of its vectors fit."""
        fast_px = float(np.percentile(np.hypot(*flow_uv), _FITTING_PERCENT))
        self._longest_px = max(fast_px, _CALMING * self._longest_px, _LEAST_FULL_COLOUR_PX)
        return self._longest_px


def flow_to_rgb(
    flow_uv: NDArray[np.floating], *, max_magnitude: float | None = None
) -> NDArray[np.uint8]:
    """Colour every flow vector.

    Args:
        flow_uv: (2, H, W) or (H, W, 2), u to the right and v down, any unit. Ambiguous shapes
            such as (2, H, 2) are read as (2, H, W).
        max_magnitude: vector length of full saturation, in the unit of `flow_uv`; longer vectors
            are drawn darker. None takes the longest vector of this picture.

    Returns:
        (H, W, 3) uint8 RGB; black where the flow is not finite.

    Raises:
        ValueError: if no axis of `flow_uv` is the pair (u, v).
    """
    u, v = _components(flow_uv)
    finite = np.isfinite(u) & np.isfinite(v)
    u, v = np.where(finite, u, 0.0), np.where(finite, v, 0.0)
    speed = np.hypot(u, v)
    longest = speed.max(initial=0.0) if max_magnitude is None else max_magnitude
    speed = (speed / (longest or 1.0))[..., None]

    turn = np.arctan2(v, u) / (2 * np.pi) % 1.0
    hue = np.stack([np.interp(turn, _WHEEL_TURN, channel) for channel in _WHEEL_RGB.T], axis=-1)
    rgb = np.where(speed <= 1.0, 1.0 - speed * (1.0 - hue), hue * _TOO_FAST_DIMMING)
    picture: NDArray[np.uint8] = np.rint(255 * rgb * finite[..., None]).astype(np.uint8)
    return picture


def _components(flow_uv: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """u and v, each (H, W), of either layout."""
    flow = np.asarray(flow_uv, dtype=np.float64)
    if flow.ndim == 3 and flow.shape[0] == 2:
        return flow[0], flow[1]
    if flow.ndim == 3 and flow.shape[2] == 2:
        return flow[..., 0], flow[..., 1]
    raise ValueError(f"flow must be (2, H, W) or (H, W, 2), not {flow.shape}")
