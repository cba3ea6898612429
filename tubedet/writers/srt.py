"""Action segments as SubRip: what players show beside a video."""

from tubedet.writers.from_rows import FileFromRows, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.subtitles import clock, cues_of


class SrtWriter(FileFromRows):
    """STEM.srt; it can hold no provenance, and no sign of its own but the arrow, which is cut."""

    suffix = ".srt"

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write a numbered cue a segment."""
        with text_file(self.path) as file:
            for number, cue in enumerate(cues_of(rows, meta), start=1):
                span = f"{clock(cue.start_ms, ',')} --> {clock(cue.end_ms, ',')}"
                text = cue.text.replace("-->", "->")
                file.write(f"{number}\n{span}\n{text} ({cue.tube})\n\n")
