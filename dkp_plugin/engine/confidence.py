"""What makes a result unreliable, seen in the LR image before the work and in the result after it."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from dkp_plugin.physics.jpeg import blockiness, compression_error
from dkp_plugin.physics.noise import estimate_noise

STRONG_NOISE = 4.0  # standard deviation, of 255
LOW_QUALITY = 80  # of a JPEG file
HIGH_BLOCKINESS = 0.3  # that of JPEG quality 60
COMPRESSION_SHARE = 0.5  # the error of compression is not white: all of it gains less, and on some images loses
FEW_PIXELS = 32  # to the shorter side
LOW_LR_PSNR = 35.0  # dB
LOW_KERNEL_PSNR = 53.0  # dB expected; of the 18 images of BSD100 below it, 7 had kernels below 52 dB, of the others 5


@dataclass(frozen=True)
class Inspection:
    """What the LR image itself shows.

    Attributes:
        noise: Estimated standard deviation of its noise, of 255; 0 below 1.
        jpeg_quality: Of a JPEG file, 1 to 100.
        doubts: Reasons why an estimate of the kernel may be unreliable; empty if there are none.
    """

    noise: float
    jpeg_quality: int | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def error(self) -> float:
        """Standard deviation, of 255, that ``noise: auto`` assumes: of noise, or a share of the compression error."""
        quality = self.jpeg_quality
        return self.noise if quality is None else max(self.noise, COMPRESSION_SHARE * compression_error(quality))


@dataclass(frozen=True)
class Confidence:
    """How far the result can be trusted.

    Attributes:
        lr_psnr: PSNR in dB between the LR image and the result degraded again.
        expected_kernel_psnr: The kernel PSNR in dB that the estimator expects; None if it has no estimate of it.
        doubts: Reasons for a low confidence; empty if there are none.
    """

    lr_psnr: float
    expected_kernel_psnr: float | None = None
    doubts: list[str] = field(default_factory=list)

    @property
    def is_low(self) -> bool:
        """Whether there are doubts."""
        return bool(self.doubts)


def inspect(lq: Tensor, jpeg_quality: int | None = None) -> Inspection:
    """Look for what misleads an estimate of the kernel.

    Args:
        lq: LR image, (1, C, h, w) in [0, 1].
        jpeg_quality: Of a JPEG file.
    """
    noise, doubts = 255 * estimate_noise(lq), []
    if noise > STRONG_NOISE:
        doubts.append(f'its noise is strong, about {noise:.1f} of 255')
    if jpeg_quality is not None and jpeg_quality < LOW_QUALITY:
        doubts.append(f'it is a JPEG file of quality about {jpeg_quality}')
    elif jpeg_quality is None and blockiness(lq) > HIGH_BLOCKINESS:
        doubts.append('it shows the blocks of JPEG compression')
    if min(lq.shape[-2:]) < FEW_PIXELS:
        doubts.append(f'it has few pixels, {lq.shape[-1]}x{lq.shape[-2]}')
    return Inspection(noise, jpeg_quality, doubts)


def judge(y: Tensor, lq: Tensor, expected_kernel_psnr: float | None, noise: float) -> Confidence:
    """Judge a result.

    Args:
        y: The result degraded again, (1, C, h, w) in [0, 1].
        lq: LR image, of the same shape.
        expected_kernel_psnr: In dB, from the estimator, or None.
        noise: Standard deviation of the noise that the method assumed, in the units of [0, 1]; the result does not
            have to explain it.
    """
    error = (y - lq).square().mean().item()
    lr_psnr = -10 * math.log10(max(error, 1e-10))
    unexplained = -10 * math.log10(max(error - noise**2, 1e-10))
    doubts = []
    if unexplained < LOW_LR_PSNR:
        doubts.append(f'the result, degraded again, is only {lr_psnr:.1f} dB from the input')
    if expected_kernel_psnr is not None and expected_kernel_psnr < LOW_KERNEL_PSNR:
        doubts.append(f'the kernels that explain the input spread by {expected_kernel_psnr:.1f} dB')
    return Confidence(lr_psnr, expected_kernel_psnr, doubts)
