"""Blur kernels: their centre, and conversion between conventions.

A kernel is a non-negative tensor (N, 1, K, K) of sum 1, K odd, used as a correlation (see ``degradation.py``).

Three conventions for the centre of mass are in use, given here as offsets from the anchor K // 2 in HR pixels:

===========  =====================  =======================================================================
name         offset                 meaning
===========  =====================  =======================================================================
aligned      (s - 1) / 2            LR and HR pixels lie on one grid, as after bicubic or area resizing
released     -(s - 1) / 2           FKP, USRNet, DKP: LR shifted by s - 1 HR pixels relative to that grid
kernelgan    (s - K mod 2) / 2      KernelGAN: as ``aligned`` for odd kernels, half a pixel further for even ones
===========  =====================  =======================================================================
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CONVENTIONS = ('aligned', 'released', 'kernelgan')


def default_kernel_size(scale: int) -> int:
    """The papers' kernel size for a scale s > 1, min(4 s + 3, 21); 15 where the size of the image stays (s = 1)."""
    return 15 if scale == 1 else min(4 * scale + 3, 21)


def check_kernel_size(kernel_size: int) -> None:
    """Raise ValueError unless ``kernel_size`` is an odd integer of at least 3."""
    if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size: {kernel_size!r} is not an odd number of at least 3')


def kernel_centre(kernel_size: int, scale: int, convention: str) -> float:
    """Index, counted from 0, of the centre of mass of a K x K kernel.

    Args:
        kernel_size: K.
        scale: Subsampling factor s.
        convention: One of ``CONVENTIONS``.

    Returns:
        The index, the same for rows and columns, possibly fractional.
    """
    offsets = {'aligned': (scale - 1) / 2, 'released': -(scale - 1) / 2, 'kernelgan': (scale - kernel_size % 2) / 2}
    return kernel_size // 2 + offsets[convention]


def normalise(kernel: Tensor) -> Tensor:
    """Scale each of the kernels (N, 1, K, K) to sum 1."""
    return kernel / kernel.sum((-2, -1), keepdim=True)


def centre_of_mass(kernel: Tensor) -> Tensor:
    """Centre of mass (row, column), (N, 2), counted from 0, of kernels (N, 1, K, K) of sum 1."""
    index = torch.arange(kernel.shape[-1]).to(kernel)
    return torch.stack([kernel.sum(-1) @ index, kernel.sum(-2) @ index], dim=-1).squeeze(1)


def convert_convention(kernel: Tensor, scale: int, source: str, target: str) -> tuple[Tensor, bool]:
    """Convert kernels from one convention to another; this shifts the LR image as well.

    The grid grows symmetrically by the shift, so that the kernel is not truncated. A kernel of even size, which only
    KernelGAN's convention allows, first becomes odd: one row and one column of zeros are appended.

    Args:
        kernel: Kernels (N, 1, K, K).
        scale: Subsampling factor s.
        source: Convention of ``kernel``, one of ``CONVENTIONS``.
        target: Convention of the result.

    Returns:
        The kernels (N, 1, K', K'), K' odd and >= K, and whether the conversion is lossless. It is lossless if the
        shift is a whole number of pixels. Otherwise linear interpolation widens the kernel slightly.
    """
    source_offset = kernel_centre(kernel.shape[-1], scale, source) - kernel.shape[-1] // 2
    if kernel.shape[-1] % 2 == 0:
        kernel = F.pad(kernel, (0, 1, 0, 1))
    kernel_size = kernel.shape[-1]
    shift = kernel_centre(kernel_size, scale, target) - kernel_size // 2 - source_offset
    if shift == 0:
        return kernel, True
    margin = math.ceil(abs(shift))
    kernel = F.pad(kernel, (margin,) * 4)
    whole, part = math.floor(shift), shift - math.floor(shift)
    for axis in (-2, -1):
        kernel = (1 - part) * kernel.roll(whole, axis) + part * kernel.roll(whole + 1, axis)
    return kernel, part == 0


