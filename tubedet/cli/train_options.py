"""What can be said to `tubedet train` and `tubedet pretrain-flow`, one name an option."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Option

from tubedet.cli.console import complain, show_table
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.training.settings import Setting

RECIPE_PANEL, START, DATA = "Recipe", "Start weights", "Data"


class Part(StrEnum):
    """Clips to learn from; `trainval` leaves none to choose the best weights by."""

    TRAIN = "train"
    TRAINVAL = "trainval"


Data = Annotated[
    str, Option("--data", metavar="NAME:PATH", help="Such as jhmdb-21:FOLDER.", show_default=False)
]
RunFolder = Annotated[
    Path, Option("--output", "-o", metavar="RUN", help="Folder of the run, made if absent.")
]
Split = Annotated[int, Option(help="Split of the data set.", rich_help_panel=DATA)]
LearnFrom = Annotated[
    Part,
    Option(
        "--part",
        help="Without the validation clips, or with them: then the last weights are kept.",
        rich_help_panel=DATA,
    ),
]
FramesFolder = Annotated[
    Path | None,
    Option(help="Keep decoded frames here, for this run and others.", rich_help_panel=DATA),
]
IgnoreRegions = Annotated[
    Path | None,
    Option(
        metavar="JSON",
        help="Regions with people whom nobody labelled.",
        rich_help_panel=DATA,
    ),
]
FlowImages = Annotated[
    Path | None,
    Option(
        metavar="FOLDER",
        help="Stored flow for the brox preset: FOLDER/<video>/<frame>.jpg, as tubedet flow -f brox "
        "writes it.",
        rich_help_panel=DATA,
    ),
]
Recipe = Annotated[
    str | None,
    Option(
        help="Numbers to start from: light, two-stream for any network of the paper, a row of its "
        "Table II such as tuned-flownet2-sd+kinetics, or kinetics-pretraining.",
        show_default="light",
        is_eager=True,
        rich_help_panel=RECIPE_PANEL,
    ),
]
Preset = Annotated[
    str | None,
    Option(
        help="The network, without a recipe: light's, or two-stream with this preset.",
        show_default="light",
        is_eager=True,
        rich_help_panel=RECIPE_PANEL,
    ),
]
Settings = Annotated[
    list[str] | None,
    Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a number of the recipe; repeatable.",
        rich_help_panel=RECIPE_PANEL,
    ),
]
Seed = Annotated[
    int | None, Option(help="Of everything random.", show_default="0", rich_help_panel=RECIPE_PANEL)
]
Init = Annotated[
    list[Path] | None,
    Option(
        metavar="FILE",
        help="A checkpoint, for everything; or weights without a head, imported or of "
        "kinetics-pretraining, repeatable: each part comes from the first that has it.",
        rich_help_panel=START,
    ),
]
VideoBackbone = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="MoViNet-A0-Stream for TensorFlow Lite (Kinetics-600, int8), or what tubedet weights "
        "import made of it, for light.",
        rich_help_panel=START,
    ),
]
Flow = Annotated[
    Path | None,
    Option(
        metavar="FILE",
        help="RUN/best.safetensors of pretrain-flow, for the flow network.",
        rich_help_panel=START,
    ),
]
Resume = Annotated[
    bool,
    Option(
        "--resume",
        help="Go on from the last saved state of RUN, with its settings; --set changes them.",
    ),
]
LoaderWorkers = Annotated[
    int | None,
    Option(
        min=0,
        metavar="N",
        help="Processes that make batches, for each process that trains; 0: none.",
        show_default="on a GPU all processors but one, at most 8; else 1",
    ),
]
DryRun = Annotated[
    bool,
    Option(
        "--dry-run",
        help="Load everything, take two steps, report memory and how long an epoch and the run "
        "will take, leave nothing in RUN.",
    ),
]
TensorBoard = Annotated[
    bool,
    Option("--tensorboard", help="Log to RUN/tensorboard too; needs the extra 'train'."),
]
Device = Annotated[str, Option(help="auto, cpu, cuda, mps.")]
Debug = Annotated[bool, Option("--debug", help="Show where an error arose.")]


def list_settings(explain: "Callable[..., list[Setting]]") -> object:
    """The option `--list-settings`: shows what `explain` says of `recipe=` and `preset=`, and no
    more is done.
    """

    def show(context: typer.Context, wanted: bool) -> None:
        if wanted:
            given = {name: context.params.get(name) for name in ("recipe", "preset")}
            try:
                settings = explain(**given)
            except UsageError as error:
                complain(str(error))
                raise typer.Exit(error.exit_code) from error
            show_table(("setting", "value", "meaning"), settings)
            raise typer.Exit

    return Option(
        "--list-settings",
        callback=show,  # after what is eager, and before what is required is missed
        help="Show the recipe and leave.",
        rich_help_panel=RECIPE_PANEL,
    )
