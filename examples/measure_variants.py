"""The same clips at other frame rates and sizes, and backwards: what of the answers changes.

    python examples/measure_variants.py jhmdb-21:FOLDER [--part validation] [--weights CHECKPOINT]

Rates are counted from 30 frames a second: every second frame, and twice as many by motion
compensation (FFmpeg's minterpolate). Judged are frames of the given clips that every variant has.
The last lines say how often a box is named by each of two actions that are each other's reverse.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import av
import numpy as np
from av.filter import Graph
from av.video.format import VideoFormat
from numpy.typing import NDArray

from tubedet.datasets.annotated_clips import (
    AnnotatedClip,
    AnnotatedDataset,
    BoxXyxy,
    LabelledBox,
)
from tubedet.datasets.clip_frames import decode_clip
from tubedet.datasets.named_datasets import load_named_dataset
from tubedet.evaluation.evaluate import detect_rows
from tubedet.evaluation.frame_outcomes import FrameOutcome, frame_outcomes
from tubedet.pipeline import load_detector

RATE = 30
STEP = 2  # every second frame is judged: those that half the rate leaves
REVERSIBLE = ("sit", "stand")

Frames = NDArray[np.uint8]
"""(T, H, W, 3) RGB."""


@dataclass(frozen=True, slots=True)
class Variant:
    """How clips are changed.

    Attributes:
        name: in the table.
        rate: frames a second of the changed video.
        frames: of a clip's frames those to begin with.
        filters: of FFmpeg, name and arguments, that are applied to them.
        place: where the frame with a number is, of so many frames; of judged ones alone.
    """

    name: str
    rate: int
    frames: Callable[[Frames], Frames]
    filters: tuple[tuple[str, str], ...]
    place: Callable[[int, int], int]


VARIANTS = (
    Variant("as it is", RATE, lambda rgb: rgb, (), lambda at, _: at),
    Variant("15 frames/s", RATE // 2, lambda rgb: rgb[::STEP], (), lambda at, _: at // STEP),
    Variant(
        "60 frames/s",
        2 * RATE,
        lambda rgb: rgb,
        (("minterpolate", f"fps={2 * RATE}:scd=none"),),
        lambda at, _: 2 * at,
    ),
    Variant("320x240", RATE, lambda rgb: rgb, (("scale", "320:240"),), lambda at, _: at),
    Variant("1280x720", RATE, lambda rgb: rgb, (("scale", "1280:720"),), lambda at, _: at),
    Variant("backwards", RATE, lambda rgb: rgb[::-1], (), lambda at, count: count - 1 - at),
)


def filtered(frames: Frames, filters: Sequence[tuple[str, str]]) -> Iterator[av.VideoFrame]:
    """What FFmpeg makes of pictures at `RATE`; it ends with the last of them."""
    height, width = frames.shape[1:3]
    graph = Graph()
    graph.threads = 1
    time_base = Fraction(1, RATE)
    source = graph.add_buffer(
        width=width, height=height, format=VideoFormat("rgb24"), time_base=time_base
    )
    steps = [graph.add(*each) for each in filters]
    graph.link_nodes(source, *steps, graph.add("buffersink")).configure()
    for number, rgb in enumerate([*frames, None]):
        if rgb is not None:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
            picture.pts, picture.time_base = number, time_base
        graph.vpush(picture if rgb is not None else None)
        with suppress(av.BlockingIOError, av.EOFError):
            while True:
                yield graph.vpull()


def write(variant: Variant, clip: AnnotatedClip, path: Path) -> AnnotatedClip:
    """Write a clip's variant; the clip with its path and the boxes of its judged frames."""
    given = variant.frames(decode_clip(clip))
    count = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=variant.rate)
        for picture in filtered(given, variant.filters):
            if not count:
                stream.width, stream.height, stream.pix_fmt = picture.width, picture.height, "bgr0"
            kept = picture.reformat(format="bgr0")
            kept.pts, kept.time_base = count, Fraction(1, variant.rate)
            container.mux(stream.encode(kept))
            count += 1
        container.mux(stream.encode(None))
    width, height = stream.width, stream.height
    boxes: list[tuple[LabelledBox, ...]] = [()] * count
    # The last frames are left out: motion compensation has none behind them.
    for at in range(0, clip.frames - 2 * STEP, STEP):
        boxes[variant.place(at, clip.frames)] = tuple(
            box._replace(box_xyxy=scaled(box.box_xyxy, width / clip.width, height / clip.height))
            for box in clip.boxes_by_frame[at]
        )
    return replace(clip, path=path, width=width, height=height, boxes_by_frame=tuple(boxes))


def scaled(box_xyxy: BoxXyxy, x: float, y: float) -> BoxXyxy:
    """A box in px of a frame that is x times as wide and y times as high."""
    x1, y1, x2, y2 = box_xyxy
    return x1 * x, y1 * y, x2 * x, y2 * y


def variant_of(data: AnnotatedDataset, variant: Variant, folder: Path) -> AnnotatedDataset:
    """All clips of the data as a variant, written into a folder."""
    clips = (
        write(variant, clip, folder / f"{number}.mkv") for number, clip in enumerate(data.clips)
    )
    return replace(data, clips=tuple(clips))


def share_named(outcomes: Sequence[FrameOutcome], action: int, label: str) -> float:
    """Of the boxes found in frames of an action the share with a label, in percent."""
    named = [o.found.label == label for o in outcomes if o.found and is_of(o, action)]
    return 100 * float(np.mean(named)) if named else 0.0


def is_of(outcome: FrameOutcome, action: int) -> bool:
    """Whether the frame shows the action."""
    return any(box.class_index == action for box in outcome.truth)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write each variant, run it, and print a table, in percent."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", help="NAME:PATH")
    parser.add_argument("--part", default="validation")
    parser.add_argument("--weights", help="checkpoint file or name; the bundled one by default")
    options = parser.parse_args(arguments)
    detector = load_detector(options.weights)
    data = load_named_dataset(options.data, 1, options.part)
    print(f"{data.name}, {data.part}: {len(data.clips)} clips, {data.frames} frames")
    print(f"{'':14}{'frames':>8}{'box right':>11}{'name right':>12}{'both':>8}")
    judged: dict[str, list[FrameOutcome]] = {}
    for variant in VARIANTS:
        with TemporaryDirectory() as folder:
            changed = variant_of(data, variant, Path(folder))
            outcomes = list(frame_outcomes(detect_rows(detector, changed), changed))
        judged[variant.name] = outcomes
        names = [o.found is not None and is_of(o, o.found.class_index) for o in outcomes]
        shares = [[o.box_right for o in outcomes], names, [o.action_right for o in outcomes]]
        box, name, both = (100 * float(np.mean(share)) for share in shares)
        print(f"{variant.name:14}{len(outcomes):8}{box:11.1f}{name:12.1f}{both:8.1f}", flush=True)
    for label in REVERSIBLE:
        if label in data.class_names:
            action = data.class_names.index(label)
            for way in ("as it is", "backwards"):
                shares_of = [f"{share_named(judged[way], action, n):.0f} % {n}" for n in REVERSIBLE]
                print(f"{label}, {way}: {', '.join(shares_of)}")


if __name__ == "__main__":
    main()
