"""Restore photographs from Python: ``dkp_plugin.restore(image)``; see ``docs/api.md``."""

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from dkp_plugin.engine.alternation import AlternationResult, alternate, try_again
from dkp_plugin.engine.checkpoints import Checkpoint
from dkp_plugin.engine.confidence import Confidence, Inspection, inspect, judge
from dkp_plugin.engine.non_blind import restore_with_kernel
from dkp_plugin.engine.options import BlindSROptions, build_final_restorer, build_restorer, check_options
from dkp_plugin.engine.out_of_memory import has_tiles, is_out_of_memory
from dkp_plugin.engine.tiles import FoundKernel, most_informative_crop, restore_in_tiles, tile_places
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import SIMPLE, FixedKernel
from dkp_plugin.host.devices import choose_device
from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.host.schema import build_network, parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.kernel_files import read_kernel
from dkp_plugin.io.photo_files import MAX_PIXELS, read_photo
from dkp_plugin.photos.pixels import (
    check_pixels,
    crop_border,
    from_tensor,
    join_alpha,
    mirror_border,
    split_alpha,
    to_tensor,
)
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

MIN_SIDE = 16  # LR pixels
MIN_TILE, AUTO_TILES = 128, (1024, 512)  # HR pixels; with a prior that works in tiles, and without

OnProgress = Callable[[int, int], None]  # called with the steps done and the steps in all


