"""Which formats there are, for each kind of result."""

from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from tubedet.errors import UsageError
from tubedet.writers.ava import AvaWriter
from tubedet.writers.brox_images import BroxImageWriter
from tubedet.writers.coco import CocoWriter
from tubedet.writers.csv import CsvWriter
from tubedet.writers.cvat import CvatWriter
from tubedet.writers.flo import FloWriter
from tubedet.writers.html import HtmlWriter
from tubedet.writers.json import JsonWriter
from tubedet.writers.jsonl import JsonlWriter
from tubedet.writers.label_studio import LabelStudioWriter
from tubedet.writers.mot import MotWriter
from tubedet.writers.mp4 import FlowMp4Writer, Mp4Writer
from tubedet.writers.parquet import ParquetWriter
from tubedet.writers.segments import SegmentsWriter
from tubedet.writers.srt import SrtWriter
from tubedet.writers.vtt import VttWriter
from tubedet.writers.writer import Writer
from tubedet.writers.yolo import YoloWriter

Kind: TypeAlias = Literal["boxes", "flow"]

WRITERS: Mapping[Kind, Mapping[str, type[Writer]]] = {
    "boxes": {
        "mp4": Mp4Writer,
        "csv": CsvWriter,
        "json": JsonWriter,
        "jsonl": JsonlWriter,
        "segments": SegmentsWriter,
        "html": HtmlWriter,
        "parquet": ParquetWriter,
        "coco": CocoWriter,
        "cvat": CvatWriter,
        "mot": MotWriter,
        "ava": AvaWriter,
        "yolo": YoloWriter,
        "label-studio": LabelStudioWriter,
        "srt": SrtWriter,
        "vtt": VttWriter,
    },
    "flow": {"mp4": FlowMp4Writer, "flo": FloWriter, "brox": BroxImageWriter},
}
META_SUFFIXES: Mapping[Kind, str] = {"boxes": ".meta.json", "flow": ".flow.meta.json"}
ROW_FORMATS = ("csv", "jsonl", "json")  # those that detections can be read from again
LINKED_FORMATS = ("segments", "srt", "vtt")  # of tubes alone


def choose_formats(kind: Kind, given: Iterable[str] | None, default: Iterable[str]) -> list[str]:
    """The formats of `-f csv -f mp4,json`, each once.

    Raises:
        UsageError: if none is named, or there is none of that name.
    """
    names = [name for text in given or default for name in text.lower().replace(",", " ").split()]
    if not names:
        raise UsageError(f"expected a format, found none: choose from {', '.join(WRITERS[kind])}")
    for name in names:
        writer_class(kind, name)
    return list(dict.fromkeys(names))


def writer_class(kind: Kind, name: str) -> type[Writer]:
    """The writers of a format; UsageError if there is none of that name."""
    if name not in WRITERS[kind]:
        raise UsageError(f"unknown format '{name}': choose from {', '.join(WRITERS[kind])}")
    return WRITERS[kind][name]


def output_suffixes(kind: Kind, formats: Iterable[str]) -> list[str]:
    """How the names of all outputs of a run end, the meta's last; "" is a folder."""
    suffixes = [writer_class(kind, name).suffix for name in formats]
    return list(dict.fromkeys((*suffixes, META_SUFFIXES[kind])))
