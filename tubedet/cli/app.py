"""The `tubedet` program: its commands, and what a failure looks like from outside.

No command imports a heavy library before it runs, so `tubedet --help` answers at once.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps
from io import TextIOWrapper
from signal import SIGINT
from typing import Annotated, ParamSpec

import typer

from tubedet import __version__
from tubedet.cli.benchmark import benchmark
from tubedet.cli.console import complain, drop_unwritten, explain, say, show_traceback
from tubedet.cli.convert import convert
from tubedet.cli.data import anchors, check, data_app
from tubedet.cli.detect import detect
from tubedet.cli.doctor import doctor
from tubedet.cli.evaluate import evaluate
from tubedet.cli.evaluate_curve import evaluate_curve
from tubedet.cli.evaluate_flow import evaluate_flow
from tubedet.cli.evaluate_table import evaluate_table
from tubedet.cli.experiment import experiment_app, table2
from tubedet.cli.flow import flow
from tubedet.cli.index import index
from tubedet.cli.pretrain_flow import pretrain_flow
from tubedet.cli.sheet import sheet
from tubedet.cli.signals import exit_code_of_signal, heed_signals, ignore_signals
from tubedet.cli.status import status
from tubedet.cli.train import train
from tubedet.cli.weights import list_weights, show_weights, verify_weights
from tubedet.cli.weights_import import export, import_
from tubedet.errors import TubedetError

Params = ParamSpec("Params")

app = typer.Typer(
    name="tubedet",
    help="Find actions in videos: what is done, where in every frame, and when.",
    epilog="Exit codes: 0 done, 1 bug, 2 usage, 3 video, 4 weights, 5 data, 6 output, "
    "7 some videos of several failed; 128 + its number for a signal: 130 Ctrl-C, 143, 129.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
weights_app = typer.Typer(
    no_args_is_help=True, help="Checkpoints: what there is, published ones in and out."
)


def main() -> None:
    """Run the program and leave with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file name may hold what the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    heed_signals()
    code: str | int | None = 0
    try:
        app(prog_name="tubedet")
    except SystemExit as end:
        # typer's word for every signal that comes before the command itself begins
        code = exit_code_of_signal() if end.code == 128 + SIGINT else end.code
    finally:
        ignore_signals()
    drop_unwritten()
    if isinstance(code, int) and _a_source_hangs():
        os._exit(code)
    sys.exit(code)


def _a_source_hangs() -> bool:
    feed = sys.modules.get("tubedet.video.live_feed")  # which takes long to import
    return feed is not None and feed.is_reading()


def with_exit_codes(command: Callable[Params, None]) -> Callable[Params, None]:
    """Turn whatever a command raises into one line on stderr and the exit code it stands for."""

    @wraps(command)
    def run(*args: Params.args, **kwargs: Params.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except typer.Exit:
            raise
        except KeyboardInterrupt:
            complain("interrupted")
            raise typer.Exit(exit_code_of_signal()) from None
        except Exception as error:
            if kwargs.get("debug"):
                show_traceback(error)
            complain(explain(error, offer_debug=kwargs.get("debug") is False))
            code = error.exit_code if isinstance(error, TubedetError) else TubedetError.exit_code
            raise typer.Exit(code) from error

    return run


@with_exit_codes
def _show_version(wanted: bool) -> None:
    if wanted:
        say(f"tubedet {__version__}")
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    pass


@weights_app.callback()
def _weights() -> None:
    pass


app.command("detect")(with_exit_codes(detect))
app.command("flow")(with_exit_codes(flow))
app.command("convert")(with_exit_codes(convert))
app.command("index")(with_exit_codes(index))
app.command("sheet")(with_exit_codes(sheet))
app.command("status")(with_exit_codes(status))
app.command("evaluate")(with_exit_codes(evaluate))
app.command("evaluate-curve")(with_exit_codes(evaluate_curve))
app.command("evaluate-table")(with_exit_codes(evaluate_table))
app.command("evaluate-flow")(with_exit_codes(evaluate_flow))
app.command("benchmark")(with_exit_codes(benchmark))
app.command("doctor")(with_exit_codes(doctor))
app.command("train")(with_exit_codes(train))
app.command("pretrain-flow")(with_exit_codes(pretrain_flow))
app.add_typer(experiment_app, name="experiment")
experiment_app.command("table2")(with_exit_codes(table2))
app.add_typer(data_app, name="data")
data_app.command("check")(with_exit_codes(check))
data_app.command("anchors")(with_exit_codes(anchors))
app.add_typer(weights_app, name="weights")
weights_app.command("list")(with_exit_codes(list_weights))
weights_app.command("show")(with_exit_codes(show_weights))
weights_app.command("verify")(with_exit_codes(verify_weights))
weights_app.command("import")(with_exit_codes(import_))
weights_app.command("export")(with_exit_codes(export))
