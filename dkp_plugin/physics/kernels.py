"""Blur kernels: where their centre lies, and how conventions convert.

A kernel is a tensor (N, 1, K, K), K odd, non-negative, of sum 1, used as a correlation (see ``degradation.py``).

Three conventions for the centre of mass are in use, here as offsets from the anchor K // 2, in HR pixels:

===========  =====================  =======================================================================
name         offset                 meaning
===========  =====================  =======================================================================
aligned      (s - 1) / 2            LR and HR pixels lie on one grid, as after bicubic or area resizing
released     -(s - 1) / 2           FKP, USRNet, DKP: LR shifted by s - 1 HR pixels against that grid
kernelgan    (s - K mod 2) / 2      KernelGAN: as ``aligned`` for its odd kernels, half a pixel on for even ones
===========  =====================  =======================================================================
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

CONVENTIONS = ('aligned', 'released', 'kernelgan')


def default_kernel_size(scale: int) -> int:
    """Kernel size of the papers for a scale: min(4 s + 3, 21)."""
    return min(4 * scale + 3, 21)


def check_kernel_size(kernel_size: int) -> None:
    """Raise ValueError unless ``kernel_size`` is an odd integer of at least 3."""
    if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f'kernel_size: {kernel_size!r} is not an odd number of at least 3')


def kernel_centre(kernel_size: int, scale: int, convention: str) -> float:
    """Index, counted from 0, at which the centre of mass of a K x K kernel belongs.

    Args:
        kernel_size: K.
        scale: Subsampling factor s.
        convention: A name of ``CONVENTIONS``.

    Returns:
        The index, the same for rows and columns; may be fractional.
    """
    offsets = {'aligned': (scale - 1) / 2, 'released': -(scale - 1) / 2, 'kernelgan': (scale - kernel_size % 2) / 2}
    return kernel_size // 2 + offsets[convention]


def normalise(kernel: Tensor) -> Tensor:
    """Scale kernels (N, 1, K, K) to sum 1 each."""
    return kernel / kernel.sum((-2, -1), keepdim=True)


def centre_of_mass(kernel: Tensor) -> Tensor:
    """Centre of mass (row, column), counted from 0, of kernels (N, 1, K, K) of sum 1: a tensor (N, 2)."""
    index = torch.arange(kernel.shape[-1]).to(kernel)
    return torch.stack([kernel.sum(-1) @ index, kernel.sum(-2) @ index], dim=-1).squeeze(1)


def convert_convention(kernel: Tensor, scale: int, source: str, target: str) -> tuple[Tensor, bool]:
    """Move kernels from one convention to another; the LR image they belong to moves with them.

    The grid grows symmetrically by as much as the kernel moves, so that nothing falls off its edge. A kernel of even
    size, which only KernelGAN's convention has, first becomes odd by one row and column of zeros behind the last.

    Args:
        kernel: Kernels (N, 1, K, K).
        scale: Subsampling factor s.
        source: Convention of ``kernel``, a name of ``CONVENTIONS``.
        target: Convention of the result.

    Returns:
        The kernels (N, 1, K', K'), K' odd and >= K, and whether the conversion is lossless: true where the shift is
        a whole number of pixels. Otherwise the shift interpolates linearly, which widens the kernel a little.
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


def crop_kernel(kernel: Tensor, kernel_size: int) -> Tensor:
    """Cut kernels (N, 1, K, K) to their central ``kernel_size`` pixels (or pad with zeros) and renormalise."""
    margin = (kernel_size - kernel.shape[-1]) // 2
    return normalise(F.pad(kernel, (margin,) * 4))


def rasterise(points: Tensor, kernel_size: int, mass: Tensor | None = None) -> Tensor:
    """Draw point sets as kernels, each point spread over its four neighbours by bilinear weights.

    Args:
        points: (N, T, 2) rows and columns in pixels, counted from 0.
        kernel_size: K.
        mass: (N, T) weights of the points; equal by default.

    Returns:
        Kernels (N, 1, K, K) of sum 1. Their centre of mass is that of the points where all lie in [0, K - 1].
    """
    index = torch.arange(kernel_size).to(points)
    weights = (1 - (points.unsqueeze(-1) - index).abs()).clamp_min(0)  # (N, T, 2, K)
    rows, columns = weights.unbind(2)
    if mass is not None:
        rows = rows * mass.unsqueeze(-1)
    return normalise((rows.transpose(1, 2) @ columns).unsqueeze(1))


def centred_in_grid(points: Tensor, kernel_size: int, centre: float, mass: Tensor | None = None) -> Tensor:
    """Move the mean of each point set to the centre; shrink the set where it would leave the grid."""
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
        scale: s; the cubic reaches 2 s to both sides.
        kernel_size: K; what lies outside is cut off.
        centre: Index of the centre, row and column alike, counted from 0.

    Returns:
        (1, 1, K, K) of sum 1, with negative lobes.
    """
    t = (torch.arange(kernel_size) - centre).abs() / scale
    inner, outer = 1.5 * t**3 - 2.5 * t**2 + 1, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    row = torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
    return normalise(torch.outer(row, row)[None, None])


def fit_to_grid(kernel: Tensor, kernel_size: int, centre: float) -> Tensor:
    """Move a kernel of any size to a K x K grid, its centre of mass to a given place; shrink it if it would not fit.

    Each pixel moves as a point mass (:func:`rasterise`). So mass and centre of mass are kept exactly, and a kernel that
    needs neither a smaller size nor a shift by a part of a pixel keeps its values. Pixels below a thousandth of the
    largest are left out, lest a trace far off shrink all.

    Args:
        kernel: (H, W), non-negative, not all zero.
        kernel_size: K.
        centre: Index for the centre of mass, row and column alike, counted from 0, within [0, K - 1].

    Returns:
        (1, 1, K, K) of sum 1, in the dtype of ``kernel``.
    """
    support = kernel > 1e-3 * kernel.max()
    points, mass = support.nonzero().to(kernel)[None], kernel[support][None]
    return rasterise(centred_in_grid(points, kernel_size, centre, mass), kernel_size, mass)
