"""Restore photographs from Python: ``dkp_plugin.restore(image)``; see ``docs/api.md``."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.confidence import Confidence, Inspection
from dkp_plugin.engine.restoration import Observer, Restoration
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.io.colours import to_gray_or_rgb
from dkp_plugin.io.kernel_files import check_kernel
from dkp_plugin.io.photo_files import MAX_PIXELS, read_photo
from dkp_plugin.io.pixels import from_tensor, to_tensor
from dkp_plugin.io.transparency import join_alpha, split_alpha
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.physics.jpeg_coding import JpegCoding

OnProgress = Callable[[int, int], None]  # called with the steps done and an upper bound of their number


@dataclass(frozen=True)
class RestorationResult:
    """A restored photograph and what is known of it.

    Attributes:
        image: (s H, s W) or (s H, s W, C), as the photograph's array, in its dtype and channels; of a tensor
            (s H, s W, C), floating point.
        kernel: (K, K) float64, non-negative, of sum 1: the blur, in pixels of ``image``, as a correlation.
        confidence: How far to trust it.
        inspection: What the photograph itself showed before the work.
        seconds: Duration.
        noise: Standard deviation of the noise that the method assumed, of 255.
        curve: Losses along the way; see :class:`~dkp_plugin.engine.alternation.AlternationResult`.
    """

    image: np.ndarray
    kernel: np.ndarray
    confidence: Confidence
    inspection: Inspection
    seconds: float
    noise: float
    curve: list[dict[str, float]] = field(default_factory=list, repr=False)


def restore(
    image: np.ndarray | Tensor | Image.Image | str | os.PathLike,
    scale: int = 4,
    method: str = 'diff-dkp',
    kernel: np.ndarray | str | os.PathLike = 'auto',
    noise: float | str = 'auto',
    preset: str = 'balanced',
    device: str = 'auto',
    seed: int = 0,
    tile: int | str = 'auto',
    convention: str = 'aligned',
    max_pixels: int = MAX_PIXELS,
    on_progress: OnProgress | None = None,
    weights: str | os.PathLike | None = None,
    strength: float = 1.0,
) -> RestorationResult:
    """Restore a photograph whose blur is unknown.

    Args:
        image: An image file; an array (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha, of
            uint8, uint16, or floating point in [0, 1]; a tensor (C, H, W) or (1, C, H, W), floating point in [0, 1]; or
            an image of Pillow. At least 16x16 pixels.
        scale: 1 (the same size, deblurred), 2, 3, 4 or 8.
        method: A name of ``presets.METHODS``.
        kernel: Kernel family to assume, such as ``gaussian`` or ``motion``, if the method has it; ``auto``: its own; or
            the blur itself: a kernel file, ``.mat`` or ``.npy``, or an array (K, K), K odd, of sum 1.
        noise: Standard deviation of the noise, of 255; ``auto``: estimated, with what a JPEG file's compression adds.
        preset: ``fast``, ``balanced`` or ``paper``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        seed: Seed of all random numbers.
        tile: Side of the tiles, in pixels of the result, in which a larger image is restored.
        convention: ``aligned`` keeps the picture where bicubic enlargement would put it; ``released`` is for
            benchmark images.
        max_pixels: Larger files are refused.
        on_progress: Called after each step with the steps done and an upper bound of their number.
        weights: File of trained weights of the method; None: those of the package.
        strength: 0 to 1, blends bicubic enlargement (0) and the method's image (1); ``kernel`` and ``confidence`` are
            those of the method.

    Returns:
        The result, exactly ``scale`` times as large.

    Raises:
        UserError: one line: the argument or file, its value and the allowed values.
    """
    name = 'auto' if isinstance(kernel, np.ndarray) else os.fspath(kernel)
    given = {'scale': scale, 'method': method, 'kernel': name, 'noise': noise, 'preset': preset}
    given |= {'seed': seed, 'convention': convention, 'weights': None if weights is None else os.fspath(weights)}
    choices = parse_section(Choices, given, '')
    opt = make_options(choices)
    if isinstance(kernel, np.ndarray):
        opt['network_k'] = {'type': 'FixedKernel'}
    restorer = PhotoRestorer(opt, device, tile, strength)
    if isinstance(kernel, np.ndarray):
        restorer.restoration.estimator = FixedKernel.of(check_kernel(kernel, 'kernel')[None])
    observer = _StepObserver(on_progress) if on_progress else None
    if isinstance(image, str | os.PathLike):
        photo = read_photo(Path(image), max_pixels)
        return restorer(photo.pixels, Path(image).stem, photo.jpeg, observer)
    return restorer(to_pixels(image), observer=observer)


def to_pixels(image: np.ndarray | Tensor | Image.Image) -> np.ndarray:
    """Turn what Python programs hold an image in into an array of pixels.

    Args:
        image: An array, which is returned as it is; a tensor (C, H, W) or (1, C, H, W); or an image of Pillow.

    Returns:
        (H, W) or (H, W, C); see :func:`check_pixels`, which checks it.

    Raises:
        ImageError: for anything else.
    """
    if isinstance(image, np.ndarray):
        return image
    if isinstance(image, Image.Image):
        try:
            return to_gray_or_rgb(image, image.info.get('icc_profile'))[0]
        except ValueError as error:
            raise ImageError(f'image: {error}') from None
    if isinstance(image, Tensor) and image.is_floating_point():
        if image.ndim == 4 and len(image) == 1:
            image = image[0]
        if image.ndim == 3:
            return image.detach().cpu().permute(1, 2, 0).numpy()
    found = f'a tensor of {image.dtype} and shape {tuple(image.shape)}' if isinstance(image, Tensor) else type(image)
    raise ImageError(
        f'image: {found} is not allowed; allowed: a file, an array, an image of Pillow, or a floating-point tensor '
        '(C, H, W) or (1, C, H, W)'
    )


def check_pixels(pixels: np.ndarray) -> np.ndarray:
    """Check an array of pixels and give it three dimensions.

    Args:
        pixels: (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha; uint8, uint16, or floating
            point in [0, 1].

    Returns:
        (H, W, C).

    Raises:
        ImageError: for another shape or dtype, and for values that are not finite or not in [0, 1].
    """
    allowed = 'allowed: (H, W) or (H, W, C), C from 1 to 4, of uint8, uint16 or floating point'
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 2, 3, 4)):
        raise ImageError(f'image: an array of shape {pixels.shape}; {allowed}')
    if pixels.dtype not in (np.uint8, np.uint16) and pixels.dtype.kind != 'f':
        raise ImageError(f'image: an array of {pixels.dtype}; {allowed}')
    if pixels.dtype.kind == 'f' and pixels.size and not (pixels.min() >= 0 and pixels.max() <= 1):
        raise ImageError(f'image: values from {pixels.min():.4g} to {pixels.max():.4g}; allowed: 0 to 1')
    return pixels if pixels.ndim == 3 else pixels[..., None]


class _StepObserver(Observer):
    """Passes the steps on to a function."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.stepped = on_progress


class PhotoRestorer:
    """Restores one photograph after the other as one option file says: arrays of pixels in, arrays of pixels out.

    Args:
        opt: Options of a file with ``model_type: BlindSRModel``; data sets and folders are not used.
        device: See :func:`restore`; or a device.
        tile: See :func:`restore`; None: as in the options.
        strength: See :func:`restore`.

    Raises:
        OptionError: for a mistake in the options or arguments, and for an estimator that needs the true kernel.
        UserError: for a file they name that cannot be used.
    """

    def __init__(
        self,
        opt: Mapping[str, Any],
        device: str | torch.device = 'auto',
        tile: int | Literal['auto'] | None = None,
        strength: float = 1.0,
    ) -> None:
        if not (isinstance(strength, int | float) and 0 <= strength <= 1):
            raise OptionError(f'strength: {strength!r} is not allowed; allowed: 0 to 1')
        self.strength = strength
        self.restoration = Restoration(opt, device, tile)
        if self.restoration.estimator.needs_truth:
            raise OptionError('network_k: source: gt is not possible, photographs come without a true kernel')

    def __call__(
        self,
        pixels: np.ndarray,
        name: str = '',
        jpeg: JpegCoding | None = None,
        observer: Observer | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> RestorationResult:
        """Restore a photograph.

        Args:
            pixels: See :func:`restore`.
            name: File name without folder and suffix, from which, with the seed, all random numbers come.
            jpeg: How the JPEG file that the photograph comes from was compressed, if any.
            observer: Follows the work.
            checkpoints: Where the state is saved, and from where an interrupted photograph resumes.

        Raises:
            ImageError: for pixels that cannot be used, and if memory is too small.
            DivergenceError: if every attempt ended in numbers that are not finite.
        """
        colour, alpha = split_alpha(to_tensor(check_pixels(pixels)))
        result = self.restoration(colour, name, jpeg, observer, checkpoints)
        x = result.x
        if self.strength < 1:
            x = torch.lerp(self.restoration.enlarge(colour.to(x)), x, self.strength)
        if alpha is not None:
            x = join_alpha(x, self.restoration.enlarge(alpha.to(x)))
        array = from_tensor(x, pixels.dtype)
        return RestorationResult(
            array if pixels.ndim == 3 else array[..., 0],
            result.kernel[0, 0].double().cpu().numpy(),
            result.confidence,
            result.inspection,
            result.seconds,
            255 * result.degradation.noise,
            result.curve,
        )
