"""What lies in a checkpoint, part by part."""

from collections import Counter
from collections.abc import Mapping

from torch import Tensor

# State that is measured, not learned.
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def parameters_by_part(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Learned numbers of each part of a detector: flow, rgb_stream, motion_stream, fusion."""
    counts: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if not name.endswith(STATISTICS):
            counts[name.partition(".")[0]] += tensor.numel()
    return dict(counts)
