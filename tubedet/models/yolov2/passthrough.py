"""The passthrough: fine features folded to the coarse grid, so that both can be concatenated.

Two orders of the folded channels exist, and weights trained with one are wrong for the other.
`torch.nn.functional.pixel_unshuffle` is neither: it puts the channel outermost.
"""

from collections.abc import Callable
from typing import Literal

from torch import Tensor, nn

PassthroughOrder = Literal["space_to_depth", "darknet"]


def space_to_depth(x: Tensor, block: int = 2) -> Tensor:
    """Fold every block of pixels into channels, keeping each pixel where it was.

    Args:
        x: (B, C, H, W); H and W are multiples of `block`.
        block: side of the folded square, px.

    Returns:
        (B, block²·C, H/block, W/block): the block offset is outermost (row, then column), the
        input channel innermost; channel (dy·block + dx)·C + c holds x[c, dy::block, dx::block].

    Raises:
        ValueError: if H or W is not a multiple of `block`.

    Source: YOLOv2 §2 (fine-grained features), in the order of yolo2-pytorch.
    """
    batch, channels, height, width = x.shape
    if height % block or width % block:
        raise ValueError(f"{height}x{width} is not a multiple of the block {block}")
    rows, columns = height // block, width // block
    cells = x.reshape(batch, channels, rows, block, columns, block)
    return cells.permute(0, 3, 5, 1, 2, 4).reshape(batch, -1, rows, columns)


def darknet_reorg(x: Tensor) -> Tensor:
    """Fold 2x2 blocks in the order of Darknet's reorg layer, which imported weights expect.

    Darknet runs the inverse's index arithmetic on the input's sizes: the memory of (C, H, W) is
    read as (C/4, 2H, 2W), folded, and read again as (4C, H/2, W/2). Pixels change places, so no
    permutation of channels turns this into `space_to_depth`.

    Args:
        x: (B, C, H, W); C is a multiple of 4, H and W of 2.

    Returns:
        (B, 4C, H/2, W/2).

    Raises:
        ValueError: if C, H or W is not such a multiple.

    Source: Darknet's reorg layer as of 2016 and since; OpenCV's importer does the same.
    """
    batch, channels, height, width = x.shape
    if channels % 4 or height % 2 or width % 2:
        raise ValueError(f"{channels}x{height}x{width}: needs channels / 4, height and width / 2")
    misread = x.reshape(batch, channels // 4, 2 * height, 2 * width)
    return space_to_depth(misread).reshape(batch, 4 * channels, height // 2, width // 2)


_ORDERS: dict[PassthroughOrder, Callable[[Tensor], Tensor]] = {
    "space_to_depth": space_to_depth,
    "darknet": darknet_reorg,
}


class Passthrough(nn.Module):
    """Folding in the order of that name, as a module without parameters."""

    def __init__(self, order: PassthroughOrder = "space_to_depth") -> None:
        super().__init__()
        if order not in _ORDERS:
            raise ValueError(f"passthrough order {order!r} is none of {', '.join(_ORDERS)}")
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, 4C, H/2, W/2)."""
        return _ORDERS[self.order](x)