def from_aligned(image: Tensor, scale: int, convention: str) -> Tensor:
    """Move a periodic HR image (B, C, H, W) from the grid of ``aligned`` to that of ``aligned`` or ``released``.

    Under ``released``, the LR image lies s - 1 whole HR pixels further, so the HR image is rolled by -(s - 1).
    """
    return image if convention == 'aligned' else image.roll((1 - scale,) * 2, dims=(-2, -1))


def crop_kernel(kernel: Tensor, kernel_size: int) -> Tensor:
    """Crop kernels (N, 1, K, K) to their central ``kernel_size`` pixels, or pad them with zeros, and renormalise."""
    margin = (kernel_size - kernel.shape[-1]) // 2
    return normalise(F.pad(kernel, (margin,) * 4))


def rasterise(points: Tensor, kernel_size: int, mass: Tensor | None = None) -> Tensor:
    """Draw point sets as kernels, spreading each point over its four nearest pixels with bilinear weights.

    Args:
        points: (N, T, 2) rows and columns in pixels, counted from 0.
        kernel_size: K.
        mass: (N, T) weights of the points; equal by default.

    Returns:
        Kernels (N, 1, K, K) of sum 1. If all points lie in [0, K - 1], the centre of mass is that of the points.
    """
    index = torch.arange(kernel_size).to(points)
    weights = (1 - (points.unsqueeze(-1) - index).abs()).clamp_min(0)  # (N, T, 2, K)
    rows, columns = weights.unbind(2)
    if mass is not None:
        rows = rows * mass.unsqueeze(-1)
    return normalise((rows.transpose(1, 2) @ columns).unsqueeze(1))


def centred_in_grid(points: Tensor, kernel_size: int, centre: float, mass: Tensor | None = None) -> Tensor:
    """Move the mean of each point set to the centre; shrink the set if it does not fit the grid."""
    if mass is None:
        points = points - points.mean(1, keepdim=True)
    else:
        points = points - (mass.unsqueeze(1) @ points) / mass.sum(1).view(-1, 1, 1)
    room_before, room_after = centre, kernel_size - 1 - centre
    reach = torch.maximum(-points.amin((1, 2)) / room_before, points.amax((1, 2)) / room_after)
    return centre + points / reach.clamp_min(1).view(-1, 1, 1)


def cubic_kernel(scale: int, kernel_size: int, centre: float) -> Tensor:
    """Kernel of antialiased bicubic downsampling: Keys' cubic (1981, a = -1/2), stretched by the scale.

    Args:
        scale: s; the cubic extends 2 s to each side.
        kernel_size: K; the cubic is truncated to this size.
        centre: Index of the centre, the same for row and column, counted from 0.

    Returns:
        (1, 1, K, K) of sum 1, with negative lobes.
    """
    t = (torch.arange(kernel_size) - centre).abs() / scale
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    row = torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
    return normalise(torch.outer(row, row)[None, None])


def border_weight(kernels: Tensor) -> Tensor:
    """Weight of kernels (L, 1, K, K) of sum 1 on the outermost pixels of their grids, (L,)."""
    return 1 - kernels[..., 1:-1, 1:-1].sum((1, 2, 3))


def fit_to_grid(kernel: Tensor, kernel_size: int, centre: float) -> Tensor:
    """Move a kernel of any size to a K x K grid with a given centre of mass; shrink it if it does not fit.

    Each pixel moves as a point mass (:func:`rasterise`), so the mass and the centre of mass are exact. A kernel that
    fits and moves by whole pixels keeps its values. Pixels below a thousandth of the maximum are dropped, because a
    distant trace would otherwise shrink the whole kernel.

    Args:
        kernel: (H, W), non-negative, not all zero.
        kernel_size: K.
        centre: Index of the centre of mass, the same for row and column, counted from 0, in [0, K - 1].

    Returns:
        (1, 1, K, K) of sum 1, in the dtype of ``kernel``.
    """
    support = kernel > 1e-3 * kernel.max()
    points, mass = support.nonzero().to(kernel)[None], kernel[support][None]
    return rasterise(centred_in_grid(points, kernel_size, centre, mass), kernel_size, mass)
