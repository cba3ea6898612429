"""Running `light` with PyTorch: its steps, its pairs, and what it keeps of the frames before."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, cat, stack

from tubedet.models.light.context_window import WINDOW_SECONDS
from tubedet.models.light.detector import LightDetector, StepFeatures, joined_predictions
from tubedet.models.light.video_backbone import PAST_FRAMES, STEPS_PER_SECOND
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.compiled import CompiledForward, Outputs
from tubedet.runtime.detector import (
    PairPrediction,
    PairTask,
    StepPrediction,
    StreamState,
    TemporalReach,
)
from tubedet.runtime.torch import Precision, TorchDetector

LATENCIES = {"half-second": WINDOW_SECONDS, "none": 0.0}  # where a context window ends


class _Latest(NamedTuple):
    """Numbers of the latest steps, at the frame of a pair and up to its successor."""

    of_step: int
    of_boxes: int


class TorchLightDetector(TorchDetector):
    """Implements `Detector` for a `LightDetector`.

    Its state is the backbone's, and the features of the latest step. All stays on the device but
    predictions; actions are decoded on the CPU, at full precision.

    Args:
        latency: `half-second`: a context window reaches as far behind a frame as before it, as in
            training; `none`: it ends with the frame, for live use.
        all others: see `TorchDetector`.
    """

    def __init__(self, *args: Any, latency: str = "half-second", **settings: Any) -> None:
        super().__init__(*args, **settings)
        after = LATENCIES[latency]
        self.temporal = TemporalReach(1 / STEPS_PER_SECOND, PAST_FRAMES, WINDOW_SECONDS, after)
        if not after:
            self.description += ", without latency"

    def _pick_precision(self, name: str) -> Precision:
        """On a CPU `auto` is float32, so that boxes are those of every other CPU and runtime.

        bfloat16 is a tenth quicker, but rounds what the backbone carries on from step to step.
        """
        is_on_cpu = self._device.type == "cpu"
        return super()._pick_precision("fp32" if name == "auto" and is_on_cpu else name)

    def _take_over(self, network: TwoStreamDetector) -> None:
        assert isinstance(network, LightDetector)
        self._context_window: Callable[[Tensor, Tensor], Tensor] = deepcopy(network.context_window)
        self._prepare(network)
        self._steps: Callable[..., tuple[StepFeatures, StreamState]] = network.steps
        self._pairs: Callable[..., Outputs] = network.pairs

    def _compile(self) -> None:
        self._pairs = CompiledForward(self._pairs, self._device)
        self._steps = torch.compile(self._steps, dynamic=False)

    def _predict(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None
    ) -> tuple[list[PairPrediction], StreamState | None]:
        steps, state, latest = self._take_steps(clip, tasks, state)
        chosen = [at for at, task in enumerate(tasks) if task.boxes or task.is_step]
        if not chosen:
            return [PairPrediction()] * len(tasks), state
        seconds = torch.tensor([tasks[at].seconds for at in chosen], device=self._device)
        pairs = clip if len(chosen) == len(tasks) else clip[chosen]
        last = steps.last[0, [latest[at].of_boxes for at in chosen]]
        raws, flow_maps = self._pairs(pairs, seconds, last)
        raws, flow_maps, logits = (e.float().cpu() for e in (raws, flow_maps, steps.logits[0]))
        predictions = [PairPrediction()] * len(tasks)
        for number, at in enumerate(chosen):
            step = StepPrediction(logits[latest[at].of_step], flow_maps[number])
            predictions[at] = PairPrediction(
                raws[number] if tasks[at].boxes else None, step if tasks[at].is_step else None
            )
        return predictions, state

    def _take_steps(
        self, clip: Tensor, tasks: Sequence[PairTask], state: StreamState | None
    ) -> tuple[StepFeatures, StreamState, list["_Latest"]]:
        """Features of the step before the pairs, then of those in them; of each pair its numbers.

        The first frame of a shot is a step.
        """
        frames = [] if state else [clip[0, :, 0]]
        before, buffers = (StepFeatures(*state[-2:]), state[:-2]) if state else (None, None)
        latest: list[_Latest] = []
        count = 1
        for pair, task in zip(clip, tasks, strict=True):
            of_step = count - 1
            if task.next_is_step:
                frames.append(pair[:, 1])
                count += 1
            latest.append(_Latest(of_step, count - 1))
        steps = before
        if frames:
            new, buffers = self._steps(stack(frames)[None], buffers)
            parts = [new] if before is None else [before, new]
            steps = StepFeatures(*(cat(each, dim=1) for each in zip(*parts, strict=True)))
        assert steps is not None
        assert buffers is not None
        return steps, (*buffers, steps.last[:, -1:], steps.logits[:, -1:]), latest

    def _joined(self, raw: Tensor, window: Sequence[StepPrediction]) -> Tensor:
        actions = self._context_window(*map(stack, zip(*window, strict=True)))
        return joined_predictions(raw[None], actions[None])[0]
