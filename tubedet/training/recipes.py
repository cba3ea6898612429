"""Every number of a training run, with where it comes from; printable, and changed by `--set`.

Recipes that have names are in `paper_recipes.py`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from inspect import getdoc
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NamedTuple,
    TypeVar,
    get_args,
    get_origin,
    get_type_hints,
)

from tubedet.errors import UsageError
from tubedet.models.presets import Streams

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Anchors = Literal["clusters", "voc-2016", "ucf101-24"]
Augmentation = Literal["light", "paper"]
Loss = Literal["giou", "yolo2-pytorch"]
OptimizerName = Literal["adamw", "adam", "sgd"]
Sampling = Literal["class", "sequence"]
Start = Literal["any", "voc", "kinetics"]
Task = Literal["detection", "recognition"]
TrainingPrecision = Literal["auto", "bf16", "fp32"]

AnyRecipe = TypeVar("AnyRecipe", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a detector is trained.

    The learning rate warms up, stays, and falls along a cosine in the last `cooldown_steps`, so
    that a run can be prolonged (`--resume --set steps=N`) without having been planned that long.

    Attributes:
        preset: the network, see `models/presets.py`.
        streams: `both`, or the only one that the network has: `rgb`, `motion`.
        input_size: side of the network's square input, px.
        flow_size: side of the square `light` estimates flow on; none: nearest half the input.
        steps: optimiser steps in all.
        batch_size: pairs a step, of all processes together.
        accumulation: parts that a process computes its share of a batch in, one after another, to
            save memory.
        precision: of convolutions: `bf16` where that is safe (autocast), `fp32`, or `auto`: bf16
            on a device that multiplies it itself. Weights and loss are float32.
        sampling: `class`: a random class, then one of its sources, then one of the clips cut from
            it; `sequence`: every clip once an epoch.
        augmentation: `light`, or `paper`: crop, HSV and flip alone.
        anchors: `clusters` of the training boxes, or fixed ones: `voc-2016`, `ucf101-24`.
        start: what the streams have to come from: `any`, `voc` (imported), `kinetics`
            (kinetics-pretraining).
        task: what it learns: `detection`, or `recognition` of a clip's action, without boxes.
        loss: of detection: `giou` with cross-entropies, or `yolo2-pytorch`'s squares.
        motion_alone: also judge what the motion stream says by itself.
        optimizer: `adamw`, `adam` or `sgd`.
        momentum: of `sgd`.
        rgb_rate: the optimiser's learning rate of the RGB stream, which soon knows the training
            frames by heart; of `light` its backbone.
        motion_rate: the same for the motion stream; that of `light` starts from scratch.
        head_rate: of everything that starts from scratch.
        flow_rate: of the flow network; 0 freezes it. Weak, as paper §IV-C has it (1e-7 there).
        weight_decay: of weights with more than one dimension.
        warmup_steps: length of the rise of the rates.
        cooldown_steps: length of their fall.
        max_gradient_norm: larger gradients are scaled down to it; none: never.
        ema_decay: of the averaged weights that are evaluated and kept; 0: no average.
        frozen_batch_norm: keep the statistics of all batch norms as they start.
        frozen_rgb_blocks: leading backbone blocks of the RGB stream that stay as they start.
        dropout: on the fused activations.
        stream_dropout: probability that a sample is decided by one stream alone, either one.
        label_smoothing: of the class target.
        background_fraction: share of samples that show no actor.
        evaluate_every: steps between two looks at the validation part; 0: never.
        patience: looks without a better one after which the run ends; 0: it goes on to its steps.
        save_every: steps between two saved states.
        keep: checkpoints of the last looks or saves that stay beside the best; 0: none.
        seed: of sampling, initialisation and dropout.
        name: of the recipe that all this was before anything was set.

    Raises:
        UsageError: if a number is out of its range.
    """

    preset: str = "light"
    streams: Streams = "both"
    input_size: int = 224
    flow_size: int | None = 320
    steps: int = 20_000
    batch_size: int = 16
    accumulation: int = 1
    precision: TrainingPrecision = "auto"
    sampling: Sampling = "class"
    augmentation: Augmentation = "light"
    anchors: Anchors = "clusters"
    start: Start = "any"
    task: Task = "detection"
    loss: Loss = "giou"
    motion_alone: bool = True
    optimizer: OptimizerName = "adamw"
    momentum: float = 0.9
    rgb_rate: float = 1e-4
    motion_rate: float = 1e-3
    head_rate: float = 1.5e-3
    flow_rate: float = 0.0
    weight_decay: float = 0.05
    warmup_steps: int = 300
    cooldown_steps: int = 4_000
    max_gradient_norm: float | None = 10.0
    ema_decay: float = 0.998
    frozen_batch_norm: bool = False
    frozen_rgb_blocks: int = 11
    dropout: float = 0.5
    stream_dropout: float = 0.2
    label_smoothing: float = 0.1
    background_fraction: float = 0.08
    evaluate_every: int = 1_500
    patience: int = 0
    save_every: int = 250
    keep: int = 0
    seed: int = 0
    name: str = "light"

    def __post_init__(self) -> None:
        """Refuse what could only fail, or silently do nothing, hours later."""
        shares = ("ema_decay", "dropout", "stream_dropout", "label_smoothing")
        for name in (*shares, "background_fraction"):
            self._require(name, 0 <= getattr(self, name) <= 1, "a number from 0 to 1")
        for name in ("input_size", "steps", "batch_size", "accumulation", "save_every"):
            self._require(name, getattr(self, name) > 0, "a number above 0")
        if self.max_gradient_norm is not None:
            self._require("max_gradient_norm", self.max_gradient_norm > 0, "a number above 0")
        even = self.batch_size % self.accumulation == 0
        self._require("accumulation", even, f"a divisor of batch_size={self.batch_size}")
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, int | float):
                self._require(field.name, 0 <= value < float("inf"), "a number from 0")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise UsageError(f"{name}={getattr(self, name)}: expected {expected}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def rate_factor(step: int, recipe: Recipe) -> float:
    """Share of the full learning rate at a step: ramp up, level, half a cosine down."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
    left = (recipe.steps - step) / max(1, recipe.cooldown_steps)
    return warm * (1.0 if left >= 1 else 0.5 - 0.5 * math.cos(math.pi * left))


class Setting(NamedTuple):
    """One line of a printed recipe."""

    name: str
    value: str
    meaning: str


def explain_settings(recipe: "DataclassInstance") -> list[Setting]:
    """All settings of a recipe with what its docstring, or that of the class before, says of them.

    What a later class says of a setting takes the place of what an earlier one says.
    """
    meanings: dict[str, str] = {}
    for kind in reversed(type(recipe).__mro__[:-1]):
        entries = re.findall(r"^    (\w+): (.+(?:\n {8}.+)*)", getdoc(kind) or "", re.MULTILINE)
        meanings |= {name: " ".join(meaning.split()) for name, meaning in entries}
    return [
        Setting(field.name, _written(getattr(recipe, field.name)), meanings.get(field.name, ""))
        for field in fields(recipe)
    ]


def apply_settings(recipe: AnyRecipe, settings: Sequence[str]) -> AnyRecipe:
    """A recipe with `key=value` settings applied; "none" where a setting may be absent.

    Raises:
        UsageError: unknown key, or a value that is not of the key's type or out of its range.
    """
    kinds = get_type_hints(type(recipe))
    changes: dict[str, Any] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator or key not in kinds:
            raise UsageError(f"--set {setting}: expected key=value with one of {', '.join(kinds)}")
        try:
            changes[key] = _parsed(text, kinds[key])
        except (ValueError, KeyError) as error:
            shown = _written(getattr(recipe, key))
            raise UsageError(f"--set {setting}: expected a value such as {shown}") from error
    return replace(recipe, **changes)


def stored_settings(stored: Mapping[str, Any]) -> list[str]:
    """A recipe as JSON gives it back, as settings for `apply_settings`."""
    return [f"{key}={_written(value)}" for key, value in stored.items()]


def _written(value: object) -> str:
    """The text that `_parsed` makes the value of."""
    if isinstance(value, tuple | list):
        return ",".join(map(str, value))
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _parsed(text: str, kind: Any) -> Any:
    if isinstance(kind, UnionType):
        kind = get_args(kind)[0]
        return None if text == "none" else _parsed(text, kind)
    if get_origin(kind) is tuple:
        return tuple(_parsed(part, get_args(kind)[0]) for part in text.split(","))
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise ValueError(text)
        return text
    if kind is bool:
        return {"true": True, "false": False}[text]
    return kind(text)
