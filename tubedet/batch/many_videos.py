"""Many videos one after the other: which ones, under which names, and what became of each.

A video that fails doesn't stop the others. Nothing is printed: events tell what happens.
"""

import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from tubedet.batch.existing_outputs import are_whole, exists
from tubedet.errors import OutputError, UsageError, VideoError, WeightsError
from tubedet.pipeline import process_video
from tubedet.runtime.detector import Detector
from tubedet.video.reader import VIDEO_SUFFIXES, VideoReader
from tubedet.video_run import FrameDone, RunPlan, VideoDone, VideoJob
from tubedet.writers.output_set import output_paths


@dataclass(frozen=True, slots=True)
class VideoStarted:
    """Work on a video begins; `number` counts from 1 to `of`."""

    job: VideoJob
    number: int
    of: int


@dataclass(frozen=True, slots=True)
class VideoSkipped:
    """Every requested output of the video is whole already."""

    job: VideoJob


@dataclass(frozen=True, slots=True)
class VideoFailed:
    """The video has no outputs, and why; the others go on."""

    job: VideoJob
    error: Exception


OutputPaths = Callable[[Sequence[str], Path, str], list[Path]]  # of formats, a folder, a stem
Event = VideoStarted | FrameDone | VideoDone | VideoSkipped | VideoFailed


def find_jobs(
    inputs: Iterable[Path],
    output: Path,
    formats: Sequence[str] | None,
    outputs_of: OutputPaths = output_paths,
) -> list[VideoJob]:
    """The videos of files and folders, each once, in the order given and by name within a folder.

    A folder's tree is mirrored below `output`. Hidden files, `*.tubedet.*`, `*.flow.*`,
    `*.partial.*` and the output folder itself are left out. Videos that would share an output file
    keep their extension in its name; a folder without videos stays as a job of its own, which
    fails.

    Args:
        inputs: files and folders.
        output: where the results go.
        formats: names of `WRITERS`; None if no file is written, and rows of all videos meet in one
            stream. There, videos of one name are called by their whole path.
        outputs_of: where outputs of the formats end.

    Raises:
        UsageError: if two videos would still write the same file, or there is no such format.
    """
    jobs: dict[Path, VideoJob] = {}
    for given in inputs:
        for source, relative in _videos_of(given, output):
            job = VideoJob(source, _readable(relative), output / relative.parent, relative.stem)
            jobs.setdefault(source.parent.resolve() / source.name, job)
    found = list(jobs.values())
    return (
        _with_own_names(found)
        if formats is None
        else _with_own_stems(found, lambda job: outputs_of(formats, job.folder, job.stem))
    )


def refuse_existing(jobs: Sequence[VideoJob], formats: Sequence[str]) -> None:
    """Find out that outputs are in the way before hours of work, not after.

    Raises:
        OutputError: if any output of any video exists.
        UsageError: if there is no such format.
    """
    existing = [path for job in jobs for path in _outputs(job, formats) if exists(path)]
    if existing:
        more = f" (and {len(existing) - 1} more)" if len(existing) > 1 else ""
        raise OutputError(
            f"{existing[0]}: exists already{more}; give --overwrite, --skip-existing or another -o"
        )


def check_readable(job: VideoJob) -> None:
    """Raise VideoError if the source is no video, or a folder without any."""
    if job.source.is_dir():
        raise VideoError(f"{job.source}: holds no video that its name tells; name files singly")
    VideoReader(job.source).close()


