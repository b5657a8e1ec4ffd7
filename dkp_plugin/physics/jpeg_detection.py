"""Find out whether an image was a JPEG before it was saved without loss.

The DCT coefficients of a decoded JPEG lie on the lattice of its quantisation table, up to the rounding of the pixels.
The blocks may begin anywhere, since the image may have been cropped.
"""

import math

import torch
from torch import Tensor

from dkp_plugin.physics.coding_noise import block_coefficients, rgb_to_ycc
from dkp_plugin.physics.jpeg import BLOCK
from dkp_plugin.physics.jpeg_coding import JpegCoding, standard_tables

QUALITIES = range(20, 96)  # above them the lattice is finer than the rounding errors
ROUNDING = 0.45  # standard deviation of a coefficient about the lattice, out of 255
SMALLEST = 3.0  # coefficients below it, out of 255, could be zeros of the lattice
MIN_COEFFICIENTS = 60
LARGEST_PART = 512  # pixels to a side that suffice
OUTLIERS = 1e-3  # share of coefficients off the lattice, such as those of clipped pixels
MIN_EVIDENCE = 0.4  # log-likelihood per coefficient by which the lattice must surpass no lattice


def detect_jpeg(image: Tensor) -> JpegCoding | None:
    """Find tables and grid of a JPEG among its decoded pixels.

    Args:
        image: (1, 3, h, w) in [0, 1].

    Returns:
        The coding of the Independent JPEG Group's encoder at a quality of 20 to 95, with the row and column, 0 to 7, at
        which the first whole block begins; None if the image shows no lattice of a JPEG.
    """
    top, left = (max(side - LARGEST_PART, 0) // 2 // BLOCK * BLOCK for side in image.shape[-2:])
    part = image[..., top : top + LARGEST_PART, left : left + LARGEST_PART]
    luma = 255 * rgb_to_ycc(part)[0, 0] - 128
    if min(luma.shape) < 2 * BLOCK:
        return None
    origins = [(row, column) for row in range(BLOCK) for column in range(BLOCK)]
    zeros = [(block_coefficients(luma[row:, column:]).abs() < 1).float().mean() for row, column in origins]
    row, column = origin = origins[int(torch.stack(zeros).argmax())]
    coefficients = block_coefficients(luma[row:, column:]).flatten(1)[:, 1:]  # the means of blocks say little
    is_used = coefficients.abs() > SMALLEST
    if is_used.sum() < MIN_COEFFICIENTS:
        return None
    values, index = coefficients[is_used], is_used.nonzero()[:, 1]
    tables = [standard_tables(quality)[0].flatten()[1:].to(values) for quality in QUALITIES]
    evidence = [_lattice_evidence(values, table[index]) for table in tables]
    best = max(range(len(evidence)), key=evidence.__getitem__)
    return JpegCoding.standard(QUALITIES[best], origin) if evidence[best] > MIN_EVIDENCE else None


def _lattice_evidence(values: Tensor, step: Tensor) -> float:
    """Mean log-likelihood ratio of values on a lattice with rounding errors against values anywhere."""
    distance = values - step * (values / step).round()
    # On a lattice that is finer than the errors, the density is flat as without a lattice: the ratio is 1.
    on_lattice = step / (ROUNDING * math.sqrt(2 * math.pi)) * torch.exp(-0.5 * (distance / ROUNDING).square())
    ratio = torch.where(step < 3 * ROUNDING, torch.ones_like(step), on_lattice + OUTLIERS)
    return ratio.log().mean().item()
