"""The running average of a network's weights: what is validated and kept.

Single steps of a small batch are noisy; their average over the last few hundred is better than any
of them. Source: Polyak and Juditsky, 1992; the short memory at the start is TensorFlow's.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """Exponential mean of all floating-point entries of a network's state.

    Args:
        network: on its device; its tensors are changed in place from now on, never replaced.
        decay: share of the average that stays at each update; 0: there is no average, and no
            memory is spent on one.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        averaged = network.state_dict() if decay else {}
        self._current = {n: v for n, v in averaged.items() if v.is_floating_point()}
        self.tensors = {name: value.clone() for name, value in self._current.items()}

    def update(self, step: int) -> None:
        """Take in the weights after step number `step`, counted from 0."""
        if not self.tensors:
            return
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(_values(self.tensors), _values(self._current), 1 - decay)

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from a stored average."""
        _copy(self.tensors, [tensors[name] for name in self.tensors])

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """The network has its average inside the block, its own weights after it."""
        own = [value.clone() for value in self._current.values()]
        _copy(self._current, _values(self.tensors))
        try:
            yield
        finally:
            _copy(self._current, own)


def _copy(to: Mapping[str, Tensor], values: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(_values(to), values)


def _values(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    return list(tensors.values())
