"""The optical flow of many videos, one after the other; one that fails doesn't stop the others."""

from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path

from tubedet.batch.many_videos import Event, check_readable, find_jobs, process_each
from tubedet.errors import OutputError, UsageError, WeightsError
from tubedet.flow_pipeline import process_flow
from tubedet.runtime.torch_flow import TorchFlow
from tubedet.video_run import VideoJob
from tubedet.writers.flow_writer import existing_flow, flow_output_paths


def find_flow_jobs(inputs: Iterable[Path], output: Path, formats: Sequence[str]) -> list[VideoJob]:
    """As `find_jobs`, for the formats of `FLOW_WRITERS`."""
    return find_jobs(inputs, output, formats, flow_output_paths)


def refuse_existing_flow(jobs: Sequence[VideoJob], formats: Sequence[str]) -> None:
    """Raise OutputError if any output of any video exists; other formats beside it may."""
    existing = [path for job in jobs for path in existing_flow(formats, job.folder, job.stem)]
    if existing:
        more = f" (and {len(existing) - 1} more outputs)" if len(existing) > 1 else ""
        raise OutputError(f"{existing[0]}: exists already{more}; give --overwrite or another -o")


def process_flows(
    jobs: Sequence[VideoJob],
    estimator: TorchFlow,
    formats: Sequence[str],
    *,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Event]:
    """Write the flow of every video, over outputs that exist, and say what happens.

    Args:
        jobs: from `find_flow_jobs`.
        estimator: used for all.
        formats: names of `FLOW_WRITERS`.
        stop: asked after every frame; once it is true, the video at work is closed as partial
            outputs and no other begins.

    Raises:
        WeightsError, UsageError: what is wrong with the network or the formats is wrong for all.
    """

    def process(job: VideoJob) -> Generator[Event]:
        check_readable(job)
        yield from process_flow(job, estimator, formats, stop=stop)

    yield from process_each(jobs, process, (WeightsError, UsageError), stop)
