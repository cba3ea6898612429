"""A network compiled for a few batch sizes, into CUDA graphs where there is CUDA."""

from collections.abc import Callable

import torch
from torch import Tensor, cat

from tubedet.errors import UsageError

Outputs = tuple[Tensor, ...]


class CompiledForward:
    """Runs what `torch.compile` makes of a forward pass whose samples don't affect each other.

    Every size of batch would be compiled by itself, which takes up to minutes: a batch smaller than
    one before it is padded to that one's size instead.

    Args:
        forward: one or several tensors (B, ...) → one or several (B, ...).
        device: of the network.
    """

    def __init__(self, forward: Callable[..., Tensor | Outputs], device: torch.device) -> None:
        # CUDA graphs spare the launches of some hundred kernels, most of the time of one pair.
        mode = "reduce-overhead" if device.type == "cuda" else None
        self._forward = torch.compile(forward, mode=mode, dynamic=False)
        self._sizes: set[int] = set()

    def __call__(self, *inputs: Tensor) -> Outputs:
        """The outputs of a batch.

        Raises:
            UsageError: if it cannot be compiled here.
        """
        batch = len(inputs[0])
        size = min((each for each in self._sizes if each >= batch), default=batch)
        more = size - batch
        padded = [cat([each, each[-1:].expand(more, *each.shape[1:])]) for each in inputs]
        try:
            outputs = self._forward(*padded)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise UsageError(
                f"--compile: expected a compiler that works, found none ({reason}); install one "
                "(on a CPU a C++ compiler, on CUDA Triton), or leave --compile out"
            ) from error
        self._sizes.add(size)
        # Copies: a CUDA graph writes its next outputs where these are.
        return tuple(each[:batch].clone() for each in as_tuple(outputs))


def as_tuple(outputs: Tensor | Outputs) -> Outputs:
    """Outputs of a forward pass, one or several, as a tuple."""
    return (outputs,) if isinstance(outputs, Tensor) else outputs
