"""Action segments as WebVTT: subtitles that browsers show, `<track>` in a page.

Source: W3C, "WebVTT: The Web Video Text Tracks Format": a note ends at an empty line and holds no
arrow; &, < and > in a cue are escaped.
"""

from html import escape

from tubedet.writers.from_rows import FileFromRows, text_file
from tubedet.writers.row_store import RowStore
from tubedet.writers.run_meta import RunMeta
from tubedet.writers.subtitles import clock, cues_of


class VttWriter(FileFromRows):
    """STEM.vtt, with the meta in a note."""

    suffix = ".vtt"

    def save(self, rows: RowStore, meta: RunMeta) -> None:
        """Write a cue a segment."""
        note = meta.to_json(indent=None).replace(">", "\\u003e")  # as JSON spells it
        with text_file(self.path) as file:
            file.write(f"WEBVTT\n\nNOTE tubedet {note}\n\n")
            for cue in cues_of(rows, meta):
                span = f"{clock(cue.start_ms, '.')} --> {clock(cue.end_ms, '.')}"
                file.write(f"{span}\n{escape(cue.text, quote=False)} ({cue.tube})\n\n")