@dataclass(frozen=True)
class RestorationResult:
    """A restored photograph and what is known of it.

    Attributes:
        image: (s H, s W) or (s H, s W, C), as the photograph's array, in its dtype and channels.
        kernel: (K, K) float64, non-negative, of sum 1: the blur, in pixels of ``image``, as a correlation.
        confidence: How far to trust it.
        inspection: What the photograph itself said before the work.
        seconds: Time it took.
        noise: Standard deviation of the noise that the method reckoned with, of 255.
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
    image: np.ndarray | str | os.PathLike,
    scale: int = 4,
    method: str = 'diff-dkp',
    kernel: str | os.PathLike = 'auto',
    noise: float | str = 'auto',
    preset: str = 'balanced',
    device: str = 'auto',
    seed: int = 0,
    tile: int | str = 'auto',
    convention: str = 'aligned',
    max_pixels: int = MAX_PIXELS,
    on_progress: OnProgress | None = None,
) -> RestorationResult:
    """Restore a photograph whose blur is unknown.

    Args:
        image: A PNG, JPEG, TIFF, WebP or BMP file; or an array (H, W) or (H, W, C), C = 1 gray, 2 gray and alpha,
            3 RGB, 4 RGB and alpha, of uint8, uint16, or floating point in [0, 1]; at least 16x16 pixels.
        scale: 2, 3, 4 or 8.
        method: A name of ``presets.METHODS``.
        kernel: Family to look for, ``gaussian``, ``motion`` or ``free`` as far as the method knows them, ``auto``: its
            own; or a kernel file, ``.mat`` or ``.npy``, which is then taken for the blur.
        noise: Standard deviation of the noise, of 255; ``auto``: estimated, with what a JPEG file's compression adds.
        preset: ``fast``, ``balanced`` or ``paper``.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.
        seed: Seed of all random numbers.
        tile: Side of the tiles, in pixels of the result, in which a larger image is restored.
        convention: ``aligned`` leaves the picture where bicubic enlargement would; ``released`` is that of benchmarks.
        max_pixels: Larger files are refused.
        on_progress: Called after each step with the steps done and the steps in all.

    Returns:
        The result, exactly ``scale`` times as large.

    Raises:
        UserError: one line: the argument or file, its value and the allowed values.
    """
    given = {'scale': scale, 'method': method, 'kernel': os.fspath(kernel), 'noise': noise, 'preset': preset}
    choices = parse_section(Choices, given | {'seed': seed, 'convention': convention}, '')
    restoration = Restoration(make_options(choices), device, tile)
    if isinstance(image, np.ndarray):
        return restoration(image, on_progress=on_progress)
    photo = read_photo(Path(image), max_pixels)
    return restoration(photo.pixels, Path(image).stem, photo.jpeg_quality, on_progress)


class Restoration:
    """Restores one photograph after the other by one option file.

    Args:
        opt: Options as of a file with ``model_type: BlindSRModel``; data sets and folders are not used.
        device: See :func:`restore`; or a device.
        tile: See :func:`restore`.

    Raises:
        OptionError: for a mistake in the options.
    """

    def __init__(
        self, opt: Mapping[str, Any], device: str | torch.device = 'auto', tile: int | Literal['auto'] = 'auto'
    ) -> None:
        check_options(opt)
        self.options = parse_section(BlindSROptions, opt, '')
        self.device = choose_device(device) if isinstance(device, str) else device
        self.degradation = self.options.build_degradation()
        self.estimator = build_network(opt['network_k'], 'network_k', KernelEstimator).to(self.device)
        if isinstance(self.estimator, FixedKernel):
            self._check_given_kernel(self.estimator.source)
        self.restorer = build_restorer(opt).to(self.device)
        self.final_restorer = build_final_restorer(self.options.restorer)
        if tile != 'auto' and not (isinstance(tile, int) and tile >= MIN_TILE):
            raise OptionError(f'tile: {tile!r} is not allowed: auto, or a number of at least {MIN_TILE}')
        self.tile = AUTO_TILES[not has_tiles(self.last_restorer)] if tile == 'auto' else tile

    def _check_given_kernel(self, source: str) -> None:
        """Refuse a kernel before any work, and not at the first photograph."""
        if source == 'gt':
            raise OptionError('network_k: source: gt is not possible, photographs come without a true kernel')
        if source not in SIMPLE:
            read_kernel(Path(source).expanduser(), self.degradation.convention)

    @property
    def last_restorer(self) -> Restorer:
        """The restorer that makes the result."""
        return self.final_restorer or self.restorer

    def _margin(self) -> int:
        """LR pixels around a photograph that the forward model needs so as not to continue it periodically.

        The benchmarks of the convention ``released`` are periodic.
        """
        reach = -(-self.degradation.kernel_size // (2 * self.degradation.scale))
        return 0 if self.degradation.convention == 'released' else reach + 2

    def __call__(
        self,
        pixels: np.ndarray,
        name: str = '',
        jpeg_quality: int | None = None,
        on_progress: OnProgress | None = None,
        on_inspection: Callable[[Inspection], None] = lambda inspection: None,
        open_checkpoint: Callable[[int], Checkpoint] | None = None,
    ) -> RestorationResult:
        """Restore a photograph.

        Args:
            pixels: See :func:`restore`.
            name: File name without folder and suffix, from which, with the seed, all random numbers come.
            jpeg_quality: Of the file that the photograph comes from, if that was JPEG.
            on_progress: See :func:`restore`.
            on_inspection: Called, before the work, with what the photograph itself says.
            open_checkpoint: Gives, for each attempt, counted from 0, the file from which estimator and restorer go on
                after an interruption; tiles have none.

        Raises:
            ImageError: for pixels that cannot be used, and where the memory is too small.
            DivergenceError: if every attempt ended in numbers that are not finite.
        """
        start = time.perf_counter()
        image = to_tensor(check_pixels(pixels))
        if min(image.shape[-2:]) < MIN_SIDE:
            size = f'{image.shape[-1]}x{image.shape[-2]}'
            raise ImageError(f'{name or "image"}: {size} pixels are too few; allowed: at least {MIN_SIDE}x{MIN_SIDE}')
        lq, alpha = split_alpha(image.to(self.device))
        inspection = inspect(lq, jpeg_quality)
        on_inspection(inspection)
        degradation = self.degradation
        if self.options.degradation.noise == 'auto':
            degradation = replace(degradation, noise=inspection.error / 255)
        margin = self._margin()
        job = _Job(self, name, degradation, on_progress or (lambda done, total: None), open_checkpoint)
        try:
            result = job.run(mirror_border(lq, margin))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = 'x'.join(str(degradation.scale * side) for side in reversed(lq.shape[-2:]))
            raise ImageError(f'{name or "image"}: {self.device} has too little memory for {size} pixels') from None
        y = crop_border(degradation.A(result.x, result.kernel), margin)
        confidence = judge(y, lq, result.expected_kernel_psnr, degradation.noise)
        if alpha is not None:
            alpha = degradation.enlarge(mirror_border(alpha, margin)).clamp(0, 1)
        x = join_alpha(result.x, alpha, is_gray=image.shape[1] < 3)
        array = from_tensor(crop_border(x, degradation.scale * margin), pixels.dtype)
        return RestorationResult(
            array if pixels.ndim == 3 else array[..., 0],
            result.kernel[0, 0].double().cpu().numpy(),
            confidence,
            inspection,
            time.perf_counter() - start,
            255 * degradation.noise,
            result.curve,
        )


class _Job:
    """One photograph in work: everything that goes into each of its alternations."""

    def __init__(
        self,
        plan: Restoration,
        name: str,
        degradation: Degradation,
        on_progress: OnProgress,
        open_checkpoint: Callable[[int], Checkpoint] | None,
    ) -> None:
        self.plan, self.name, self.degradation, self.on_progress = plan, name, degradation, on_progress
        self.open_checkpoint = open_checkpoint
        self.steps = plan.restorer.num_iter or plan.options.alternation.num_iter
        self.done = self.total = 0

    def run(self, lq: Tensor) -> AlternationResult:
        """Restore an image, in smaller and smaller tiles as long as the memory is too small."""
        tile = self.plan.tile
        while True:
            try:
                return try_again(partial(self._run_once, lq, tile), self.name or 'image')
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or tile // 2 < MIN_TILE:
                    raise
            tile //= 2
            if self.plan.device.type == 'cuda':
                torch.cuda.empty_cache()

    def _run_once(self, lq: Tensor, tile: int, attempt: int) -> AlternationResult:
        plan, scale, self.done, self.attempt = self.plan, self.degradation.scale, 0, attempt
        if scale * max(lq.shape[-2:]) <= tile:
            self.total = self.steps
            checkpoint = self.open_checkpoint and self.open_checkpoint(self.attempt)
            result = self._alternate(plan.estimator, lq, checkpoint)
            if plan.final_restorer is not None:
                result.x = self._finish(lq, result.kernel)
            return result
        tiles = 1 if has_tiles(plan.last_restorer) else len(tile_places(tuple(lq.shape[-2:]), tile, scale))
        self.total = self.steps * (1 + tiles)
        result = self._alternate(plan.estimator, most_informative_crop(lq, tile // scale), kernel_only=True)
        self.done = self.steps
        result.x = restore_in_tiles(lambda part: self._finish(part, result.kernel), plan.last_restorer, lq, tile, scale)
        return result

    def _finish(self, lq: Tensor, kernel: Tensor) -> Tensor:
        """Restore by the last restorer with the kernel that was found."""
        if self.plan.final_restorer is None:
            return self._alternate(FoundKernel(kernel), lq).x
        restorer = self.plan.final_restorer.to(lq.device)
        num_iter = self.plan.options.restorer.num_iter
        return restore_with_kernel(restorer, lq, kernel, self.degradation, self._generator(), num_iter)

    def _generator(self) -> torch.Generator:
        return image_generator(self.plan.options.manual_seed, self.name, self.attempt)

    def _alternate(
        self, estimator: KernelEstimator, lq: Tensor, checkpoint: Checkpoint | None = None, kernel_only: bool = False
    ) -> AlternationResult:
        before = self.done

        def note(iteration: int) -> None:
            self.done = before + iteration
            self.on_progress(self.done, self.total)

        options = self.plan.options
        with torch.enable_grad():
            return alternate(
                estimator,
                self.plan.restorer,
                lq,
                self.degradation,
                self._generator(),
                self.steps,
                options.alternation.averaging,
                options.build_early_stopping(),
                on_iteration=note,
                checkpoint=checkpoint,
                kernel_only=kernel_only,
            )
