"""What can be said to `tubedet detect`, one name an option."""

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

OUTPUT, RANGE, NETWORK, BOXES, MESSAGES = "Output", "Range", "Network", "Boxes", "Messages"
FOLDERS = "Folders and several videos"
DEFAULT_FOLDER = "tubedet-output"

Videos = Annotated[
    list[str],
    Argument(
        metavar="VIDEO|FOLDER",
        help="Video files, folders that are searched for videos, folders or patterns of images "
        "(frames/%05d.jpg), addresses of these elsewhere (s3://bucket/folder), or - for a video "
        "on stdin; with --live a camera or the address of a stream.",
    ),
]

OutputFolder = Annotated[
    str | None,
    Option(
        "--output",
        "-o",
        metavar="FOLDER",
        help="Where the results go, made if absent, or an address such as s3://bucket/results; - "
        "for JSON lines on stdout.",
        show_default=DEFAULT_FOLDER,
        rich_help_panel=OUTPUT,
    ),
]
Formats = Annotated[
    list[str] | None,
    Option(
        "--format",
        "-f",
        metavar="FORMAT",
        help="mp4, csv, html, json, jsonl, parquet, coco, cvat, mot, ava, yolo, label-studio; "
        "or of linked boxes segments, srt, vtt; repeatable, or with commas.",
        show_default="mp4 and csv",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[
    bool, Option("--overwrite", help="Replace existing results.", rich_help_panel=OUTPUT)
]
SkipExisting = Annotated[
    bool,
    Option(
        "--skip-existing",
        help="Leave out videos whose results are all there, whole, and made of the same file with "
        "the same weights and settings; make others anew. Over folders or several videos this, and "
        "going on from what was interrupted, is what happens anyway.",
        rich_help_panel=OUTPUT,
    ),
]
Resume = Annotated[
    bool,
    Option(
        "--resume",
        help="Go on from what an interrupted run with the same settings left; otherwise as "
        "--skip-existing.",
        rich_help_panel=OUTPUT,
    ),
]
Include = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN",
        help="Of the videos in folders take only those whose path below the folder fits, or whose "
        "name, or a folder's on the way there: '*.mp4', cam1, 'cam1/*_l.*'; * stands for / too, "
        "case doesn't count; repeatable.",
        show_default="all",
        rich_help_panel=FOLDERS,
    ),
]
Exclude = Annotated[
    list[str] | None,
    Option(
        metavar="PATTERN",
        help="Leave out videos and folders that fit, which wins over --include; repeatable.",
        rich_help_panel=FOLDERS,
    ),
]
Workers = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        help="Process N videos at a time, with a network each: one for each GPU, or on a CPU for "
        "each pair of cores, which they share.",
        show_default="1; with --ray as many as there is room for",
        rich_help_panel=FOLDERS,
    ),
]
Ray = Annotated[
    str | None,
    Option(
        metavar="ADDRESS|local",
        help="Process the videos on a Ray cluster, on one of whose nodes this is run: HOST:PORT of "
        "its head, auto for the one that runs here, or local for one that is started here; takes "
        "tubedet[cluster].",
        rich_help_panel=FOLDERS,
    ),
]
FailFast = Annotated[
    bool,
    Option(
        "--fail-fast",
        help="End with the first video that fails; what the others at work have is kept.",
        rich_help_panel=FOLDERS,
    ),
]
Name = Annotated[
    str | None,
    Option(
        metavar="NAME",
        help="First part of the results' names, for one video alone.",
        rich_help_panel=OUTPUT,
    ),
]
SpreadsheetSafe = Annotated[
    bool,
    Option(
        "--spreadsheet-safe",
        help="Put an apostrophe before CSV cells that a spreadsheet would run as a formula.",
        rich_help_panel=OUTPUT,
    ),
]
Strict = Annotated[
    bool,
    Option(
        "--strict",
        help="Fail (exit code 3, 7 for several videos) if anything of a source was lost.",
        rich_help_panel=MESSAGES,
    ),
]

Start = Annotated[
    str | None,
    Option(
        metavar="MOMENT",
        help="Begin here: 12.5 (seconds), 300f (frame) or 00:01:02.500, from the first frame on.",
        rich_help_panel=RANGE,
    ),
]
End = Annotated[
    str | None, Option(metavar="MOMENT", help="End before this moment.", rich_help_panel=RANGE)
]
Duration = Annotated[
    str | None,
    Option(
        metavar="LENGTH", help="End so long after --start, written like it.", rich_help_panel=RANGE
    ),
]
Stride = Annotated[
    int,
    Option(
        min=1,
        metavar="N",
        help="Detect every N-th frame; the MP4 keeps them all and shows the last box faintly.",
        rich_help_panel=RANGE,
    ),
]
MaxFrames = Annotated[
    int | None,
    Option(min=1, metavar="N", help="Process at most N frames.", rich_help_panel=RANGE),
]

