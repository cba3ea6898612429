"""A detector's graphs as ONNX files, which PyTorch writes and ONNX Runtime, among others, runs.

They need neither tubedet nor PyTorch. What else a program has to know is in the metadata of each.
"""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tubedet.extras import needed_for
from tubedet.models.graphs import Graph, graphs_of
from tubedet.models.light.context_window import WINDOW_SECONDS
from tubedet.models.light.video_backbone import STEPS_PER_SECOND
from tubedet.models.presets import DetectorConfig, LightConfig
from tubedet.models.two_stream import TwoStreamDetector
from tubedet.runtime.onnx_operations import OPSET, TRANSLATIONS
from tubedet.whole_file import written_whole

SUFFIX = ".onnx"

# ONNX Runtime 1.32 tells Microsoft of its use, and keeps an identity for that in the cache folder.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")


def can_write_and_run() -> bool:
    """Whether all libraries are here that making graphs and running them takes."""
    return all(map(find_spec, ("onnx", "onnxruntime", "onnxscript", "platformdirs")))


def graph_metadata(
    config: DetectorConfig, min_score: float | None, weights_sha256: str, licence: str | None
) -> dict[str, str]:
    """What stands in every file: texts, numbers and lists as JSON.

    `step_seconds` is the aim for the time between two frames that `steps` is given, and
    `window_seconds` how far a context window reaches before and after its frame.
    """
    known: dict[str, Any] = {
        "preset": config.preset,
        "class_names": config.class_names,
        "anchors_wh": config.anchors_wh,
        "input_size": config.input_size,
        "min_score": min_score,
        "weights_sha256": weights_sha256,
        "licence": licence,
    }
    if isinstance(config, LightConfig):
        known |= {"step_seconds": 1 / STEPS_PER_SECOND, "window_seconds": WINDOW_SECONDS}
    return {f"tubedet.{name}": json.dumps(value) for name, value in known.items()}


def write_graphs(
    network: TwoStreamDetector, input_size: int, folder: Path, metadata: Mapping[str, str]
) -> list[Path]:
    """Write every graph of a detector in evaluation mode as `folder`/NAME.onnx, and list them.

    Args:
        network: float32, on the CPU.
        input_size: S.
        folder: there already.
        metadata: of each file.

    Raises:
        UsageError: if a library that it takes is absent.
        OutputError: if a file cannot be written.
    """
    paths: list[Path] = []
    for name, graph in graphs_of(network, input_size).items():
        paths.append(folder / f"{name}{SUFFIX}")
        with needed_for("ONNX graphs", "onnx"), needed_for("ONNX graphs", "onnxscript"):
            program = _exported(graph)
        program.model.metadata_props.update(metadata)
        with written_whole(paths[-1]) as pending:
            program.save(pending, external_data=False)
    return paths


def _exported(graph: Graph) -> torch.onnx.ONNXProgram:
    free = {0: torch.export.Dim("steps", min=1)} if graph.any_length else None
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph.module,
            tuple(graph.inputs.values()),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=[free] * len(graph.inputs) if free else None,
            opset_version=OPSET,
            custom_translation_table=TRANSLATIONS,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself, such as that it does not find torchvision."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


class OnnxGraph:
    """One graph, run by ONNX Runtime on the CPU.

    Args:
        folder: that `write_graphs` filled.
        name: of the graph.

    Attributes:
        shapes: of the inputs, by name; 0 stands for any length.

    Raises:
        UsageError: if ONNX Runtime is absent.
    """

    def __init__(self, folder: Path, name: str) -> None:
        with needed_for("ONNX graphs", "onnxruntime"):
            import onnxruntime  # noqa: PLC0415
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait busily for each other take the cores of those that decode and encode.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            folder / f"{name}{SUFFIX}", settings, providers=["CPUExecutionProvider"]
        )
        self.shapes: dict[str, tuple[int, ...]] = {
            each.name: tuple(n if isinstance(n, int) else 0 for n in each.shape)
            for each in self._session.get_inputs()
        }

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Outputs of float32 tensors on the CPU, in the order of the file's inputs."""
        given = {
            name: tensor.contiguous().numpy()
            for name, tensor in zip(self.shapes, inputs, strict=True)
        }
        return tuple(map(torch.from_numpy, self._session.run(None, given)))
