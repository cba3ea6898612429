"""tubedet's own checkpoint: safetensors, with a JSON header that alone rebuilds the network.

Nothing is unpickled. Every size is compared with the network's before memory is taken for it, and
the network is laid out without memory (on the `meta` device) until its tensors have been read.

A partial file lacks whole parts, which its header names: imported weights have no fused head, no
classes and no anchors until they have been trained.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tubedet.checkpoints.safetensors_file import (
    REMEDY,
    opened,
    read_tensor,
    refuse_non_finite,
    refuse_other_names,
)
from tubedet.errors import WeightsError
from tubedet.models.presets import DetectorConfig, build_detector, build_flow, config_from_dict
from tubedet.models.resized_flow import ResizedFlow
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.whole_file import written_whole

Built = TypeVar("Built")

FORMAT_VERSION = 1
METADATA_KEY = "tubedet"  # of the safetensors metadata; its value is the header as JSON
FUSED_HEAD = "fusion"  # the part without which nothing is detected
# Stands for the classes and anchors that a file without a fused head does not have.
ANY_HEAD = {"class_names": ("action",), "anchors_wh": ((1.0, 1.0),)}


@dataclass(frozen=True, kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself. Keys added within a format version must be optional.

    Attributes:
        config: `to_dict()` of its `DetectorConfig`.
        format_version: raised when older readers would misread the file.
        recipe: settings of the training run; empty if it was not trained by tubedet.
        training_data_sha256: hash of the list of training samples.
        git_revision: of the code that trained it.
        metrics: measured accuracy, by name.
        min_score: the score below which its detections are not worth showing.
        source: where foreign weights came from.
        licence: SPDX expression under which the weights may be used.
        missing: parts of the network that the file holds no tensor of, by module name, such as
            `fusion` or `rgb_stream.conv4`. Without `fusion`, `config` has no classes or anchors.
    """

    config: dict[str, Any]
    format_version: int = FORMAT_VERSION
    recipe: dict[str, Any] = field(default_factory=dict)
    training_data_sha256: str | None = None
    git_revision: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    min_score: float | None = None
    source: str | None = None
    licence: str | None = None
    missing: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("config", "recipe", "metrics"):
            if not isinstance(getattr(self, name), dict):
                raise ValueError(f"{name} is no object")
        named = all(isinstance(part, str) and part for part in self.missing)
        if isinstance(self.missing, str) or not named:
            raise ValueError(f"missing {self.missing!r} are no names of parts")
        object.__setattr__(self, "missing", tuple(self.missing))  # JSON knows lists only
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ValueError(f"min_score {self.min_score} is not in [0, 1]")


