"""How JPEG compressed an image: the quantisation tables, the resolution of chroma, and where the blocks begin."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dkp_plugin.physics.jpeg import BLOCK

LUMA_TABLE = (  # ITU-T T.81, tables K.1 and K.2, which encoders scale with the quality
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)
LUMINANCE_SUM = sum(map(sum, LUMA_TABLE))
USUAL_FACTORS = (2, 2)  # chroma has half the resolution, as most encoders have it by default


def quality_of_table(luma: Sequence[int]) -> int:
    """The quality, 1 to 100, at which the encoder of the Independent JPEG Group uses a similar luma table.

    The sum of the table determines the quality, whatever the order of its entries. Rounding and the bounds 1 and 255 on
    the entries cause an error of one point.
    """
    percent = 100 * sum(luma) / LUMINANCE_SUM
    quality = (200 - percent) / 2 if percent <= 100 else 5000 / percent
    return min(max(round(quality), 1), 100)


def standard_tables(quality: int) -> Tensor:
    """Quantisation tables of the Independent JPEG Group's encoder, out of 255.

    Args:
        quality: 1 to 100.

    Returns:
        (3, 8, 8): of luma and twice of chroma; rows are vertical frequencies.
    """
    percent = 200 - 2 * quality if quality >= 50 else 5000 // quality
    tables = torch.tensor([LUMA_TABLE, CHROMA_TABLE, CHROMA_TABLE])
    return ((tables * percent + 50) // 100).clamp(1, 255).float()


@dataclass(frozen=True)
class JpegCoding:
    """How an image was compressed.

    Attributes:
        tables: Quantisation steps of luma and the two chroma channels, out of 255: three times 64 numbers, row by row.
        chroma_factors: How many rows and columns of the image share one value of chroma.
        origin: Row and column of the image at which the first whole block begins.
    """

    tables: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    chroma_factors: tuple[int, int] = USUAL_FACTORS
    origin: tuple[int, int] = (0, 0)

    @classmethod
    def standard(cls, quality: int, origin: tuple[int, int] = (0, 0)) -> 'JpegCoding':
        """The coding of the Independent JPEG Group's encoder at a quality of 1 to 100."""
        tables = standard_tables(quality).int().flatten(1).tolist()
        return cls(tuple(map(tuple, tables)), origin=origin)

    @property
    def quality(self) -> int:
        """About what quality, 1 to 100; see :func:`quality_of_table`."""
        return quality_of_table(self.tables[0])

    @property
    def steps(self) -> Tensor:
        """The tables, (3, 8, 8) in the units of [0, 1]."""
        return torch.tensor(self.tables).view(3, BLOCK, BLOCK) / 255

    def turned(self, orientation: int, size: tuple[int, int]) -> 'JpegCoding':
        """The coding after the image was turned.

        Args:
            orientation: As in EXIF, 1 to 8.
            size: Height and width of the image before.
        """
        tables, factors, origin = self.tables, self.chroma_factors, self.origin
        if orientation in (5, 6, 7, 8):  # rows become columns
            steps = torch.tensor(tables).view(3, BLOCK, BLOCK).transpose(1, 2).flatten(1)
            tables = tuple(map(tuple, steps.tolist()))
            factors, origin, size = factors[::-1], origin[::-1], size[::-1]
        is_flipped = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)
        origin = tuple(
            (side - start) % (BLOCK * factor) if flipped else start
            for flipped, start, side, factor in zip(is_flipped, origin, size, factors, strict=True)
        )
        return JpegCoding(tables, factors, origin)

    def to_tensor(self) -> Tensor:
        """All numbers in one tensor, (196,), which data loaders can batch."""
        return torch.tensor([*sum(self.tables, ()), *self.chroma_factors, *self.origin])

    @classmethod
    def from_tensor(cls, numbers: Tensor) -> 'JpegCoding':
        """Undo :meth:`to_tensor`."""
        *tables, chroma, origin = (tuple(part.tolist()) for part in numbers.split([64, 64, 64, 2, 2]))
        return cls(tuple(tables), chroma, origin)

    def record(self) -> dict[str, object]:
        """What a record says of it."""
        tables = {'luma': self.tables[0], 'blue': self.tables[1], 'red': self.tables[2]}
        return {
            'quality': self.quality,
            'chroma_factors': self.chroma_factors,
            'origin': self.origin,
            'tables': {key: list(table) for key, table in tables.items()},
        }
