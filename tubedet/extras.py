"""Libraries that only some commands need, and the extra of the package that brings each."""

from collections.abc import Iterator
from contextlib import contextmanager

from tubedet.errors import UsageError

EXTRA_OF = {
    "defusedxml": "train",
    "fsspec": "cluster",
    "h5py": "h5",
    "matplotlib": "train",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "platformdirs": "onnx",
    "pyarrow": "formats",
    "ray": "cluster",
    "scipy": "train",
    "tensorboard": "train",
}


@contextmanager
def needed_for(purpose: str, library: str) -> Iterator[None]:
    """Say in one line what to install where a library imported inside the block is absent.

    Args:
        purpose: plural, what cannot be done without it: "CVAT exports".
        library: one of `EXTRA_OF`.

    Raises:
        UsageError: if the library is absent.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = EXTRA_OF[library]
        raise UsageError(f"{purpose} need {library}: pip install 'tubedet[{extra}]'") from error
