"""The folder of a training run: what a killed run resumes from, and what people look at.

    last.safetensors    weights, averaged weights and optimiser state of the last saved step
    best.safetensors    a checkpoint for `tubedet detect`: averaged weights of the best validation,
                        or, where nothing is validated, of the last saved step
    log.jsonl           one JSON object an event
    config.json         recipe, network, data set, start weights
    loss.png            curves
    step-0000500.safetensors    the last few checkpoints, where the recipe keeps some

Every file is replaced whole: a full disk or a kill leaves the previous one. last.safetensors, which
can be several gigabytes, is written by a thread while training goes on; the others at once, so that
the state never claims a best checkpoint that is not there yet.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tubedet.checkpoints.run_state import read_run_state, write_run_state
from tubedet.errors import OutputError, WeightsError
from tubedet.evaluation.plots import require_matplotlib
from tubedet.training.background_writer import BackgroundWriter, copies_on_cpu
from tubedet.training.tensorboard_log import TensorBoardLog
from tubedet.whole_file import written_whole
from tubedet.writers.run_lock import RunLock


class RunFolder(AbstractContextManager["RunFolder"]):
    """Paths of a run and the writing of them.

    Use it as a context manager around training, or call `close` at its end: an error of the last
    `save_state` is raised there.

    Args:
        folder: made if absent.
        writes: whether this process is the one that writes; the others only read.
        tensorboard: log to `tensorboard/` in it too.

    Raises:
        OutputError: if the folder cannot be made or written.
        UsageError: if matplotlib, or TensorBoard that is asked for, is not installed.
    """

    def __init__(self, folder: Path, *, writes: bool = True, tensorboard: bool = False) -> None:
        self.folder, self.writes = folder, writes
        self._board = TensorBoardLog(folder / "tensorboard") if tensorboard and writes else None
        self._writer = BackgroundWriter()
        if not writes:
            return
        require_matplotlib()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make the run folder ({error})") from error

    def __exit__(self, *_: object) -> None:
        self.close()

    def sole_writer(self) -> AbstractContextManager[object]:
        """Nobody else trains in this folder; OutputError if somebody does."""
        return RunLock(self.folder / ".run.lock", self.folder) if self.writes else nullcontext()

    def close(self) -> None:
        """Wait until last.safetensors is written; OutputError as in `flush`."""
        self._writer.close()

    @property
    def last(self) -> Path:
        """State that `--resume` continues from."""
        return self.folder / "last.safetensors"

    @property
    def best(self) -> Path:
        """Checkpoint for use."""
        return self.folder / "best.safetensors"

    def kept(self, step: int) -> Path:
        """Checkpoint of a step, to be kept for a while."""
        return self.folder / f"step-{step:07}.safetensors"

    def keep_only(self, most: int) -> None:
        """Remove kept checkpoints but the newest `most`."""
        if self.writes:
            for path in sorted(self.folder.glob("step-*.safetensors"))[:-most]:
                path.unlink()

    @property
    def log(self) -> Path:
        """One JSON object a line."""
        return self.folder / "log.jsonl"

    @property
    def curves(self) -> Path:
        """The log as a picture."""
        return self.folder / "loss.png"

    @property
    def config(self) -> Path:
        """What is trained, on what, from what."""
        return self.folder / "config.json"

    def require_unused(self) -> None:
        """Raise OutputError if a run has saved something here that a new one would replace."""
        if self.last.exists() or self.best.exists():
            raise OutputError(
                f"{self.folder}: holds a run already; go on with --resume or choose another folder"
            )

    def write_config(self, config: dict[str, Any]) -> None:
        """Replace config.json."""
        text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        self.replace(self.config, lambda part: part.write_text(text, encoding="utf-8"))

    def read_config(self) -> dict[str, Any]:
        """The content of config.json; WeightsError if there is no run to go on with."""
        if not self.config.exists():
            raise WeightsError(f"{self.folder}: expected a run, found none; start without --resume")
        try:
            config: dict[str, Any] = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{self.config}: expected the settings of a run, found {error}; "
                "start without --resume"
            ) from error
        if not isinstance(config, dict) or not isinstance(config.get("recipe"), dict):
            raise WeightsError(
                f"{self.config}: expected the settings of a run, found other JSON; start without "
                "--resume"
            )
        return config

    def append(self, event: dict[str, Any]) -> None:
        """Add a line to the log."""
        if not self.writes:
            return
        try:
            with self.log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(event) + "\n")
        except OSError as error:
            raise OutputError(f"{self.log}: cannot be written ({error})") from error
        if self._board is not None:
            self._board.add(event)

    def events(self) -> Iterator[dict[str, Any]]:
        """The log so far; a line cut short by a kill is left out."""
        if not self.log.is_file():
            return
        for line in self.log.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                yield json.loads(line)

    def forget_after(self, step: int) -> None:
        """Drop what the log says of later steps: they will be taken again."""
        kept = [json.dumps(event) + "\n" for event in self.events() if event["step"] <= step]
        self.replace(self.log, lambda part: part.write_text("".join(kept), encoding="utf-8"))
        if self._board is not None:
            self._board.begin_after(step)

    def save_state(self, tensors: dict[str, Tensor], progress: dict[str, Any]) -> None:
        """Replace last.safetensors while the caller goes on.

        Returns once the tensors are copied: they may change from then on. One such copy is alive at
        most: a save waits for the one before it.

        Args:
            tensors: on any device.
            progress: plain JSON types.

        Raises:
            OutputError: if the save before this one failed; see `flush`.
        """
        if not self.writes:
            return
        self.flush()
        write = partial(
            write_run_state, tensors=copies_on_cpu(tensors), progress=deepcopy(progress)
        )
        self._writer.start(partial(self.replace, self.last, write))

    def flush(self) -> None:
        """Wait until last.safetensors is written; OutputError, once, if it could not be."""
        self._writer.finish()

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and progress of last.safetensors; WeightsError if it is absent or damaged."""
        self.flush()
        return read_run_state(self.last)

    def replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` fill a file beside `path`, which then takes its place."""
        if not self.writes:
            return
        with written_whole(path, remedy="make room, then continue with --resume") as pending:
            pending.touch()
            mode = pending.stat().st_mode
            write(pending)
            pending.chmod(mode)  # safetensors makes files that their owner alone can read


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str]
) -> dict[str, Tensor]:
    """The optimiser's state as named tensors: `<parameter>.<entry>`."""
    return {
        f"{name}.{entry}": value
        for parameter, name in names.items()
        for entry, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    optimizer: torch.optim.Optimizer, names: dict[nn.Parameter, str], tensors: dict[str, Tensor]
) -> None:
    """The inverse of `optimizer_tensors`; parameters without a stored state start afresh.

    Every tensor comes to lie where the optimiser wants it: moments on the parameter's device and in
    its memory format, the step of a fused optimiser on that device too.
    """
    states: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter_name, _, entry = name.rpartition(".")
        states.setdefault(parameter_name, {})[entry] = value
    parameters = [each for group in optimizer.param_groups for each in group["params"]]
    by_number = {
        number: {
            entry: value if entry == "step" else _laid_out_like(parameter, value)
            for entry, value in state.items()
        }
        for number, parameter in enumerate(parameters)
        if (state := states.get(names[parameter]))
    }
    # torch knows where a step belongs, but takes memory formats as they come.
    optimizer.load_state_dict({**optimizer.state_dict(), "state": by_number})


def _laid_out_like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """A moment on the parameter's device and in its memory format.

    The fused AdamW walks through memory and looks at no strides: a moment in another order would
    silently meet the wrong weights.
    """
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
