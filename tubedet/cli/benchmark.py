"""`tubedet benchmark`: frames a second on this machine, as in the paper's Table IV."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tubedet.cli.console import say, show_table, with_bar
from tubedet.cli.detect_options import Compile
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.benchmark.throughput import Benchmark


def benchmark(
    video: Annotated[Path, Argument(help="Its first frames go through the whole pipeline.")],
    *,
    presets: Annotated[
        list[str] | None,
        Option("--preset", metavar="NAME", help="Repeatable.", show_default="all of them"),
    ] = None,
    json: Annotated[Path | None, Option(help="Write all figures to this file.")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, Option(help="auto, fp32, bf16, fp16.")] = "auto",
    compile: Compile = False,
    debug: Annotated[bool, Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Measure frames a second of the presets at batch 1 and 4 (Table IV).

    Network alone, and all from the file to the annotated MP4: medians of
    five rounds. All presets take some five minutes on two CPU cores.
    """
    from tubedet.benchmark.throughput import ROUNDS, Benchmark, benchmark_presets
    from tubedet.models.presets import PRESETS

    if unknown := sorted(set(presets or ()) - set(PRESETS)):
        raise UsageError(f"--preset {unknown[0]}: not one of {', '.join(PRESETS)}")
    chosen = presets or PRESETS
    events = benchmark_presets(video, chosen, device=device, precision=precision, compile=compile)
    total = len(chosen) * ROUNDS + 1  # the result is the last event
    *_, result = with_bar(events, "benchmark", total)
    assert isinstance(result, Benchmark)
    _show(result)
    if json is not None:
        from json import dumps

        from tubedet.evaluation.results_table import write_text

        write_text(json, dumps(result.to_dict(), indent=2) + "\n")


def _show(result: "Benchmark") -> None:
    peaks = ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in result.peaks.items())
    say(f"{result.processor}, {result.threads} threads, PyTorch {result.torch_version}")
    if result.memory_bytes is not None:
        say(f"{result.device_name}, {result.memory_bytes / 2**30:.0f} GiB")
    say(f"convolution peak of {result.device_name}: {peaks}")
    how = result.rows[0].detector.partition(" on ")[2]
    say(f"frames a second on {how}, medians of five rounds; pipeline: decode to annotated MP4")
    show_table(
        ("preset", "px", "weights", "batch", "network only", "pipeline"),
        [
            (
                row.preset,
                str(row.input_size),
                row.weights,
                str(row.batch_size),
                f"{row.network:.1f}",
                "needs flow images" if row.pipeline is None else f"{row.pipeline:.1f}",
            )
            for row in result.rows
        ],
    )
