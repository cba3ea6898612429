"""`tubedet benchmark`: frames a second on this machine, as in the paper's Table IV, and why."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tubedet.cli.console import say, show_table, with_bar
from tubedet.cli.detect_options import Compile, Runtime
from tubedet.cli.output_file import refuse_absent_folder
from tubedet.cli.video_command import refuse_addresses
from tubedet.errors import UsageError

if TYPE_CHECKING:
    from tubedet.benchmark.preset_figures import FrameCost
    from tubedet.benchmark.rounds import Benchmark
    from tubedet.benchmark.throughput import Throughput

PAPER = "paper, Titan X"


def benchmark(
    video: Annotated[
        str, Argument(metavar="VIDEO", help="Its first frames go through the whole pipeline.")
    ],
    *,
    presets: Annotated[
        list[str] | None,
        Option("--preset", metavar="NAME", help="Repeatable.", show_default="all of them"),
    ] = None,
    json: Annotated[Path | None, Option(help="Write all figures to this file.")] = None,
    plot: Annotated[Path | None, Option(help="Draw the stages of a run (PNG).")] = None,
    device: Annotated[str, Option(help="auto, cpu, cuda, mps.")] = "auto",
    precision: Annotated[str, Option(help="auto, fp32, bf16, fp16.")] = "auto",
    runtime: Runtime = "auto",
    compile: Compile = False,
    debug: Annotated[bool, Option("--debug", help="Show where an error arose.")] = False,
) -> None:
    """Measure frames a second of the presets at batch 1 and 4 (Table IV).

    Network alone, and all from the file to the annotated MP4; then where a
    frame's time goes, and how near the machine's limit that is: medians of
    five rounds. All presets take some five minutes on two CPU cores.
    """
    from tubedet.benchmark.rounds import ROUNDS, Benchmark, benchmark_presets
    from tubedet.evaluation.plots import require_matplotlib
    from tubedet.models.presets import PRESETS

    refuse_addresses([video])
    chosen = presets or PRESETS
    if unknown := sorted(set(chosen) - set(PRESETS)):
        raise UsageError(f"--preset {unknown[0]}: not one of {', '.join(PRESETS)}")
    for output in filter(None, (json, plot)):
        refuse_absent_folder(output)
    if plot is not None:
        require_matplotlib()
        if set(chosen) == {"brox"}:
            raise UsageError("--plot: brox needs flow images and has no stages; add a preset")
    events = benchmark_presets(
        Path(video), chosen, device=device, precision=precision, compile=compile, runtime=runtime
    )
    total = len(chosen) * ROUNDS + 1  # the result is the last event
    *_, result = with_bar(events, "benchmark", total)
    assert isinstance(result, Benchmark)
    _show_machine(result)
    _show_speed(result)
    _show_limits(result)
    _show_stages(result)
    if json is not None:
        from json import dumps

        from tubedet.evaluation.results_table import write_text

        write_text(json, dumps(result.to_dict(), indent=2) + "\n")
    if plot is not None:
        _draw(result, plot)


def _show_machine(result: "Benchmark") -> None:
    peaks = ", ".join(f"{peak:.0f} GFLOP/s in {name}" for name, peak in result.peaks.items())
    say(f"{result.processor}, {result.threads} threads, PyTorch {result.torch_version}")
    if result.memory_bytes is not None:
        say(f"{result.device_name}, {result.memory_bytes / 2**30:.0f} GiB")
    say(f"convolution peak of {result.device_name}: {peaks}")
    say(f"its memory: {result.memory_gb_per_s:.1f} GB/s while it is copied")


def _show_speed(result: "Benchmark") -> None:
    say("")
    say(f"frames a second on {result.device}, medians of five rounds")
    say("pipeline: decode to annotated MP4, for which brox needs flow images")
    measured = map(_speed_row, result.rows)
    paper = ((PAPER, "320", "SD", "", str(n), f"{fps:.1f}", "") for n, fps in _paper().items())
    headings = ("preset", "px", "weights", "in", "batch", "network only", "pipeline")
    show_table(headings, [*measured, *paper])


def _speed_row(row: "Throughput") -> tuple[str, ...]:
    pipeline = "-" if row.pipeline is None else f"{row.pipeline:.1f}"
    px, batch, how = str(row.input_size), str(row.batch_size), row.detector.partition(" in ")[2]
    return row.preset, px, row.weights, how, batch, f"{row.network:.1f}", pipeline


def _show_limits(result: "Benchmark") -> None:
    say("at batch 1, of peak: the network alone, of the convolution peak")
    say("overlap: the pipeline over max(slowest stage, processor time / threads), at best 1")
    say("delay: how long boxes wait for later frames; memory: at most, up to the MP4")
    memory = {row.preset: row.memory_bytes for row in result.rows if row.batch_size == 1}
    show_table(
        ("preset", "GFLOP", "of peak", "overlap", "delay", "memory"),
        [
            (
                cost.preset,
                f"{cost.gflop:.1f}",
                "-" if cost.of_peak is None else f"{100 * cost.of_peak:.0f} %",
                "-" if cost.overlap is None else f"{cost.overlap:.2f}",
                f"{cost.delay_frames} frames, {cost.delay_s:.2f} s",
                _megabytes(memory[cost.preset]),
            )
            for cost in result.costs
        ],
    )


def _megabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.0f} MB"


def _show_stages(result: "Benchmark") -> None:
    from tubedet.benchmark.stages import STAGES

    costs = [cost for cost in result.costs if cost.stages]
    if not costs:
        return
    say("ms a frame at batch 1, each stage by itself, and its share")
    times = [{of.stage: _time(of.ms, of.share) for of in cost.stages} for cost in costs]
    rows = [(stage, *(of_preset.get(stage, "-") for of_preset in times)) for stage in STAGES]
    sums = (_time(_whole(cost), 1.0) for cost in costs)
    show_table(("stage", *(cost.preset for cost in costs)), [*rows, ("sum", *sums)])


def _time(ms: float, share: float) -> str:
    return f"{ms:7.1f} {share:4.0%}"


def _whole(cost: "FrameCost") -> float:
    return sum(each.ms for each in cost.stages)


def _draw(result: "Benchmark", path: Path) -> None:
    """A bar a preset, with lines at what its pipeline takes and the paper's network took."""
    from tubedet.benchmark.stages import STAGES
    from tubedet.evaluation.plots import plot_stages

    pipelines = {row.preset: row.pipeline for row in result.rows if row.batch_size == 1}
    paper = {f"{PAPER}, batch {batch}": 1000 / fps for batch, fps in _paper().items()}
    stages: dict[str, dict[str, float]] = {}
    marks: dict[str, dict[str, float]] = {}
    for cost in result.costs:
        if fps := pipelines[cost.preset]:
            title = f"{cost.preset}: {_whole(cost):.1f} ms in turn, {1000 / fps:.1f} in a pipeline"
            stages[title] = dict.fromkeys(STAGES, 0.0) | {of.stage: of.ms for of in cost.stages}
            marks[title] = {"pipeline": 1000 / fps} | paper
    plot_stages(stages, marks, path)


def _paper() -> dict[int, float]:
    """Frames a second of the paper's quickest network, with FlowNet2-SD, by batch size."""
    from tubedet.evaluation.published import TABLE_4

    *_, quickest = TABLE_4
    both = {1: quickest.batch_1, 4: quickest.batch_4}
    return {batch: fps for batch, fps in both.items() if fps is not None}
