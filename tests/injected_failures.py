"""Runs of the program that fail somewhere: `python -m tests.injected_failures VIDEO FOLDER NUMBER`.

Each is a child of this process, with everything loaded already. What fails, in which stage and at
which frame, is drawn with the number of the run as seed. A line of JSON says what became of it.
"""

import json
import os
import random
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.scripted_detector import ScriptedBox, ScriptedDetector
from tubedet import pipeline
from tubedet.__main__ import main
from tubedet.errors import UsageError, VideoError
from tubedet.render import annotate
from tubedet.run import detection
from tubedet.video.reader import VideoReader
from tubedet.writers.csv import CsvWriter

FRAMES = 40  # of the video
LONGEST_S = 60
STAGES = ("read", "network", "draw", "write")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_CODES = {
    "decode": 3,
    "out of memory": 2,
    "bug": 1,
    "disk full": 6,
    **{number.name: 128 + number for number in SIGNALS},
}


def fail(what: str) -> None:
    """In the thread of the stage that the failure was drawn for."""
    if what == "decode":
        raise VideoError("clip.mp4: a frame that cannot be decoded")
    if what == "out of memory":
        raise UsageError("out of memory with 1 pair at once; give a smaller --batch-size")
    if what == "bug":
        raise RuntimeError("a bug")
    if what == "disk full":
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1024, hard))  # no file can grow
    else:
        os.kill(os.getpid(), signal.Signals[what])


def inject(what: str, stage: str, at: int) -> None:
    """Let it happen when the stage has its frame number `at`."""
    seen = dict.fromkeys(STAGES, 0)

    def before(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any, **options: Any) -> Any:
            seen[name] += 1
            if (name, seen[name]) == (stage, at):
                fail(what)
            return real(*given, **options)

        return wrapped

    VideoReader._rgb = before("read", VideoReader._rgb)  # type: ignore[method-assign]
    CsvWriter.write = before("write", CsvWriter.write)  # type: ignore[method-assign]
    vars(detection)["annotate"] = before("draw", annotate.annotate)
    detector = ScriptedDetector(script=[[ScriptedBox(0.2, 0.2, 0.6, 0.6)]] * FRAMES)
    detector.predict = before("network", detector.predict)  # type: ignore[method-assign]
    pipeline.load_detector = lambda *_, **__: detector


def drawn(number: int) -> tuple[str, str, int]:
    """What fails in this run, where, and at which frame of the stage."""
    draw = random.Random(number)
    what = draw.choice(list(EXIT_CODES))
    stage = {"decode": "read", "out of memory": "network"}.get(what) or draw.choice(STAGES)
    return what, stage, draw.randint(1, FRAMES - 1)


def run(video: Path, folder: Path, number: int) -> dict[str, Any]:
    """One child, and what is seen of it from outside."""
    what, stage, at = drawn(number)
    told = folder / f"{number}.stderr"
    child = os.fork()
    if child == 0:
        code: object = None
        try:
            with told.open("w") as stderr, Path(os.devnull).open("w") as nothing:
                os.dup2(stderr.fileno(), 2)
                os.dup2(nothing.fileno(), 1)
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # which the shell's `&` has ignored
            inject(what, stage, at)
            sys.argv = ["tubedet", "detect", str(video), "-o", str(folder / str(number))]
            main()
        except SystemExit as end:
            code = end.code
        left = [thread.name for thread in threading.enumerate() if thread.name != "MainThread"]
        os._exit(99 if left else code if isinstance(code, int) else 98)
    deadline = time.monotonic() + LONGEST_S
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    outputs = sorted(path.name for path in (folder / str(number)).glob("*"))
    return {
        "failure": f"{what} in {stage} at {at}",
        "expected": EXIT_CODES[what],
        "found": os.waitstatus_to_exitcode(ended[1]),
        "stderr": told.read_text(),
        "outputs": outputs,
    }


if __name__ == "__main__":
    for each in range(int(sys.argv[3])):
        print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]), each)), flush=True)
