"""What earlier runs have left where the results of a video will go, and what that leaves to do."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tubedet.errors import OutputError, UsageError
from tubedet.notes import Note
from tubedet.run.earlier_rows import EarlierRows
from tubedet.run.jobs import VideoJob
from tubedet.run.video_run import asked_for
from tubedet.run.work import Work
from tubedet.writers.formats import META_SUFFIXES, writer_class
from tubedet.writers.partial_results import Results, partial_results
from tubedet.writers.target import partial_path
from tubedet.writers.writer import Writer


@dataclass(frozen=True, slots=True, kw_only=True)
class Existing:
    """What may be done with results that are there already.

    Attributes:
        overwrite: they are replaced.
        skip: videos whose results are whole, of the same source, weights and settings, are left
            out; other results of tubedet's are replaced.
        resume: as `skip`, and what an interrupted run has left is gone on from; where that has
            other settings it is an error, or with `skip` the video is begun anew.
    """

    overwrite: bool = False
    skip: bool = False
    resume: bool = False


GO_ON = Existing(skip=True, resume=True)  # what a job does of itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """What is left to do of a video.

    Attributes:
        formats: to be written; none where all is there.
        earlier: rows that are taken over.
        overwrite: outputs may be replaced: all, or those of some formats.
        notes: why a partial result is not gone on from.
    """

    formats: tuple[str, ...]
    earlier: EarlierRows | None = None
    overwrite: bool | frozenset[str] = False
    notes: tuple[Note, ...] = ()


def what_is_left(
    job: VideoJob, work: Work, formats: Sequence[str], existing: Existing, *, begun: bool = False
) -> Todo:
    """Compare what is there with what a run would make.

    A format can be added to a whole result of the same source, weights and settings; its rows are
    then taken over, if a format that has them is there.

    Args:
        job: the video.
        work: what is made of it.
        formats: that are asked for.
        existing: what may be done with results.
        begun: the run has begun: results that are just as wanted come from another run beside it.

    Raises:
        OutputError: if outputs are in the way.
        UsageError: if a partial result has other settings than the run that should go on from it.
    """
    if existing.overwrite:
        return Todo(formats=tuple(formats), overwrite=True)
    asked, may_replace = asked_for(job, work), existing.skip or existing.resume
    results = Results.read(work.kind, job.folder / f"{job.stem}{META_SUFFIXES[work.kind]}")
    differences = results.meta.differences(asked) if results else []
    same = results is not None and results.meta.complete and not differences
    edited = set(filter(results.is_edited, results.meta.outputs)) if results else set()
    missing = [
        name
        for name in formats
        if not (results and same and (results.path(name) or name in edited))
    ]
    ours = set(results.meta.outputs) - edited if results and may_replace else set()
    _refuse_in_the_way(job, work, [name for name in missing if name not in ours])
    if results and not same and not may_replace:
        raise OutputError(
            f"{results.meta_path}: tells of a run with other settings ({'; '.join(differences)}); "
            "give --overwrite or another -o"
        )
    if not missing:
        if not (may_replace or begun):
            _refuse_in_the_way(job, work, formats)
        return Todo(formats=())
    earlier = None
    if work.kind == "boxes" and results and same:
        earlier = EarlierRows.of(results)
    if earlier is None and work.kind == "boxes" and existing.resume:
        earlier = _gone_on_from(job, work, asked, must_fit=not existing.skip)
    left = partial_path(job.folder, job.stem, META_SUFFIXES[work.kind], 1)
    notes: tuple[Note, ...] = ()
    if existing.resume and work.kind == "boxes" and earlier is None and left.exists():
        reason = "its rows do not fit, or are not there as they were left"
        notes = (Note(f"{left.name}: {reason}, so the video is begun anew"),)
    replaced = frozenset(ours & set(missing))
    return Todo(formats=tuple(missing), earlier=earlier, overwrite=replaced or False, notes=notes)


def _refuse_in_the_way(job: VideoJob, work: Work, formats: Iterable[str]) -> None:
    classes = [writer_class(work.kind, name) for name in formats]
    finals = [(each, job.folder / f"{job.stem}{each.suffix}") for each in classes]
    taken = [file for each, final in finals for file in each.files_of(final)[:1]]
    meta_path = job.folder / f"{job.stem}{META_SUFFIXES[work.kind]}"
    if Writer.files_of(meta_path) and Results.read(work.kind, meta_path) is None:
        taken.append(meta_path)
    if taken:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise OutputError(
            f"{taken[0]}: exists already{more}; give --overwrite, --skip-existing or another -o"
        )


def _gone_on_from(
    job: VideoJob, work: Work, asked: dict[str, object], *, must_fit: bool
) -> EarlierRows | None:
    """The rows of the longest partial result that fits; None if this video has none."""
    of_this_video = [
        each
        for each in partial_results(work.kind, job.folder, job.stem)
        if dict(each.meta.source) == asked["source"]
    ]
    longest_first = sorted(of_this_video, key=lambda each: -each.meta.processed_frames)
    runtime = dict(work.runtime)
    fitting = [
        each
        for each in longest_first
        if not each.meta.differences(asked) and dict(each.meta.runtime) == runtime
    ]
    if not fitting and of_this_video and must_fit:
        first = longest_first[0].meta
        differences = first.differences(asked) or [f"{dict(first.runtime)} made it, not {runtime}"]
        raise UsageError(
            f"{longest_first[0].meta_path}: cannot be gone on from, since "
            f"{'; '.join(differences)}; give what it was made with, or leave --resume out"
        )
    return next(filter(None, map(EarlierRows.of, fitting)), None)
