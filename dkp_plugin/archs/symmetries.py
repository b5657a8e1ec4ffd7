"""The eight symmetries of the square, under which photographs are as likely as before."""

from torch import Tensor


def transform(x: Tensor, index: int) -> Tensor:
    """Turn and mirror images.

    Args:
        x: Images, (B, C, H, W).
        index: 0 to 7; 0 changes nothing, odd ones exchange height and width, from 4 on they mirror, too.
    """
    x = x.rot90(index % 4, (-2, -1))
    return x.flip(-1) if index >= 4 else x


def transform_back(x: Tensor, index: int) -> Tensor:
    """Undo :func:`transform`."""
    x = x.flip(-1) if index >= 4 else x
    return x.rot90(-(index % 4), (-2, -1))
