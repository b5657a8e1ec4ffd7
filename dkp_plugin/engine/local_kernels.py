"""Blur that varies over the image: one kernel per cell of a grid, results blended between the cells."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from dkp_plugin.engine.alternation import AlternationResult
from dkp_plugin.engine.tiles import Place, scale_place

CELL = 96  # usual side of a cell in LR pixels; an image of several cells has cells of 72 to 120
CONTEXT = 16  # LR pixels around a cell that its search and its restoration see as well
LOW_KERNEL_PSNR = 48.0  # dB; a cell of lower expectation is not sure. Cells have few pixels, so most expect little


@dataclass(frozen=True)
class Grid:
    """The cells of an image.

    Args:
        size: (h, w) of the LR image.
    """

    size: tuple[int, int]

    @cached_property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        height, width = (max(1, round(side / CELL)) for side in self.size)
        return height, width

    def __len__(self) -> int:
        return math.prod(self.shape)

    def cells(self) -> list[Place]:
        """The parts of the LR image in which the kernels are sought, row by row."""
        return self._places(0.5)

    def regions(self) -> list[Place]:
        """The parts of the LR image that the kernels restore: a cell and half of its neighbours, row by row."""
        return self._places(1.0)

    def _places(self, reach: float) -> list[Place]:
        """Parts that reach so many cells from the centre of each cell, and ``CONTEXT`` pixels further."""
        axes = []
        for side, num in zip(self.size, self.shape, strict=True):
            bounds = [((index + 0.5 - reach) * side / num, (index + 0.5 + reach) * side / num) for index in range(num)]
            axes.append([slice(max(math.floor(a) - CONTEXT, 0), min(math.ceil(b) + CONTEXT, side)) for a, b in bounds])
        return [(row, column) for row in axes[0] for column in axes[1]]

    def windows(self, scale: int) -> list[Tensor]:
        """Weights of the cells' results in the whole image, (scale h, scale w) each; they sum to 1 at every pixel."""
        rows, columns = (_axis_windows(side, num, scale) for side, num in zip(self.size, self.shape, strict=True))
        return [torch.outer(row, column) for row in rows for column in columns]


def _axis_windows(side: int, num: int, scale: int) -> Tensor:
    """Raised cosines between the centres of the cells, constant beyond the outermost centres, (num, scale side)."""
    centres = (torch.arange(num) + 0.5) * side / num
    position = ((torch.arange(scale * side) + 0.5) / scale).clamp(centres[0], centres[-1])
    distance = (position - centres.unsqueeze(1)).abs() * num / side
    return torch.cos(0.5 * math.pi * distance.clamp_max(1)).square()


@dataclass(frozen=True)
class KernelField:
    """The kernels of the cells.

    Attributes:
        kernels: (rows, columns, K, K), non-negative, each of sum 1. Unsure cells have the mean of their neighbours.
        expected_psnr: Kernel PSNR that the estimator expected in each cell, in dB; None if it has no expectation.
        is_sure: Whether the cell's own kernel was used.
    """

    kernels: Tensor
    expected_psnr: list[list[float | None]]
    is_sure: list[list[bool]]

    @property
    def in_turn(self) -> Tensor:
        """The kernels row by row, (L, 1, K, K)."""
        return self.kernels.flatten(0, 1).unsqueeze(1)

    def record(self) -> dict[str, object]:
        """The attributes as they stand in a record."""
        return vars(self) | {'kernels': self.kernels.tolist()}


def find_field(
    search: Callable[[int, Tensor], AlternationResult], lq: Tensor, grid: Grid
) -> tuple[KernelField, AlternationResult]:
    """Estimate the kernel of every cell.

    Args:
        search: Takes the index of a cell and its part of the LR image; returns its kernel.
        lq: LR image, (1, C, h, w).
        grid: Its cells.

    Returns:
        The field, and the result of the cell that expects most of its kernel.
    """
    found = [search(index, lq[(..., *place)]) for index, place in enumerate(grid.cells())]
    expected = [result.expected_kernel_psnr for result in found]
    is_sure = [value is None or value >= LOW_KERNEL_PSNR for value in expected]
    best = max(range(len(found)), key=lambda index: math.inf if expected[index] is None else expected[index])
    is_sure[best] = True
    kernels = torch.stack([result.kernel[0, 0] for result in found]).unflatten(0, grid.shape)
    rows, columns = grid.shape
    sure = torch.tensor(is_sure).view(rows, columns)

    def in_rows(values: Sequence) -> list[list]:
        return [list(values[row * columns : (row + 1) * columns]) for row in range(rows)]

    return KernelField(fill_unsure(kernels, sure), in_rows(expected), in_rows(is_sure)), found[best]


def fill_unsure(kernels: Tensor, is_sure: Tensor) -> Tensor:
    """Replace unsure kernels by the mean of their up to eight sure neighbours, from the sure ones outwards.

    Args:
        kernels: (rows, columns, K, K).
        is_sure: (rows, columns), true at least once.

    Returns:
        (rows, columns, K, K).
    """
    kernels, is_known = kernels.clone(), is_sure.clone()
    while not is_known.all():
        before = is_known.clone()
        for row, column in (~before).nonzero().tolist():
            near = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
            if before[near].any():
                kernels[row, column] = kernels[near][before[near]].mean(0)
                is_known[row, column] = True
    return kernels


def blend_regions(make: Callable[[int, Tensor], Tensor], image: Tensor, unit: int, grid: Grid, scale: int) -> Tensor:
    """Process the region of every cell and blend the results.

    Args:
        make: Takes the index of a cell and its region of the image; returns its part of the result.
        image: (1, C, unit h, unit w).
        unit: Pixels of the image per LR pixel.
        grid: The cells of the LR image of (h, w) pixels.
        scale: Pixels of the result per LR pixel.

    Returns:
        (1, C, scale h, scale w).
    """
    total = image.new_zeros(*image.shape[:2], *(scale * side for side in grid.size))
    for index, (place, window) in enumerate(zip(grid.regions(), grid.windows(scale), strict=True)):
        source, target = ((..., *scale_place(place, factor)) for factor in (unit, scale))
        total[target] += window[target].to(image) * make(index, image[source])
    return total
