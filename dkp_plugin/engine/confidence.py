"""Reasons why a result may be unreliable, from the LR image before the restoration and from the result after it."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from dkp_plugin.physics.jpeg import blockiness, compression_error
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.jpeg_detection import detect_jpeg
from dkp_plugin.physics.noise import estimate_noise

STRONG_NOISE = 4.0  # standard deviation, out of 255
LOW_QUALITY = 80  # of a JPEG file
HIGH_BLOCKINESS = 0.3  # blockiness at JPEG quality 60
BLOCKS_QUALITY = 50  # assumed of an image with visible blocks for which no JPEG was found
COMPRESSION_SHARE = 0.5  # the compression error is not white; a share of 1 gains less and worsens some images
FEW_PIXELS = 32  # along the shorter side
LOW_LR_PSNR = 35.0  # dB
LOW_KERNEL_PSNR = 53.0  # dB; on BSD100, 7 of the 18 images below it had kernels below 52 dB, 5 of the others


@dataclass(frozen=True)
class Inspection:
    """Properties of the LR image that affect the restoration.

    Attributes:
        noise: Estimated standard deviation of the noise, out of 255; 0 if it is below 1.
        jpeg: How the image was compressed, from its JPEG file or, of other files, from its pixels; None: it was not.
        block_origin: Row and column, 0 to 7, at which blocks begin that show although no JPEG was found, as after a
            second compression; None: no such blocks.
        doubts: Reasons why the kernel estimate may be unreliable; empty if none are found.
    """

    noise: float
    jpeg: JpegCoding | None = None
    block_origin: tuple[int, int] | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def jpeg_quality(self) -> int | None:
        """About what quality a JPEG was compressed with, 1 to 100; None for other images."""
        return None if self.jpeg is None else self.jpeg.quality

    def record(self) -> dict[str, object]:
        """The attributes as they stand in a record."""
        return vars(self) | {'jpeg': None if self.jpeg is None else self.jpeg.record()}


@dataclass(frozen=True)
class Confidence:
    """Confidence in a result.

    Attributes:
        lr_psnr: PSNR in dB between the degraded result and the LR image.
        expected_kernel_psnr: Kernel PSNR that the estimator expects, in dB; None if it provides no estimate.
        doubts: Reasons for a low confidence; empty if none are found.
    """

    lr_psnr: float
    expected_kernel_psnr: float | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def is_low(self) -> bool:
        """Whether ``doubts`` lists any reason."""
        return bool(self.doubts)


def white_equivalent(noise: float, jpeg: JpegCoding | None) -> float:
    """The noise for methods that know white noise alone, or half of the JPEG error if that is larger; out of 255."""
    return noise if jpeg is None else max(noise, COMPRESSION_SHARE * compression_error(jpeg.quality))


def inspect(lq: Tensor, jpeg: JpegCoding | None = None) -> Inspection:
    """Check an LR image for properties that mislead kernel estimation.

    Args:
        lq: LR image, (1, C, h, w) in [0, 1].
        jpeg: How a JPEG file was compressed; None for other files, whose pixels may show that they were one.
    """
    noise, doubts = 255 * estimate_noise(lq), []
    jpeg = jpeg or detect_jpeg(lq.expand(-1, 3, -1, -1))
    if noise > STRONG_NOISE:
        doubts.append(f'strong noise, standard deviation about {noise:.1f} out of 255')
    if jpeg is not None and jpeg.quality < LOW_QUALITY:
        doubts.append(f'JPEG compression, quality about {jpeg.quality}')
    strength, block_origin = blockiness(lq)
    if jpeg is not None or strength <= HIGH_BLOCKINESS:
        block_origin = None
    else:
        doubts.append('visible JPEG blocks')
    if min(lq.shape[-2:]) < FEW_PIXELS:
        doubts.append(f'few pixels, {lq.shape[-1]}x{lq.shape[-2]}')
    return Inspection(noise, jpeg, block_origin, doubts)


def judge(y: Tensor, lq: Tensor, expected_kernel_psnr: float | None, noise: float) -> Confidence:
    """Assess a result.

    Args:
        y: The degraded result, (1, C, h, w) in [0, 1].
        lq: LR image, (1, C, h, w) in [0, 1].
        expected_kernel_psnr: Kernel PSNR that the estimator expects, in dB, or None.
        noise: Standard deviation of the assumed noise, in the units of [0, 1]; the result need not explain this noise.
    """
    error = (y - lq).square().mean().item()
    lr_psnr = -10 * math.log10(max(error, 1e-10))
    unexplained = -10 * math.log10(max(error - noise**2, 1e-10))
    doubts = []
    if unexplained < LOW_LR_PSNR:
        doubts.append(f'degraded result differs from the input, PSNR only {lr_psnr:.1f} dB')
    if expected_kernel_psnr is not None and expected_kernel_psnr < LOW_KERNEL_PSNR:
        doubts.append(f'uncertain kernel, expected PSNR only {expected_kernel_psnr:.1f} dB')
    return Confidence(lr_psnr, expected_kernel_psnr, doubts)
