"""Restore photographs from Python: ``dkp_plugin.restore(image)``; see ``docs/api.md``."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.confidence import Confidence, Inspection
from dkp_plugin.engine.local_kernels import KernelField
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.io.kernel_files import check_kernel
from dkp_plugin.io.photo_files import MAX_PIXELS, read_photo
from dkp_plugin.io.pixels import from_tensor, to_tensor
from dkp_plugin.io.transparency import join_alpha, split_alpha
from dkp_plugin.photos.masks import check_mask, make_mask, read_mask
from dkp_plugin.photos.pixel_arrays import check_pixels, to_pixels
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
        strength: Share of the method's image in ``image``; the rest is plain enlargement.
        curve: Losses along the way; see :class:`~dkp_plugin.engine.alternation.AlternationResult`.
        field: With ``local_kernels``, the kernels of the parts of the photograph; ``kernel`` is the surest of them.
    """

    image: np.ndarray
    kernel: np.ndarray
    confidence: Confidence
    inspection: Inspection
    seconds: float
    noise: float
    strength: float
    curve: list[dict[str, float]] = dataclasses.field(default_factory=list, repr=False)
    field: KernelField | None = dataclasses.field(default=None, repr=False)


def restore(
    image: np.ndarray | Tensor | Image.Image | str | os.PathLike,
    scale: int = 4,
    method: str = 'auto',
    kernel: np.ndarray | str | os.PathLike = 'auto',
    noise: float | Literal['auto'] = 'auto',
    preset: str = 'balanced',
    device: str = 'auto',
    seed: int = 0,
    tile: int | Literal['auto'] = 'auto',
    convention: str = 'aligned',
    max_pixels: int = MAX_PIXELS,
    on_progress: OnProgress | None = None,
    weights: str | os.PathLike | None = None,
    strength: float | Literal['auto'] = 'auto',
    mask: np.ndarray | Tensor | Image.Image | str | os.PathLike | None = None,
    local_kernels: bool = False,
) -> RestorationResult:
    """Restore a photograph whose blur is unknown.

    Args:
        image: An image file; an array (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha, 3 RGB, 4 RGB and alpha, of
            uint8, uint16, or floating point in [0, 1]; a tensor (C, H, W) or (1, C, H, W), floating point in [0, 1]; or
            an image of Pillow. At least 16x16 pixels.
        scale: 1 (the same size, deblurred), 2, 3, 4 or 8.
        method: A name of ``presets.METHODS``; ``auto``: ``fast-dkp`` at the scales for which the package has its
            weights, and ``diff-dkp`` at the others.
        kernel: Kernel family to assume, such as ``gaussian`` or ``motion``, if the method has it; ``auto``: its own; or
            the blur itself: a kernel file, ``.mat`` or ``.npy``, or an array (K, K), K odd, of sum 1.
        noise: Standard deviation of the noise, of 255; ``auto``: estimated, with what a JPEG file's compression adds.
        preset: ``fast``, ``balanced``, and ``best`` for ``fast-dkp`` and ``unpaired`` or ``paper`` for the others.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        seed: Seed of all random numbers.
        tile: Side of the tiles, in pixels of the result, in which a larger image is restored.
        convention: ``aligned`` keeps the picture where bicubic enlargement would put it; ``released`` is for
            benchmark images.
        max_pixels: Larger files are refused.
        on_progress: Called after each step with the steps done and an upper bound of their number.
        weights: File of trained weights of the method, with ``fast-dkp`` of the one-pass network, which then makes the
            result; None: those of the package.
        strength: 0 to 1, blends bicubic enlargement (0) and the method's image (1); ``kernel`` and ``confidence`` are
            those of the method. ``auto``: 1, or less for a photograph that breaks the model, as a sharpened one does.
        mask: An image of the photograph's size, or a file of one: white parts are restored, black ones are enlarged
            bicubically, gray ones are blended. None: everything is restored.
        local_kernels: Estimate a kernel for every part of about 96 by 96 pixels, for blur that varies.

    Returns:
        The result, exactly ``scale`` times as large.

    Raises:
        UserError: one line: the argument or file, its value and the allowed values.
    """
    name = 'auto' if isinstance(kernel, np.ndarray) else os.fspath(kernel)
    given = {'scale': scale, 'method': method, 'kernel': name, 'noise': noise, 'preset': preset}
    given |= {'seed': seed, 'convention': convention, 'weights': None if weights is None else os.fspath(weights)}
    given |= {'local_kernels': local_kernels}
    choices = parse_section(Choices, given, '')
    opt = make_options(choices)
    if isinstance(kernel, np.ndarray):
        opt['network_k'] = {'type': 'FixedKernel'}
    if isinstance(mask, str | os.PathLike):
        mask = read_mask(Path(mask), max_pixels)
    elif mask is not None:
        mask = make_mask(to_pixels(mask))
    restorer = PhotoRestorer(opt, device, tile, strength, mask)
    if isinstance(kernel, np.ndarray):
        restorer.restoration.estimator = FixedKernel.of(check_kernel(kernel, 'kernel')[None])
    observer = _StepObserver(on_progress) if on_progress else None
    if isinstance(image, str | os.PathLike):
        photo = read_photo(Path(image), max_pixels)
        return restorer(photo.pixels, Path(image).stem, photo.jpeg, observer)
    return restorer(to_pixels(image), observer=observer)


class _StepObserver(Observer):
    """Passes the steps on to a function."""

    def __init__(self, on_progress: OnProgress) -> None:
        self.on_progress = on_progress

    def stepped(self, done: int, total: int) -> None:
        self.on_progress(done, total)


class PhotoRestorer:
    """Restores one photograph after the other as one option file says: arrays of pixels in, arrays of pixels out.

    Args:
        opt: Options of a file with ``model_type: BlindSRModel``; data sets and folders are not used.
        device: See :func:`restore`; or a device.
        tile: See :func:`restore`; None: as in the options.
        strength: See :func:`restore`.
        mask: (1, 1, h, w) in [0, 1], as :func:`~dkp_plugin.photos.masks.make_mask` returns it; None: all ones.

    Raises:
        OptionError: for a mistake in the options or arguments, and for an estimator that needs the true kernel.
        UserError: for a file they name that cannot be used.
    """

    def __init__(
        self,
        opt: Mapping[str, Any],
        device: str | torch.device = 'auto',
        tile: int | Literal['auto'] | None = None,
        strength: float | Literal['auto'] = 1.0,
        mask: Tensor | None = None,
    ) -> None:
        if strength != 'auto' and not (isinstance(strength, int | float) and 0 <= strength <= 1):
            raise OptionError(f'strength: {strength!r} is not allowed; allowed: auto, or 0 to 1')
        self.strength, self.mask = strength, mask
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
            ImageError: for pixels that cannot be used, a mask of another size, and if memory is too small.
            DivergenceError: if every attempt ended in numbers that are not finite.
        """
        colour, alpha = split_alpha(to_tensor(check_pixels(pixels)))
        if self.mask is not None:
            check_mask(self.mask, tuple(colour.shape[-2:]))
        result = self.restoration(colour, name, jpeg, observer, checkpoints)
        x = result.x
        strength = result.confidence.strength if self.strength == 'auto' else self.strength
        if strength < 1 or self.mask is not None:
            share = x.new_tensor(strength)
            if self.mask is not None:
                share = share * self.restoration.enlarge(self.mask.to(x))
            x = torch.lerp(self.restoration.enlarge(colour.to(x)), x, share)
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
            strength,
            result.curve,
            result.field,
        )