VideoStream = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        help="The N-th video stream of a file that has several.",
        show_default="the one that players show",
        rich_help_panel=RANGE,
    ),
]

Weights = Annotated[
    str | None,
    Option(
        metavar="NAME|FILE",
        help="A name from `tubedet weights list`, or a checkpoint file.",
        show_default="the bundled one",
        rich_help_panel=NETWORK,
    ),
]
Device = Annotated[
    str,
    Option(
        metavar="DEVICE",
        help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one.",
        rich_help_panel=NETWORK,
    ),
]
Precision = Annotated[
    str,
    Option(
        metavar="PRECISION",
        help="fp32, bf16, fp16; auto takes what suits network and device.",
        rich_help_panel=NETWORK,
    ),
]
Compile = Annotated[
    bool,
    Option(
        "--compile",
        help="Compile the network before its first frame, which takes a while, for long runs; "
        "needs a C++ compiler on a CPU, Triton on CUDA.",
        rich_help_panel=NETWORK,
    ),
]
Runtime = Annotated[
    str,
    Option(
        envvar="TUBEDET_RUNTIME",
        metavar="RUNTIME",
        help="torch; or onnx, on a CPU, if ONNX Runtime is installed (the extra onnx); auto takes "
        "what is quicker: onnx for light, where that can be.",
        rich_help_panel=NETWORK,
    ),
]
LATENCY_HELP = (
    "half-second; or none, for live use: nothing behind a frame has a say in its boxes, which are "
    "not smoothed. Only for light: the paper's presets have none."
)
Latency = Annotated[str, Option(metavar="LATENCY", help=LATENCY_HELP, rich_help_panel=NETWORK)]
LatencyOrDefault = Annotated[
    str | None,
    Option(
        metavar="LATENCY",
        help=LATENCY_HELP,
        show_default="half-second, with --live none",
        rich_help_panel=NETWORK,
    ),
]
BatchSize = Annotated[
    int,
    Option(
        min=1,
        metavar="N",
        help="Frames that go through the network together; 1 is online, as in the paper.",
        rich_help_panel=NETWORK,
    ),
]
FlowImages = Annotated[
    Path | None,
    Option(
        metavar="FOLDER",
        help="For the brox preset: what `tubedet flow -f brox -o FOLDER` wrote of the same videos.",
        rich_help_panel=NETWORK,
    ),
]

MinScore = Annotated[
    float | None,
    Option(
        min=0,
        max=1,
        metavar="SCORE",
        help="Report boxes with at least this score.",
        show_default="the weights' own",
        rich_help_panel=BOXES,
    ),
]
Classes = Annotated[
    list[str] | None,
    Option(
        "--class",
        metavar="NAME",
        help="Report only boxes of this class, which stay as they are; repeatable.",
        show_default="all",
        rich_help_panel=BOXES,
    ),
]
MaxBoxes = Annotated[
    int | None,
    Option(
        min=1,
        metavar="N",
        help="Report the N best boxes of a frame.",
        show_default="1",
        rich_help_panel=BOXES,
    ),
]
AllBoxes = Annotated[
    bool,
    Option("--all-boxes", help="Report all boxes that are not suppressed.", rich_help_panel=BOXES),
]
NmsIou = Annotated[
    float,
    Option(
        min=0,
        max=1,
        metavar="IOU",
        help="Suppress a box that overlaps a better one of its class by more than this.",
        rich_help_panel=BOXES,
    ),
]

Link = Annotated[
    bool,
    Option(
        "--link/--no-link",
        help="Link boxes over time into numbered tubes, whose action is that of all their boxes.",
        rich_help_panel=BOXES,
    ),
]

NoSmoothing = Annotated[
    bool,
    Option(
        "--no-smoothing",
        help="Leave boxes as the network has them; otherwise those of light are steadied over "
        "time. The paper's presets are never smoothed.",
        rich_help_panel=BOXES,
    ),
]
Cuts = Annotated[
    bool,
    Option(
        "--cuts",
        help="Look for cuts, across which no frame is paired; for light they always are.",
        rich_help_panel=NETWORK,
    ),
]

Quiet = Annotated[
    bool, Option("--quiet", "-q", help="Show nothing but errors.", rich_help_panel=MESSAGES)
]
Debug = Annotated[
    bool, Option("--debug", help="Show where an error comes from.", rich_help_panel=MESSAGES)
]
