"""A copy of a run's log for TensorBoard; only log.jsonl is read again."""

from pathlib import Path
from typing import Any

from tubedet.extras import needed_for


class TensorBoardLog:
    """Writes the numbers of events as scalars, under the names that log.jsonl has.

    Args:
        folder: made when the first event comes.

    Raises:
        UsageError: if TensorBoard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        with needed_for("TensorBoard logs", "tensorboard"):
            # Optional, and a second to import.
            from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415
        self._folder, self._make = folder, SummaryWriter
        self._writer: Any = None

    def begin_after(self, step: int) -> None:
        """Hide what was logged of later steps: they will be taken again."""
        self._writer = self._make(str(self._folder), purge_step=step + 1)

    def add(self, event: dict[str, Any]) -> None:
        """Write an event at its step, groups of numbers as `group/name`."""
        for name, value in event.items():
            numbers = value if isinstance(value, dict) else {"": value}
            for part, number in numbers.items():
                if name != "step" and not isinstance(number, bool):
                    tag = f"{name}/{part}" if part else name
                    self._writer.add_scalar(tag, number, event["step"])
        self._writer.flush()  # a killed run has lost nothing
