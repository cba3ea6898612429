"""`tubedet detect FOLDER -o OUTPUT --ray ADDRESS --workers N` without a network, as a process:

    SECONDS_PER_FRAME=0.1 python -m tests.cluster_program FOLDER OUTPUT ADDRESS N

Without an address it is run in this process. Everything but the detector is the real thing; PART_S
in the environment says how long the parts of long videos are. A video
whose name begins with "hog" takes memory without end at the first attempt, one with "wolf" always.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import typer

from tests.scripted_detector import ScriptedDetector
from tubedet.batch import cluster as cluster_of_ray
from tubedet.batch.earlier_results import Existing
from tubedet.batch.many_videos import NewWork
from tubedet.cli.app import with_exit_codes
from tubedet.cli.signals import heed_signals
from tubedet.cli.video_command import VideoCommand
from tubedet.run.detection import DetectionWork
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.jobs import VideoJob
from tubedet.run.plan import RunPlan

PIECE = 64 << 20
MOST = 12 << 30  # then nobody has stopped it


@dataclass(frozen=True)
class LoadSlowDetector:
    """Implements `tubedet.batch.worker.Load`; can be sent to a task."""

    seconds_per_frame: float

    def __call__(self, device: str, told: Callable[[str], None]) -> NewWork:
        seconds = self.seconds_per_frame

        class SlowDetector(ScriptedDetector):
            def predict(self, clip: Any, tasks: Any, state: Any = None) -> Any:
                time.sleep(seconds * clip.shape[0])
                return super().predict(clip, tasks, state)

        def new_work(job: VideoJob, earlier: EarlierRows | None) -> DetectionWork:
            take_memory(job)
            return DetectionWork(SlowDetector(), RunPlan(), earlier=earlier)

        return new_work


def take_memory(job: VideoJob) -> None:
    """What a video that is too large does to its worker."""
    first = job.source.with_name(f".{job.stem}.tried")
    if not job.stem.startswith(("hog", "wolf")) or (first.exists() and job.stem[0] == "h"):
        return
    first.touch()
    taken: list[bytes] = []
    while len(taken) * PIECE < MOST:
        taken.append(b"\1" * PIECE)
        time.sleep(0.02)
    raise AssertionError("nobody stopped it")


@with_exit_codes
def detect(folder: str, output: str, address: str | None, workers: int | None) -> None:
    """What `tubedet detect` does, with the slow detector."""
    VideoCommand(
        videos=[folder],
        output=output,
        kind="boxes",
        formats=("mp4", "csv"),
        existing=Existing(),
        name=None,
        video_stream=None,
        device="cpu",
        include=(),
        exclude=(),
        workers=workers,
        ray=address,
        fail_fast=False,
        strict=False,
        quiet=False,
        debug=False,
    ).run(LoadSlowDetector(float(os.environ.get("SECONDS_PER_FRAME", "0"))))


def main(arguments: Sequence[str]) -> None:
    """See the module."""
    heed_signals()
    cluster_of_ray.PART_S = float(os.environ.get("PART_S", cluster_of_ray.PART_S))
    folder, output, *cluster = arguments
    address, workers = (cluster[0], int(cluster[1])) if cluster else (None, None)
    try:
        detect(folder, output, address, workers)
    except typer.Exit as end:
        raise SystemExit(end.exit_code) from None


if __name__ == "__main__":
    # Under its own name, which is what a task can import.
    from tests.cluster_program import main as run

    run(sys.argv[1:])
