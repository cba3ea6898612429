"""The `tubedet` program without a network, as a process of its own:

    SECONDS_PER_FRAME=0.1 python -m tests.scripted_program detect clip.mp4

Everything but `load_detector` is the real thing; a frame takes as long as the environment says.
"""

import os
import time
from typing import TYPE_CHECKING, Any

from tubedet.cli.signals import exit_code_of_signal, heed_signals, ignore_signals

if TYPE_CHECKING:
    from tubedet.runtime.detector import Detector

SECONDS_PER_FRAME = float(os.environ.get("SECONDS_PER_FRAME", "0"))


def load_slow_detector(*_: Any, **__: Any) -> "Detector":
    from tests.scripted_detector import ScriptedDetector

    class SlowDetector(ScriptedDetector):
        def predict(self, clip: Any, tasks: Any, state: Any = None) -> Any:
            time.sleep(SECONDS_PER_FRAME * clip.shape[0])
            return super().predict(clip, tasks, state)

    return SlowDetector()


def main() -> None:
    """As `tubedet.__main__.main`, with a pipeline that loads the slow detector."""
    heed_signals()
    try:
        from tubedet import pipeline
        from tubedet.cli.app import main as run

        pipeline.load_detector = load_slow_detector
        run()
    except KeyboardInterrupt:
        ignore_signals()
        raise SystemExit(exit_code_of_signal()) from None


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__":  # what a worker's process knows of its parent's program
    from tubedet import pipeline

    pipeline.load_detector = load_slow_detector
