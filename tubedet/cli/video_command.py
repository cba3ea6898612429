"""What `tubedet detect` and `tubedet flow` share: from inputs and options to a run over videos."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from tubedet.cli.batch_run import refuse_empty_names, run_batch, stdin_as_file
from tubedet.cli.console import RunView
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.batch.earlier_results import Existing
    from tubedet.batch.many_videos import NewWork
    from tubedet.writers.formats import Kind


FILE_SUFFIXES = {".mp4", ".csv", ".json", ".jsonl", ".flo"}


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoCommand:
    """A command over videos, as its options say it.

    Attributes:
        videos: files, folders, patterns of images, or "-".
        output: folder of the results.
        kind: of the results; `formats` are of that kind.
        existing: what may be done with results that are there.
        name: stem of the results of an only video.
        video_stream: number of the video stream, from 1.
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
    rows_to: TextIO | None = None
    spreadsheet_safe: bool = False
    strict: bool
    quiet: bool
    debug: bool

    def run(self, load: Callable[[], "NewWork"]) -> None:
        """Find the videos, load the network and process them; errors as `run_batch`.

        Args:
            load: the network, from which it makes the work of each video.
        """
        from tubedet.batch.find_videos import find_videos
        from tubedet.batch.many_videos import Batch, check_readable, refuse_existing
        from tubedet.writers.formats import output_suffixes

        refuse_empty_names((*self.videos, self.output))
        folder = Path(self.output)
        if folder.suffix.lower() in FILE_SUFFIXES and not folder.exists():
            raise UsageError(
                f"-o {self.output}: expected a folder, found the name of a file; --name names "
                "the results in it"
            )
        suffixes = () if self.rows_to else output_suffixes(self.kind, self.formats)
        with stdin_as_file(self.videos) as inputs:
            shown_as = {path: name for path, name in inputs.items() if name}
            found = find_videos(
                inputs, folder, suffixes=suffixes, name=self.name, shown_as=shown_as
            )
            if len(found.jobs) == 1 and not found.left_out:
                # A mistyped name should not wait for the network.
                check_readable(found.jobs[0], self.video_stream)
            batch = Batch(
                jobs=found.jobs,
                new_work=load(),
                formats=self.formats,
                existing=self.existing,
                rows_to=self.rows_to,
                spreadsheet_safe=self.spreadsheet_safe,
            )
            refuse_existing(batch)
            view = RunView(
                quiet=self.quiet,
                on_stderr=self.rows_to is not None,
                debug=self.debug,
                finds_boxes=self.kind == "boxes",
            )
            run_batch(batch, view, found, strict=self.strict)


def refuse_both(given: dict[str, bool]) -> None:
    """Raise UsageError if more than one of these options is given."""
    names = [name for name, is_given in given.items() if is_given]
    if len(names) > 1:
        raise UsageError(f"{' and '.join(names)} contradict each other: leave one out")
