"""The eight symmetries of the square, for augmentation and ensembles."""

import torch.nn.functional as F
from torch import Tensor

from dkp_plugin.physics.kernels import normalise

NUM_SYMMETRIES = 8


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


def transform_kernel(kernel: Tensor, index: int, scale: int) -> Tensor:
    """The kernel that blurs the transformed HR image into the transformed LR image.

    A kernel of the convention ``aligned`` turns about its centre of mass, (s - 1) / 2 pixels off the centre of its
    grid. Without the first s - 1 rows and columns that is the centre of the rest.

    Args:
        kernel: (B, 1, K, K) in the convention ``aligned``. What lies in the first s - 1 rows and columns is cut off.
        index: See :func:`transform`.
        scale: Scale factor s.

    Returns:
        (B, 1, K, K) of sum 1.
    """
    margin = scale - 1
    turned = transform(kernel[..., margin:, margin:], index)
    return normalise(F.pad(turned, (margin, 0, margin, 0)))
