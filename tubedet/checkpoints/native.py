"""tubedet's own checkpoint: safetensors, with a JSON header that alone rebuilds the network.

Nothing is unpickled. Every size is compared with the network's before memory is taken for it, and
the network is laid out without memory (on the `meta` device) until its tensors have been read.
"""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from tubedet.errors import OutputError, WeightsError
from tubedet.models.motion_input import ResizedFlow
from tubedet.models.presets import DetectorConfig, build_detector
from tubedet.models.two_stream import TwoStreamDetector

FORMAT_VERSION = 1
METADATA_KEY = "tubedet"  # of the safetensors metadata; its value is the header as JSON
MAX_JSON_BYTES = 100_000_000  # the safetensors format's own limit
FLOAT_CODES = ("F16", "BF16", "F32")
REMEDY = "give a checkpoint that tubedet wrote"


@dataclass(frozen=True, kw_only=True)
class CheckpointHeader:
    """What a checkpoint says of itself. Keys added within a format version must be optional.

    Attributes:
        config: `DetectorConfig.to_dict()` of the network.
        format_version: raised when older readers would misread the file.
        recipe: settings of the training run; empty if it was not trained by tubedet.
        training_data_sha256: hash of the list of training samples.
        git_revision: of the code that trained it.
        metrics: measured accuracy, by name.
        min_score: the score below which its detections are not worth showing.
        source: where foreign weights came from.
        licence: SPDX expression under which the weights may be used.
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

    def __post_init__(self) -> None:
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
        network: what `build_detector` makes of `header.config`.
        header: stored as JSON.
        dtype: of the stored kernels. Vectors (biases, batch norm) stay float32: they are a
            hundredth of the file, and a small running variance is 0 in float16.

    Raises:
        WeightsError: if a value is not finite in `dtype`.
        OutputError: if the file cannot be written; a previous one is untouched.
    """
    tensors = {name: _stored(tensor, dtype) for name, tensor in network.state_dict().items()}
    for name, tensor in tensors.items():
        _refuse_non_finite(tensor, name, path)
    content = save(tensors, metadata={METADATA_KEY: json.dumps(asdict(header))})
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        # Not by `save_file`, which makes files that only their owner can read.
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: the checkpoint could not be written ({error}); make room or choose another "
            "folder, a previous file of this name is untouched"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> tuple[TwoStreamDetector, CheckpointHeader]:
    """The network of a file, in evaluation mode, float32 on the CPU, and the file's header.

    Raises:
        WeightsError: if the file is absent, damaged, foreign, of a newer format, or holds other
            tensors than the network that its header describes.
    """
    with _opened(path) as file:
        header = _parse_header(file.metadata(), path)
        network = _lay_out(header, path)
        expected = network.state_dict()
        _refuse_other_names(set(file.keys()), set(expected), path)
        tensors = {name: _read(file, name, like, path) for name, like in expected.items()}
    network.load_state_dict(tensors, assign=True)
    return network.eval(), header


def load_flow(path: Path) -> tuple[nn.Module, CheckpointHeader]:
    """The flow network of a file alone, as `load_checkpoint`, and the file's header.

    Returns:
        a module from a clip (B, 3, 2, H, W) RGB 0..255 to flow (B, 2, H, W) in px of that clip, H
        and W multiples of 64; of `light` what works inside `ResizedFlow`.

    Raises:
        WeightsError: as `load_checkpoint`, and if there is no flow network in the file.
    """
    network, header = load_checkpoint(path)
    if network.flow is None:
        raise WeightsError(
            f"{path}: expected a checkpoint with a flow network, found one without; "
            "give one of another preset"
        )
    return network.flow.network if isinstance(network.flow, ResizedFlow) else network.flow, header


def read_header(path: Path) -> CheckpointHeader:
    """The header alone, without building the network. Raises WeightsError as `load_checkpoint`."""
    with _opened(path) as file:
        return _parse_header(file.metadata(), path)


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.is_floating_point():
        tensor = tensor.to(dtype if tensor.ndim > 1 else torch.float32)
    return tensor.detach().cpu().contiguous()


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The open safetensors file; whatever is wrong with it becomes a WeightsError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected a tubedet checkpoint, found {_what_is(path, error)}; {REMEDY}"
        ) from error


def _what_is(path: Path, error: Exception) -> str:
    """In a few words what lies at `path`, where opening it as safetensors gave `error`."""
    if not path.is_file():
        return "a folder or a device" if path.exists() else "no such file"
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError:
        return f"an unreadable file ({error})"
    if not start:
        return "an empty file"
    if start[:2] == b"PK" or start[:1] == b"\x80":
        return "a pickled PyTorch file or another archive"
    if start[8:] == b"{" and int.from_bytes(start[:8], "little") <= MAX_JSON_BYTES:
        return f"a truncated or damaged safetensors file ({error})"
    return "a file of another kind"


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


def _lay_out(header: CheckpointHeader, path: Path) -> TwoStreamDetector:
    """The network of a header, its tensors on `meta`: shapes without memory or initial values."""
    try:
        config = DetectorConfig.from_dict(header.config)
        with torch.device("meta"), _WithoutRandomValues():
            return build_detector(config)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"{path}: its header describes no network that tubedet can build ({reason}); {REMEDY}"
        ) from error


def _refuse_other_names(found: set[str], expected: set[str], path: Path) -> None:
    for names, complaint in ((expected - found, "lacks"), (found - expected, "should not hold")):
        if names:
            raise WeightsError(
                f"{path}: {complaint} {len(names)} of {len(expected)} tensors, the first is "
                f"'{min(names)}'; {REMEDY}"
            )


def _read(file: Any, name: str, like: Tensor, path: Path) -> Tensor:
    """One tensor in the dtype of `like`, once the file has promised the right shape and kind."""
    promised = file.get_slice(name)
    shape, code = tuple(promised.get_shape()), promised.get_dtype()
    codes = FLOAT_CODES if like.is_floating_point() else ("I64",)
    if shape != tuple(like.shape) or code not in codes:
        raise WeightsError(
            f"{path}: '{name}' should be {' or '.join(codes)} of shape {tuple(like.shape)}, "
            f"is {code} of shape {shape}; {REMEDY}"
        )
    tensor: Tensor = file.get_tensor(name).to(like.dtype)
    _refuse_non_finite(tensor, name, path)
    return tensor


def _refuse_non_finite(tensor: Tensor, name: str, path: Path) -> None:
    low, high = (float(limit) for limit in tensor.aminmax())  # both NaN if any value is
    if not (math.isfinite(low) and math.isfinite(high)):
        raise WeightsError(
            f"{path}: '{name}' holds values that are not finite numbers; "
            "use an earlier checkpoint of the run"
        )
