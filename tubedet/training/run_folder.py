"""The folder of a training run: what a killed run resumes from, and what people look at.

    last.safetensors    weights, averaged weights and optimiser state of the last saved step
    best.safetensors    a checkpoint for `tubedet detect`: averaged weights of the best validation,
                        or, where nothing is validated, of the last saved step
    log.jsonl           one JSON object an event
    config.json         recipe, network, data set, start weights
    loss.png            curves
    step-0000500.safetensors    the last few checkpoints, where the recipe keeps some

Every file is replaced whole: a full disk or a kill leaves the previous one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tubedet.checkpoints.run_state import read_run_state, write_run_state
from tubedet.errors import OutputError, WeightsError
from tubedet.evaluation.plots import require_matplotlib
from tubedet.training.tensorboard_log import TensorBoardLog


class RunFolder:
    """Paths of a run and the writing of them.

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
        if not writes:
            return
        require_matplotlib()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot make the run folder ({error})") from error

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
        try:
            config: dict[str, Any] = json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise WeightsError(
                f"{self.config}: expected the settings of a run, found {error}; "
                "start without --resume"
            ) from error
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
        """Replace last.safetensors."""
        self.replace(self.last, lambda part: write_run_state(part, tensors, progress))

    def load_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and progress of last.safetensors; WeightsError if it is absent or damaged."""
        return read_run_state(self.last)

    def replace(self, path: Path, write: Callable[[Path], object]) -> None:
        """Let `write` fill a file beside `path`, which then takes its place."""
        if not self.writes:
            return
        part = path.with_name(f".{path.name}.part")
        try:
            write(part)
            part.replace(path)
        except OSError as error:
            raise OutputError(
                f"{path}: could not be written ({error}); the previous one is untouched: make "
                "room, then continue with --resume"
            ) from error
        finally:
            part.unlink(missing_ok=True)


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
    """The inverse of `optimizer_tensors`; parameters without a stored state start afresh."""
    states: dict[str, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        parameter_name, _, entry = name.rpartition(".")
        states.setdefault(parameter_name, {})[entry] = value
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if names[parameter] in states:
                optimizer.state[parameter] = {
                    entry: value if entry == "step" else _laid_out_like(parameter, value)
                    for entry, value in states[names[parameter]].items()
                }


def _laid_out_like(parameter: nn.Parameter, value: Tensor) -> Tensor:
    """The value on the parameter's device and in its memory format.

    The fused AdamW walks through memory and looks at no strides: a moment in another order would
    silently meet the wrong weights.
    """
    return torch.empty_like(parameter, requires_grad=False).copy_(value)
