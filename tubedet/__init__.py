"""tubedet: action detection in video with an end-to-end two-stream network.

The public names are loaded when first used, so that importing the package costs nothing.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Detection", "FrameDetections", "__version__", "detect_video", "load_detector"]

if TYPE_CHECKING:
    from tubedet.detections import Detection, FrameDetections
    from tubedet.pipeline import detect_video, load_detector

_HOMES = {
    "Detection": "tubedet.detections",
    "FrameDetections": "tubedet.detections",
    "detect_video": "tubedet.pipeline",
    "load_detector": "tubedet.pipeline",
}


def __getattr__(name: str) -> Any:
    """Import the module behind a public name on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'tubedet' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
