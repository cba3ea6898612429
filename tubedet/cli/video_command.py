"""What `tubedet detect` and `tubedet flow` share: from inputs and options to a run over videos."""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tubedet.cli.batch_run import refuse_empty_names, run_batch, stdin_as_file
from tubedet.cli.console import RunView, mention
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.batch.earlier_results import Existing
    from tubedet.batch.worker import Load
    from tubedet.run.events import Event
    from tubedet.run.jobs import VideoJob
    from tubedet.run.stop import StopRequest
    from tubedet.writers.formats import Kind


FILE_SUFFIXES = {".mp4", ".csv", ".json", ".jsonl", ".flo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCommand:
    """A command over videos, as its options say it.

    Attributes:
        videos: files, folders, patterns of images, or "-"; or addresses of these.
        output: folder of the results.
        kind: of the results; `formats` are of that kind.
        existing: what may be done with results that are there.
        name: stem of the results of an only video.
        video_stream: number of the video stream, from 1.
        device: of the network, as `load_detector` takes it.
        include, exclude: see `Wanted`.
        workers: so many videos at a time; None for one, or on Ray for what there is room for.
        ray: address of a Ray cluster, see `process_on_ray`; None for this machine.
        fail_fast: the first failure ends the run.
        rows_to: stream of JSON lines instead of files.
        spreadsheet_safe: text that looks like a formula is marked in CSV.
        strict: loss of any kind is a failure.
        quiet, debug: see `RunView`.
    """

    videos: Sequence[str]
    output: str
    kind: "Kind"
    formats: Sequence[str]
    existing: "Existing"
    name: str | None
    video_stream: int | None
    device: str
    include: Sequence[str]
    exclude: Sequence[str]
    workers: int | None
    ray: str | None
    fail_fast: bool
    rows_to: TextIO | None = None
    spreadsheet_safe: bool = False
    strict: bool
    quiet: bool
    debug: bool

    def run(self, load: "Load") -> None:
        """Find the videos, load the network and process them; errors as `run_batch`.

        Videos of folders, or several, are a job: it goes on where an earlier one has ended, unless
        the options say otherwise, and a manifest tells what became of each.
        """
        from tubedet.batch.earlier_results import GO_ON, Existing
        from tubedet.batch.find_videos import find_videos
        from tubedet.batch.manifest import MANIFEST, Manifest
        from tubedet.batch.many_videos import check_readable
        from tubedet.batch.remote_videos import RemoteTree
        from tubedet.batch.wanted import Wanted
        from tubedet.writers.formats import output_suffixes

        refuse_empty_names((*self.videos, self.output))
        refuse_file_name(self.output)
        suffixes = () if self.rows_to else output_suffixes(self.kind, self.formats)
        with (
            RemoteTree() as remote,
            remote.mirror.named(),
            stdin_as_file(remote.inputs(self.videos)) as inputs,
        ):
            folder = remote.output(self.output)
            found = find_videos(
                inputs,
                folder,
                suffixes=suffixes,
                name=self.name,
                shown_as={path: name for path, name in inputs.items() if name},
                wanted=Wanted(self.include, self.exclude),
            )
            found = remote.located(found)
            several = found.of_folders or len(found.jobs) > 1
            is_job = self.rows_to is None and several
            if not several and not found.left_out:
                # A mistyped name should not wait for the network.
                check_readable(found.jobs[0], self.video_stream)
            existing = GO_ON if is_job and self.existing == Existing() else self.existing
            process = self._process_with(load, found.jobs, existing, is_job=is_job)
            if is_job:
                remote.fetch(folder / MANIFEST)
            manifest = Manifest(folder, self.kind) if is_job else None
            view = RunView(
                quiet=self.quiet,
                on_stderr=self.rows_to is not None,
                debug=self.debug,
                finds_boxes=self.kind == "boxes",
                is_job=is_job,
            )

            def events_of(stop: "StopRequest") -> "Generator[Event]":
                if manifest is None:
                    return process(stop)
                view.note_left_out(remote.mirror.notes_as_addresses(manifest.notes))
                places = map(remote.shown, inputs)
                recorded = manifest.recorded(found.jobs, places, process(stop))
                return remote.kept(manifest.path, recorded)

            run_batch(events_of, view, found, strict=self.strict, fail_fast=self.fail_fast)

    def _process_with(
        self, load: "Load", jobs: "Sequence[VideoJob]", existing: "Existing", *, is_job: bool
    ) -> "Callable[[StopRequest], Generator[Event]]":
        """What processes the videos, in this process or in others.

        Raises:
            OutputError: if outputs are in the way.
            TubedetError: from `load`.
        """
        from tubedet.batch.earlier_results import GO_ON
        from tubedet.batch.manifest import network_loaded
        from tubedet.batch.many_videos import Batch, process_videos, refuse_existing
        from tubedet.batch.worker import WorkerSetup

        told: Callable[[str], None] = (lambda _: None) if self.quiet else mention
        workers = min(self.workers or 1, len(jobs))
        setup = WorkerSetup(
            load=load,
            device=self.device,
            workers=workers,
            kind=self.kind,
            formats=tuple(self.formats),
            existing=existing,
            spreadsheet_safe=self.spreadsheet_safe,
        )
        if self.ray is not None:
            from tubedet.batch.cluster import process_on_ray
            from tubedet.batch.cluster_connection import Cluster

            cluster = Cluster(self.ray, at_most=self.workers, with_logs=self.debug)
            return lambda stop: process_on_ray(jobs, setup, stop, told, cluster)
        if workers > 1:
            from tubedet.batch.workers import process_in_workers

            return lambda stop: process_in_workers(jobs, setup, stop, told)
        batch = Batch(
            jobs=jobs,
            new_work=load(self.device, told),
            formats=self.formats,
            existing=existing,
            rows_to=self.rows_to,
            spreadsheet_safe=self.spreadsheet_safe,
            needs_room=is_job,
        )
        if existing != GO_ON:
            refuse_existing(batch)

        def process(stop: "StopRequest") -> "Generator[Event]":
            yield network_loaded(jobs[0], batch.new_work(jobs[0], None))
            yield from process_videos(batch, stop)

        return process


def refuse_file_name(output: str) -> None:
    """Raise UsageError if `-o` names what will hardly be a folder."""
    folder = Path(output)
    if folder.suffix.lower() in FILE_SUFFIXES and not folder.exists():
        raise UsageError(
            f"-o {output}: expected a folder, found the name of a file; --name names the results "
            "in it"
        )


def refuse_addresses(videos: Sequence[str]) -> None:
    """Raise UsageError for streams, which only `tubedet detect --live` can open."""
    from tubedet.video.live_address import live_source_of

    for text in videos:
        source = live_source_of(text)
        if source is not None and not source.is_pipe and not Path(text).exists():
            raise UsageError(f"{source.name}: expected a file; tubedet detect --live reads streams")


def refuse_both(given: dict[str, bool]) -> None:
    """Raise UsageError if more than one of these options is given."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} contradict each other: leave one out")
