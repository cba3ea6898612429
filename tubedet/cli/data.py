"""`tubedet data`: look at a data set before training on it."""

from typing import Annotated

import typer

from tubedet.cli.console import complain, say, show_table, with_bar
from tubedet.errors import DatasetError

data_app = typer.Typer(
    no_args_is_help=True, help="Data sets: what is wrong, and which anchors fit."
)

Data = Annotated[str, typer.Argument(metavar="NAME:PATH", help="Such as folder:MY_VIDEOS.")]
Split = Annotated[int, typer.Option(help="Split of the data set.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]


def check(data: Data, *, split: Split = 1, debug: Debug = False) -> None:
    """Find what is wrong with a data set; exit code 5 if anything is.

    Unreadable videos, boxes far outside their frame, misspelt labels, sources
    on both sides of a division; and how often classes occur. What is merely
    odd, and was put right or left out, is named and counted too.
    """
    from tubedet.datasets.soundness import ClassCount, Problem, check_dataset
    from tubedet.notes import Note

    events = list(with_bar(check_dataset(data, split), "looking"))
    notes = [event.text for event in events if isinstance(event, Note)]
    problems = [event.text for event in events if isinstance(event, Problem)]
    for line in (*notes, *problems):
        complain(line)
    counts = [event for event in events if isinstance(event, ClassCount)]
    show_table(
        ("part", "class", "clips", "boxes"),
        [(each.part, each.label, str(each.clips), str(each.boxes)) for each in counts],
    )
    if problems:
        raise DatasetError(f"{data}: {len(problems)} problems; mend them before training on it")
    odd = f"; put right or left out, as named above: {len(notes)}" if notes else ""
    say(f"{data}: nothing wrong was found{odd}")


def anchors(
    data: Data,
    *,
    split: Split = 1,
    part: Annotated[str, typer.Option(help="Whose boxes.")] = "train",
    input_size: Annotated[int, typer.Option(help="Side of the network's input, px.")] = 320,
    number: Annotated[int, typer.Option(min=1, help="How many anchors.")] = 5,
    debug: Debug = False,
) -> None:
    """Anchors that fit the boxes of a data set: k-means on IoU, beside those of YOLOv2 on VOC.

    In grid cells of 32 px. `tubedet train` finds those of its data by itself.
    """
    from tubedet.datasets.anchor_clusters import box_sizes, cluster_anchors, mean_best_iou
    from tubedet.datasets.named_datasets import load_named_dataset
    from tubedet.models.presets import OUTPUT_STRIDE
    from tubedet.models.yolov2.anchors import VOC_2016

    sizes = box_sizes(
        load_named_dataset(data, split, part, require_videos=False), input_size // OUTPUT_STRIDE
    )
    found = cluster_anchors(sizes, number).tolist()
    rows = (("k-means on this data", found), ("YOLOv2 on VOC, 2016", VOC_2016))
    show_table(
        ("anchors", "width,height in cells", "mean best IoU"),
        [
            (
                name,
                "  ".join(f"{width:.3f},{height:.3f}" for width, height in anchors_wh),
                f"{mean_best_iou(sizes, anchors_wh):.3f}",
            )
            for name, anchors_wh in rows
        ],
    )
    say(f"{len(sizes)} boxes of {data}, part {part}, at {input_size} px")