def process_videos(
    jobs: Sequence[VideoJob],
    detector: Detector,
    plan: RunPlan,
    formats: Sequence[str],
    *,
    skip_existing: bool = False,
    rows_to: TextIO | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[Event]:
    """Detect in every video, over outputs that exist, and say what happens.

    Args:
        jobs: from `find_jobs`.
        detector: used for all.
        plan: what of each video is processed.
        formats: names of `WRITERS`.
        skip_existing: leave out videos whose outputs are all whole and made with these weights.
        rows_to: as `process_video`.
        stop: asked after every frame; once it is true, the video at work is closed as partial
            files and no other begins.

    Raises:
        WeightsError, UsageError: what is wrong with the detector or the plan is wrong for all.
        OutputError: if `rows_to` is closed.
    """

    def process(job: VideoJob) -> Generator[Event]:
        if skip_existing and are_whole(_outputs(job, formats), detector.weights_sha256):
            yield VideoSkipped(job)
            return
        check_readable(job)
        yield from process_video(job, detector, plan, formats, rows_to=rows_to, stop=stop)

    wrong_for_all = (WeightsError, UsageError, *([OutputError] if rows_to else []))
    yield from process_each(jobs, process, wrong_for_all, stop)


def process_each(
    jobs: Sequence[VideoJob],
    process: Callable[[VideoJob], Generator[Event]],
    wrong_for_all: tuple[type[Exception], ...],
    stop: Callable[[], bool],
) -> Generator[Event]:
    """Do the same with every video, and go on when one fails, unless that is `wrong_for_all`."""
    for number, job in enumerate(jobs, start=1):
        if stop():
            return
        yield VideoStarted(job, number, len(jobs))
        try:
            yield from process(job)
        except wrong_for_all:
            raise
        except Exception as error:  # even a bug met by one video should spare the others
            yield VideoFailed(job, error)


def _outputs(job: VideoJob, formats: Sequence[str]) -> list[Path]:
    return output_paths(formats, job.folder, job.stem)


def _videos_of(given: Path, output: Path) -> Iterator[tuple[Path, Path]]:
    """The videos of a file or folder: their path, and the same relative to the folder."""
    found = [(path, path.relative_to(given)) for path in _walk(given, output.resolve())]
    yield from found or [(given, Path(given.name))]


def _walk(folder: Path, output: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        here = Path(parent)
        folders[:] = sorted(
            name for name in folders if name[0] != "." and (here / name).resolve() != output
        )
        yield from (here / name for name in sorted(files) if _is_video_name(name))


def _is_video_name(name: str) -> bool:
    path = Path(name.lower())
    ours = path.stem.endswith((".tubedet", ".flow", ".partial"))
    return path.suffix in VIDEO_SUFFIXES and not ours and name[0] != "."


def _with_own_stems(
    jobs: list[VideoJob], outputs_of: Callable[[VideoJob], list[Path]]
) -> list[VideoJob]:
    """Give the extension back to every video that would share an output file with another."""

    def places(job: VideoJob) -> list[tuple[Path, str]]:
        # Many file systems do not tell case apart.
        return [(path.parent, path.name.casefold()) for path in outputs_of(job)]

    while True:  # a name that is given back may be in the way of one that was free
        crowd = Counter(place for job in jobs for place in places(job))
        shares = [any(crowd[place] > 1 for place in places(job)) for job in jobs]
        apart = [
            replace(job, stem=job.source.name) if in_the_way else job
            for job, in_the_way in zip(jobs, shares, strict=True)
        ]
        if apart == jobs:
            break
        jobs = apart
    _refuse_shared_outputs(jobs, outputs_of)
    return jobs


def _refuse_shared_outputs(
    jobs: list[VideoJob], outputs_of: Callable[[VideoJob], list[Path]]
) -> None:
    owners: dict[Path, VideoJob] = {}
    for job in jobs:
        for path in outputs_of(job):
            if (other := owners.setdefault(path, job)) is not job:
                raise UsageError(
                    f"{other.source} and {job.source} would both write {path}: "
                    "run them apart, each with its own -o"
                )


def _with_own_names(jobs: list[VideoJob]) -> list[VideoJob]:
    """Call every video that shares its name with another by its path as it was given."""
    crowd = Counter(job.video for job in jobs)
    return [
        replace(job, video=_readable(job.source)) if crowd[job.video] > 1 else job for job in jobs
    ]


def _readable(path: Path) -> str:
    """A path as text that any file can hold: `/` between folders, no bytes outside UTF-8."""
    return os.fsencode(path.as_posix()).decode("utf-8", "replace")
