"""Restoration of an LR image, shared by benchmarks and photographs."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from dkp_plugin.archs.lq_denoiser import LqDenoiser
from dkp_plugin.engine.alternation import AlternationResult
from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.confidence import BLOCKS_QUALITY, Confidence, Inspection, inspect, judge, white_equivalent
from dkp_plugin.engine.image_job import ImageJob
from dkp_plugin.engine.local_kernels import Grid, KernelField
from dkp_plugin.engine.misfit import measure_misfit
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.options import (
    MIN_TILE,
    BlindSROptions,
    build_estimator,
    build_final_restorer,
    build_restorer,
    count_steps,
)
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.devices import choose_device
from dkp_plugin.host.errors import ImageError, OptionError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.physics.borders import crop_border, mirror_border
from dkp_plugin.physics.coding_noise import estimate_coding_noise
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.kernels import border_weight, default_kernel_size
from dkp_plugin.restorers.base import Tiling

MIN_SIDE = 16  # LR pixels
BORDER_WEIGHT = 0.02  # of a kernel on the outermost pixels of its grid; kernels above it need a larger grid
MAX_GROWTH = 2  # of the kernel size, over the default of the scale
AUTO_TILES = {Tiling.SUPPORTED: 1024, Tiling.INTERNAL: 1024, Tiling.DISCOURAGED: 768}  # HR pixels


@dataclass(frozen=True)
class Result:
    """A restored image with its kernel and diagnostics.

    Attributes:
        x: HR image, (1, C, s h, s w) in [0, 1].
        kernel: (1, 1, K, K), non-negative, of sum 1.
        degradation: The forward model, with the noise assumed for this image.
        inspection: Properties of the LR image.
        confidence: Confidence in the result.
        num_iter: Iterations of the alternation.
        best_iter: The iteration that produced the kernel.
        tile: Side of the tiles in HR pixels; None: the image was restored whole.
        curve: Losses over the iterations; see :class:`~dkp_plugin.engine.alternation.AlternationResult`.
        stages: The images that led to ``x``, by name, of its shape; none for an image in tiles.
        seconds: Duration, including the time before an interruption.
        field: The kernels of the parts of the image, with ``local_kernels``; ``kernel`` is then the surest of them.
    """

    x: Tensor
    kernel: Tensor
    degradation: Degradation
    inspection: Inspection
    confidence: Confidence
    num_iter: int
    best_iter: int
    tile: int | None
    curve: list[dict[str, float]]
    stages: dict[str, Tensor]
    seconds: float
    field: KernelField | None = None


@contextmanager
def _torch_modes_of_ours() -> Iterator[None]:
    """Gradients and float32, which the methods need, whatever modes the caller has set."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


