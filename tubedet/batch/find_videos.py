"""Which videos files, folders and patterns of images stand for, and under which names."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType

from tubedet.batch.folder_search import FolderSearch, some_of
from tubedet.batch.manifest import MANIFEST
from tubedet.batch.own_names import (
    FoundVideo,
    checked_stem,
    own_stems,
    own_video_names,
    same_name,
    shortened,
)
from tubedet.batch.wanted import ALL_WANTED, Wanted
from tubedet.errors import UsageError
from tubedet.notes import Note
from tubedet.run.jobs import VideoJob
from tubedet.video.file_names import is_image_pattern

NO_NAMES: Mapping[Path, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """The videos, each once, in the order given and by name within a folder.

    Attributes:
        jobs: one for each video, with names of its own.
        left_out: what was passed over, a note for each kind; a loss where it could not be read.
        of_folders: some were found in folders, where later there may be more.
    """

    jobs: list[VideoJob]
    left_out: list[Note]
    of_folders: bool = False


def find_videos(
    inputs: Iterable[Path],
    output: Path,
    *,
    suffixes: Sequence[str],
    name: str | None = None,
    shown_as: Mapping[Path, str] = NO_NAMES,
    wanted: Wanted = ALL_WANTED,
) -> FoundVideos:
    """Find and name the videos of files and folders.

    A folder's tree is mirrored below `output`, see `FolderSearch`; a folder without videos stays
    as a job of its own, which fails. A file that is named itself is a video whatever its name, and
    a pattern such as folder/%05d.jpg one as the folder would be.

    Args:
        inputs: files, folders and patterns of images.
        output: where the results go.
        suffixes: of all files that a run over a video writes; "" for a folder called as the stem.
        name: stem of the results, for one video alone.
        shown_as: what messages call an input, instead of its path.
        wanted: which videos of folders are taken.

    Raises:
        UsageError: if results of two videos, or a result and a source, would be the same file,
            `name` does not name the results of one video, or there are videos, but all unwanted.
    """
    inputs = list(inputs)
    search = FolderSearch(output, wanted)
    found: dict[str, FoundVideo] = {}
    for given in inputs:
        for video in _videos_of(given, search, is_path=given not in shown_as):
            found.setdefault(_identity(video.source), video)
    videos = list(found.values())
    if not videos:
        raise UsageError(f"{inputs[0]}: --include and --exclude leave nothing of the videos there")
    stems = own_stems(videos) if name is None else [_stem_of_one(name, videos)]
    jobs = [
        VideoJob(
            source=video.source,
            video=video_name,
            folder=output.joinpath(*video.parents),
            stem=shortened(stem),
            place=PurePosixPath(*video.parents, shortened(stem)),
            shown_as=shown_as.get(video.source, ""),
        )
        for video, stem, video_name in zip(videos, stems, own_video_names(videos), strict=True)
    ]
    _refuse_shared_files(jobs, suffixes)
    of_folders = any(video.source not in inputs for video in videos)
    return FoundVideos(jobs, search.notes() + _notes_on_cut_names(jobs, stems), of_folders)


def _videos_of(given: Path, search: FolderSearch, *, is_path: bool) -> Iterator[FoundVideo]:
    """The videos of a file, folder or pattern."""
    if not is_path:
        yield FoundVideo(given, (given.name,), 1, given.stem, given.name)
    elif _is_folder(given):
        above = len(_parts(given))
        found = list(search.videos_in(given))
        for source in found or ([] if search.left_unwanted(given) else [given]):
            parts = _parts(source) or ("root",)
            is_folder = _is_folder(source)
            stem = parts[-1] if is_folder else source.stem
            yield FoundVideo(source, parts, max(1, len(parts) - above), stem, parts[-1])
    elif _is_pattern(given):
        parts = _parts(given.parent) or ("root",)
        full_name = f"{parts[-1]}-{given.name.replace('%', '')}"
        yield FoundVideo(given, parts, 1, parts[-1], full_name)
    else:
        parts = _parts(given)
        yield FoundVideo(given, parts, 1, given.stem, given.name)


def _parts(path: Path) -> tuple[str, ...]:
    """The names that lead to a path from the root."""
    return Path(os.path.normpath(path.absolute())).parts[1:]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # whoever opens it will say why
        return False


def _is_pattern(source: Path) -> bool:
    return is_image_pattern(source) and not os.path.lexists(source)


def _identity(source: Path) -> str:
    """The same for every way to write a path; links to a file are other files."""
    if _is_folder(source):
        return os.path.realpath(source)
    return str(Path(os.path.realpath(source.parent), source.name))


def _stem_of_one(name: str, videos: Sequence[FoundVideo]) -> str:
    if len(videos) != 1:
        raise UsageError(
            f"--name {name}: for the results of one video, but {len(videos)} are given"
        )
    return checked_stem(name)


def _refuse_shared_files(jobs: Sequence[VideoJob], suffixes: Sequence[str]) -> None:
    """Raise UsageError if two runs would write one file, or one would write over a source."""
    real_folder = cache(os.path.realpath)
    sources = {same_name(os.path.realpath(_files_of(job.source))): job for job in jobs}
    partial = [f".partial{suffix.removeprefix('.tubedet')}" for suffix in suffixes]
    writers: dict[str, VideoJob] = {}
    for job in jobs:
        for suffix in dict.fromkeys((*suffixes, *partial)):
            name = f"{job.stem}{suffix}"
            if same_name(name) == MANIFEST:
                raise UsageError(
                    f"{job.name}: its result would be called {name}, which tells what became of "
                    "all videos: choose other formats, or rename it"
                )
            file = same_name(str(Path(real_folder(job.folder), name)))
            if (other := writers.setdefault(file, job)) is not job:
                raise UsageError(
                    f"{other.name} and {job.name} would both write {job.folder / name}: "
                    "run them apart, each with its own -o"
                )
            if file in sources:
                raise UsageError(
                    f"{job.name}: its result {job.folder / name} would take the place of "
                    f"{sources[file].name}, which is to be read: choose another -o"
                )


def _files_of(source: Path) -> Path:
    return source.parent if _is_pattern(source) else source


def _notes_on_cut_names(jobs: Sequence[VideoJob], stems: Sequence[str]) -> list[Note]:
    cut = [job.stem for job, stem in zip(jobs, stems, strict=True) if job.stem != stem]
    names = "name was" if len(cut) == 1 else "names were"
    note = f"{len(cut)} {names} too long for files of results and cut to {some_of(cut, 3)}"
    return [Note(note)] if cut else []
