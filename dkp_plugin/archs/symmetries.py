"""The eight symmetries of the square, used for augmentation."""

from torch import Tensor


def transform(x: Tensor, index: int) -> Tensor:
    """Rotate and mirror images.

    Args:
        x: Images, (B, C, H, W).
        index: 0 to 7. 0 is the identity, odd values swap height and width, and values from 4 also mirror.
    """
    x = x.rot90(index % 4, (-2, -1))
    return x.flip(-1) if index >= 4 else x


def transform_back(x: Tensor, index: int) -> Tensor:
    """Undo :func:`transform`."""
    x = x.flip(-1) if index >= 4 else x
    return x.rot90(-(index % 4), (-2, -1))