class Restoration:
    """Restores images with the options of one option file.

    Args:
        opt: Options of a file with ``model_type: BlindSRModel``; data sets and folders are ignored.
        device: ``auto``, ``cpu``, ``cuda``, ``cuda:N``, ``mps``, or a device.
        tile: Side, in HR pixels, of the tiles for larger images; ``auto``: 1024, or 768 if the restorer cannot tile
            internally; None: the option ``tile``.

    Raises:
        OptionError: if an option is invalid.
        UserError: if a file that the options name cannot be used.
    """

    @_torch_modes_of_ours()
    def __init__(
        self,
        opt: Mapping[str, Any],
        device: str | torch.device = 'auto',
        tile: int | Literal['auto'] | None = None,
    ) -> None:
        self.options = parse_section(BlindSROptions, opt, '')
        self.degradation = self.options.degradation.build(self.options.scale)
        self.estimator = build_estimator(self.options.network_k, self.degradation)
        if self.options.local_kernels and isinstance(self.estimator, FixedKernel):
            raise OptionError('local_kernels: not possible with FixedKernel, which has one kernel')
        self.restorer = build_restorer(self.options)
        self.num_iter = count_steps(self.restorer, self.options.alternation.num_iter, 'alternation')
        self.denoiser = LqDenoiser()
        self.final_restorer = build_final_restorer(self.options)
        if self.final_restorer is not None:
            self.final_num_iter = count_steps(self.final_restorer, self.options.restorer.num_iter, 'restorer')
        tile = self.options.tile if tile is None else tile
        if tile != 'auto' and not (isinstance(tile, int) and tile >= MIN_TILE):
            raise OptionError(f'tile: {tile!r} is not allowed; allowed: auto, or a number of at least {MIN_TILE}')
        last = self.final_restorer or self.restorer
        self.tile = (last.auto_tile or AUTO_TILES[last.tiling]) if tile == 'auto' else tile
        self.to(choose_device(device) if isinstance(device, str) else device)

    def to(self, device: torch.device) -> 'Restoration':
        """Move to a device."""
        self.device = device
        for network in (self.estimator, self.restorer, self.final_restorer):
            if network is not None:
                network.to(device)
        return self

    @_torch_modes_of_ours()
    def __call__(
        self,
        lq: Tensor,
        name: str,
        jpeg: JpegCoding | None = None,
        observer: Observer | None = None,
        checkpoints: Checkpoints | None = None,
    ) -> Result:
        """Restore an image.

        Args:
            lq: LR image, (1, C, h, w) in [0, 1], C 1 or 3, at least 16x16 pixels.
            name: File name without folder and suffix; together with the seed it determines all random numbers.
            jpeg: How a JPEG file was compressed; None for other files.
            observer: Follows the restoration.
            checkpoints: Save the state; an interrupted image resumes from them.

        Raises:
            ImageError: if the image is too small, or if memory does not suffice even for small tiles.
            DivergenceError: if every attempt produced values that are not finite.
            Interrupted: if the run was asked to stop; the checkpoints have saved the state.
        """
        observer, checkpoints = observer or Observer(), checkpoints or Checkpoints()
        self._check_size(lq, name)
        # Image priors expect noise that differs between the channels, so a gray image gets three identical channels.
        colour = lq.to(self.device, copy=True).expand(-1, 3, -1, -1)
        inspection = inspect(colour, jpeg)
        observer.inspected(inspection)
        job, found = self._search(colour, name, self._observed(colour, inspection), observer, checkpoints)
        restored, degradation = job.finish(found), job.degradation
        confidence = self._judge(job, found, restored.x, colour, inspection)

        def like_the_input(image: Tensor) -> Tensor:
            image = crop_border(image, degradation.scale * job.margin)
            return image.mean(1, keepdim=True) if lq.shape[1] == 1 else image

        return Result(
            like_the_input(restored.x),
            found.kernel,
            degradation,
            inspection,
            confidence,
            found.num_iter,
            found.best_iter,
            job.tile if job.is_tiled else None,
            found.curve,
            {name: like_the_input(image) for name, image in restored.stages.items()},
            checkpoints.seconds,
            job.field,
        )

    def _search(
        self, colour: Tensor, name: str, degradation: Degradation, observer: Observer, checkpoints: Checkpoints
    ) -> tuple[ImageJob, AlternationResult]:
        """Find the kernel of an LR image, (1, 3, h, w), on a larger grid if it reaches the border."""
        job = ImageJob(self, colour, name, degradation, observer, checkpoints)
        found = job.search()
        while (larger := self._larger_grid(job.degradation, job.kernels(found), min(colour.shape[-2:]))) is not None:
            size, new = job.degradation.kernel_size, larger.kernel_size
            observer.warned(f'{name}: the kernel reaches the border of {size}x{size} pixels; trying {new}x{new}')
            job = ImageJob(self, colour, name, larger, observer, checkpoints, job.num_search)
            found = job.search()
        return job, found

    def _judge(
        self, job: ImageJob, found: AlternationResult, x: Tensor, colour: Tensor, inspection: Inspection
    ) -> Confidence:
        """How far to trust the HR image of a job, (1, 3, s h, s w) with its border."""
        degradation, misfit = job.degradation, None
        y = crop_border(job.degrade(x, found.kernel), job.margin)
        if (self.final_restorer or self.restorer).shows_misfit and job.field is None:
            inner = crop_border(x, degradation.scale * job.margin)
            misfit = measure_misfit(inner, colour, found.kernel, degradation, self.denoiser)
        expected, noise, scale = found.expected_kernel_psnr, degradation.noise, degradation.scale
        return judge(y, colour, expected, noise, scale, misfit, inspection.halos)

    def _observed(self, colour: Tensor, inspection: Inspection) -> Degradation:
        """The forward model with the noise of an LR image, (1, 3, h, w), as estimated or set by the options."""
        block = self.options.degradation
        white = inspection.noise if block.noise == 'auto' else block.noise
        if isinstance(block.jpeg, int):
            jpeg = JpegCoding.standard(block.jpeg)
        else:
            jpeg = inspection.jpeg if block.jpeg == 'auto' else None
        if (block.jpeg, block.noise) == ('auto', 'auto') and inspection.block_origin is not None:
            jpeg = JpegCoding.standard(BLOCKS_QUALITY, inspection.block_origin)
        if jpeg is None:
            return replace(self.degradation, noise=white / 255)
        coding = estimate_coding_noise(colour, jpeg, white / 255)
        return replace(self.degradation, noise=white_equivalent(white, jpeg) / 255, coding=coding)

    def _larger_grid(self, degradation: Degradation, kernels: Tensor, side: int) -> Degradation | None:
        """The forward model with a larger kernel size, for kernels (L, 1, K, K) that reach the border of their grid.

        None if none does, if benchmarks, options or the method set the size, or if the image, whose shorter side has
        ``side`` LR pixels, is too small.
        """
        block, size = self.options.degradation, degradation.kernel_size + 2 * degradation.scale
        if block.kernel_size != 'auto' or block.convention != 'aligned' or not self.estimator.adapts_size:
            return None
        if border_weight(kernels).max() <= BORDER_WEIGHT or size > MAX_GROWTH * default_kernel_size(degradation.scale):
            return None
        larger = replace(degradation, kernel_size=size)
        has_room = larger.reach <= side and size <= degradation.scale * (side + 2 * self.margin_of(larger))
        return larger if has_room else None

    @property
    def margin(self) -> int:
        """Width of the mirrored border in LR pixels; 0 for periodic borders."""
        return self.margin_of(self.degradation)

    def margin_of(self, degradation: Degradation) -> int:
        """The same for a forward model with another kernel size."""
        return degradation.reach if self.options.mirrors_border else 0

    def search_side(self, tile: int) -> int:
        """Side, in HR pixels, of the square from which the kernel of a larger image is estimated, given the tiles'."""
        return min(tile, self.estimator.search_side or tile)

    def enlarge(self, image: Tensor) -> Tensor:
        """Enlarge an image or an alpha channel bicubically, (1, C, h, w) to (1, C, s h, s w), both in [0, 1]."""
        enlarged = self.degradation.enlarge(mirror_border(image, self.margin))
        return crop_border(enlarged, self.degradation.scale * self.margin).clamp(0, 1)

    def grid(self, size: tuple[int, int]) -> Grid | None:
        """The cells of an LR image of (h, w) pixels with local kernels; None if it has one kernel."""
        grid = Grid(size)
        return grid if self.options.local_kernels and len(grid) > 1 else None

    def _check_size(self, lq: Tensor, name: str) -> None:
        height, width = lq.shape[-2:]
        size = f'{name or "image"}: {width}x{height} pixels'
        if min(height, width) < MIN_SIDE:
            raise ImageError(f'{size} are too few; allowed: at least {MIN_SIDE}x{MIN_SIDE}')
        scale, kernel_size = self.degradation.scale, self.degradation.kernel_size
        if scale * min(height, width) < kernel_size:
            raise ImageError(f'{size} at scale {scale} are fewer than the kernel size {kernel_size}')
