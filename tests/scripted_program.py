"""The `tubedet` program without a network, as a process of its own:

    SECONDS_PER_FRAME=0.1 python -m tests.scripted_program detect clip.mp4

Everything but `load_detector` is the real thing; a frame takes as long as the environment says.
"""

import os
import time
from typing import Any

from torch import Tensor

from tests.scripted_detector import ScriptedDetector
from tubedet import pipeline
from tubedet.cli.app import main
from tubedet.runtime.detector import Glimpse

SECONDS_PER_FRAME = float(os.environ.get("SECONDS_PER_FRAME", "0"))


class SlowDetector(ScriptedDetector):
    def look(self, clip: Tensor) -> list[Glimpse]:
        time.sleep(SECONDS_PER_FRAME * clip.shape[0])
        return super().look(clip)


def load_slow_detector(*_: Any, **__: Any) -> SlowDetector:
    return SlowDetector()


if __name__ == "__main__":
    pipeline.load_detector = load_slow_detector
    main()
