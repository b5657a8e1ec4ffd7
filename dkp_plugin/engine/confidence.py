"""Reasons why a result may be unreliable, from the LR image before the restoration and from the result after it."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from dkp_plugin.physics.halos import halo_share
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
# Limits by scripts/calibrate_confidence.py, on crops of training photographs.
LOW_KERNEL_PSNR = {1: 47.0, 2: 48.0, 3: 52.0, 4: 53.0, 8: 53.0}  # dB, an error of about 0.3 of the kernel; 8: guessed
HIGH_MISFIT, EXTREME_MISFIT = 0.024, 0.1
FEW_HALOS = 0.28
CAUTIOUS_STRENGTH = 0.5
LARGE_SCALE = 4
SHARPENED = 'the photograph looks sharpened, which no blur explains; use one without sharpening, or its raw file'
MISFITTING = 'no single blur explains the photograph; try another kernel family, or a crop'


@dataclass(frozen=True)
class Inspection:
    """Properties of the LR image that affect the restoration.

    Attributes:
        noise: Estimated standard deviation of the noise, out of 255; 0 if it is below 1.
        jpeg: How the image was compressed, from its JPEG file or, of other files, from its pixels; None: it was not.
        block_origin: Row and column, 0 to 7, at which blocks begin that show although no JPEG was found, as after a
            second compression; None: no such blocks.
        halos: Share of the distinct edges with halos on both sides; see :mod:`dkp_plugin.physics.halos`.
        doubts: Reasons why the kernel estimate may be unreliable; empty if none are found.
    """

    noise: float
    jpeg: JpegCoding | None = None
    block_origin: tuple[int, int] | None = None
    halos: float = 0.0
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
        misfit: Disagreement of image prior and data, from 0; see :mod:`dkp_plugin.engine.misfit`. None: unknown.
        strength: Share of the result, against plain enlargement, that is safe; see :func:`safe_strength`.
        doubts: Reasons for a low confidence; empty if none are found.
    """

    lr_psnr: float
    expected_kernel_psnr: float | None = None
    misfit: float | None = None
    strength: float = 1.0
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
    return Inspection(noise, jpeg, block_origin, halo_share(lq), doubts)


def judge(
    y: Tensor,
    lq: Tensor,
    expected_kernel_psnr: float | None,
    noise: float,
    scale: int,
    misfit: float | None = None,
    halos: float = 0.0,
) -> Confidence:
    """Assess a result.

    Args:
        y: The degraded result, (1, C, h, w) in [0, 1].
        lq: LR image, (1, C, h, w) in [0, 1].
        expected_kernel_psnr: Kernel PSNR that the estimator expects, in dB, or None.
        noise: Standard deviation of the assumed noise, in the units of [0, 1]; the result need not explain this noise.
        scale: Scale factor.
        misfit: See :class:`Confidence`.
        halos: See :class:`Inspection`.
    """
    error = (y - lq).square().mean().item()
    lr_psnr = -10 * math.log10(max(error, 1e-10))
    unexplained = -10 * math.log10(max(error - noise**2, 1e-10))
    is_uncertain = expected_kernel_psnr is not None and expected_kernel_psnr < LOW_KERNEL_PSNR[scale]
    doubts, strength = [], safe_strength(misfit, halos, is_uncertain, scale)
    if (misfit is not None and misfit > HIGH_MISFIT) or strength < CAUTIOUS_STRENGTH:
        doubts.append(SHARPENED if halos > FEW_HALOS else MISFITTING)
    if unexplained < LOW_LR_PSNR:
        doubts.append(f'the result does not explain the photograph, PSNR only {lr_psnr:.1f} dB; try a crop')
    if is_uncertain:
        doubts.append(
            f'the blur is uncertain, expected kernel PSNR only {expected_kernel_psnr:.1f} dB; '
            'try another kernel family, or a crop with distinct edges'
        )
    return Confidence(lr_psnr, expected_kernel_psnr, misfit, strength, doubts)


def safe_strength(misfit: float | None, halos: float, is_uncertain: bool, scale: int) -> float:
    """Share of a result, 0 to 1, with which no worse than plain enlargement is expected.

    Args:
        misfit: See :class:`Confidence`; None: 1 is returned.
        halos: See :class:`Inspection`.
        is_uncertain: Whether the expected kernel PSNR is low.
        scale: Scale factor.
    """
    has_halos = halos > FEW_HALOS
    # With an uncertain blur alone, as of noise or motion, a result gains at full strength. With halos, too, it may lose
    # many decibels, but not at large scales, where halos are common.
    is_suspect = is_uncertain and has_halos and scale < LARGE_SCALE
    if misfit is None or (misfit <= HIGH_MISFIT and not is_suspect):
        return 1.0
    return CAUTIOUS_STRENGTH * (0.5 if has_halos else 1.0) * EXTREME_MISFIT / max(misfit, EXTREME_MISFIT)