def save_checkpoint(
    path: Path,
    network: nn.Module,
    header: CheckpointHeader,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write a network so that a file of this name is always a whole one.

    Args:
        path: the file to write or replace; its folder exists.
        network: what `build_detector` makes of `header.config`; its missing parts may lie on
            `meta`.
        header: stored as JSON.
        dtype: of the stored kernels. Vectors (biases, batch norm) stay float32: they are a
            hundredth of the file, and a small running variance is 0 in float16.

    Raises:
        WeightsError: if a value is not finite in `dtype`.
        OutputError: if the file cannot be written; a previous one is untouched.
    """
    present = present_tensors(network.state_dict(), header.missing)
    tensors = {name: _stored(tensor, dtype) for name, tensor in present.items()}
    for name, tensor in tensors.items():
        refuse_non_finite(tensor, name, path)
    metadata = {METADATA_KEY: json.dumps(asdict(header))}
    with written_whole(path) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:  # not by `save`, which holds the file's bytes twice more
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:
            raise OSError(str(error)) from error
        temporary.chmod(mode)  # its files can be read by their owner alone


def load_checkpoint(path: Path) -> tuple[TwoStreamDetector, CheckpointHeader]:
    """The network of a file, in evaluation mode, float32 on the CPU, and the file's header.

    Raises:
        WeightsError: if the file is absent, damaged, foreign, of a newer format, partial, or holds
            other tensors than the network that its header describes.
    """
    network, header = _load(path, may_be_partial=False)
    return network.eval(), header


def load_partial(path: Path) -> tuple[dict[str, Tensor], CheckpointHeader]:
    """The tensors that a whole or partial file holds, by name in the detector, and its header.

    Raises:
        WeightsError: as `load_checkpoint`, but not because parts are missing.
    """
    network, header = _load(path, may_be_partial=True)
    return present_tensors(network.state_dict(), header.missing), header


def load_flow(path: Path) -> tuple[nn.Module, CheckpointHeader]:
    """The flow network of a whole or partial checkpoint; nothing else is built or read.

    Returns:
        In evaluation mode, clip (B, 3, 2, H, W) RGB in 0..255 → flow_uv (B, 2, H, W) px, H and W
        multiples of 64 (`light`'s without its resizing); and the file's header.

    Raises:
        WeightsError: as `load_checkpoint`, or if the file has no flow network.
    """
    with opened(path) as file:
        header = _parse_header(file.metadata(), path)
        flow = _lay_out(build_flow, header, path)
        if flow is None or "flow" in header.missing:
            raise WeightsError(
                f"{path}: expected a flow network, found none in this checkpoint of preset "
                f"{header.config['preset']}; give one that has it"
            )
        expected = {f"flow.{name}": like for name, like in flow.state_dict().items()}
        refuse_other_names({n for n in file.keys() if n.startswith("flow.")}, set(expected), path)  # noqa: SIM118
        tensors = {
            name.removeprefix("flow."): read_tensor(file, name, like, path)
            for name, like in expected.items()
        }
    flow.load_state_dict(tensors, assign=True)
    return (flow.network if isinstance(flow, ResizedFlow) else flow).eval(), header


def present_tensors(tensors: Mapping[str, Tensor], missing: tuple[str, ...]) -> dict[str, Tensor]:
    """Those that belong to none of the missing parts."""
    prefixes = tuple(f"{part}." for part in missing)
    return {name: tensor for name, tensor in tensors.items() if not name.startswith(prefixes)}


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without building the network. Raises WeightsError as `load_checkpoint`."""
    with opened(path) as file:
        return _parse_header(file.metadata(), path)


def _load(path: Path, *, may_be_partial: bool) -> tuple[TwoStreamDetector, CheckpointHeader]:
    """The network with what the file holds; the missing parts stay on `meta`."""
    with opened(path) as file:
        header = _parse_header(file.metadata(), path)
        network = _lay_out(build_detector, header, path)
        if header.missing and not may_be_partial:
            raise WeightsError(
                f"{path}: expected a trained detector, found weights to start from, without "
                f"{', '.join(header.missing)}; train first: tubedet train "
                f"--preset {header.config['preset']} --init {path}"
            )
        expected = present_tensors(network.state_dict(), header.missing)
        refuse_other_names(set(file.keys()), set(expected), path)
        tensors = {name: read_tensor(file, name, like, path) for name, like in expected.items()}
    network.load_state_dict(tensors, assign=True, strict=not header.missing)
    return network, header


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.is_floating_point():
        tensor = tensor.to(dtype if tensor.ndim > 1 else torch.float32)
    return tensor.detach().cpu().contiguous()


def _parse_header(metadata: dict[str, str] | None, path: Path) -> CheckpointHeader:
    text = (metadata or {}).get(METADATA_KEY)
    if text is None:
        raise WeightsError(f"{path}: safetensors, but without a tubedet header; {REMEDY}")
    try:
        values = json.loads(text)
        version = values["format_version"]
        if version <= FORMAT_VERSION:
            known = {each.name for each in fields(CheckpointHeader)}
            return CheckpointHeader(**{key: values[key] for key in known & set(values)})
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise WeightsError(f"{path}: unreadable tubedet header ({error}); {REMEDY}") from error
    raise WeightsError(
        f"{path}: checkpoint format {version}, this tubedet reads up to {FORMAT_VERSION}; "
        "update tubedet"
    )


class _WithoutRandomValues(TorchFunctionMode):
    """Skips the random initial values, which cost time and, on `meta`, a second of imports."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in (Tensor.normal_, Tensor.uniform_):
            return args[0]
        return func(*args, **(kwargs or {}))


def lay_out(build: Callable[[], Built]) -> Built:
    """A network with its tensors on `meta`: shapes without memory or initial values."""
    with torch.device("meta"), _WithoutRandomValues():
        return build()


def _lay_out(
    build: Callable[[DetectorConfig], Built], header: CheckpointHeader, path: Path
) -> Built:
    """The network, or a part of it, that a header describes, laid out on `meta`."""
    try:
        head = ANY_HEAD if FUSED_HEAD in header.missing else {}
        config = config_from_dict({**header.config, **head})
        return lay_out(lambda: build(config))
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"{path}: its header describes no network that tubedet can build ({reason}); {REMEDY}"
        ) from error
