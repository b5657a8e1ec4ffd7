"""The two stages of one image: estimate the kernel, then restore."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor

from dkp_plugin.engine.alternation import AlternationResult, alternate, try_again
from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.early_stopping import EarlyStopping
from dkp_plugin.engine.local_kernels import KernelField, blend_regions, find_field
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.options import MIN_TILE
from dkp_plugin.engine.tiles import blend_tiles, even_tile, is_out_of_memory, most_informative_place, tile_places
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.errors import ImageError
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.borders import crop_border, mirror_border
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer, Tiling

if TYPE_CHECKING:
    from dkp_plugin.engine.restoration import Restoration

T = TypeVar('T')


class ImageJob:
    """The restoration of one image: estimate the kernel, then restore the image if the first stage left it unfinished.

    Each stage has its own checkpoints and attempts, and restarts with smaller tiles if it runs out of memory.

    Args:
        plan: The methods and options.
        lq: LR image without its mirrored border, (1, 3, h, w) in [0, 1].
        name: Name of the image, for random numbers and messages.
        degradation: The forward model of this image, with its noise and kernel size.
        observer: Follows the restoration.
        checkpoints: Save the state of both stages.
        num_before: Steps of earlier searches with smaller kernels.
    """

    def __init__(
        self,
        plan: 'Restoration',
        lq: Tensor,
        name: str,
        degradation: Degradation,
        observer: Observer,
        checkpoints: Checkpoints,
        num_before: int = 0,
    ) -> None:
        self.margin = plan.margin_of(degradation)
        self.plan, self.lq, self.name = plan, mirror_border(lq, self.margin), name or 'image'
        self.num_before = num_before
        self.degradation, self.observer, self.checkpoints = degradation, observer, checkpoints
        self.seed_name, self.tile = name, plan.tile
        self.last = plan.final_restorer or plan.restorer
        self.last_num_iter = plan.num_iter if plan.final_restorer is None else plan.final_num_iter
        self.grid = plan.grid(tuple(self.lq.shape[-2:]))
        self.field: KernelField | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the HR image with its mirrored border."""
        height, width = self.lq.shape[-2:]
        return self.degradation.scale * height, self.degradation.scale * width

    @property
    def longest_side(self) -> int:
        """Of the HR image in pixels, without its mirrored border."""
        return max(self.size) - 2 * self.degradation.scale * self.margin

    @property
    def is_tiled(self) -> bool:
        return self.grid is None and self.longest_side > self.tile

    @property
    def search_side(self) -> int:
        """Side, in HR pixels, of the square from which the kernel is estimated."""
        return self.plan.search_side(self.tile)

    @property
    def searches_parts(self) -> bool:
        """Whether kernels are estimated from parts of the image."""
        return self.grid is not None or self.longest_side > self.search_side

    @property
    def has_second_stage(self) -> bool:
        """Whether the alternation only estimates the kernel."""
        return self.searches_parts or self.plan.final_restorer is not None

    @property
    def places(self) -> list[tuple[slice, slice]]:
        """The tiles that are restored separately; empty if the image is restored whole or tiled internally."""
        if not self.is_tiled or self.last.tiling is not Tiling.DISCOURAGED:
            return []
        return tile_places(tuple(self.lq.shape[-2:]), self.tile, self.degradation.scale)

    @property
    def num_search(self) -> int:
        """Number of steps of all searches to the end of this one."""
        return self.num_before + (1 if self.grid is None else len(self.grid)) * self.plan.num_iter

    @property
    def total(self) -> int:
        """Maximum number of steps of both stages."""
        num_parts = len(self.places) if self.grid is None else len(self.grid)
        return self.num_search + self.has_second_stage * self.last_num_iter * max(num_parts, 1)

    def search(self) -> AlternationResult:
        """Estimate the kernel, or the field of kernels."""
        if self.grid is None:
            return self._with_enough_memory(self._search)
        self.field, found = self._with_enough_memory(partial(find_field, self._search_cell, self.lq, self.grid))
        return found

    def finish(self, found: AlternationResult) -> AlternationResult:
        """Restore the image, (1, 3, s h, s w), with what the search has found."""
        if not self.has_second_stage:
            return found
        if self.grid is None:
            return self._with_enough_memory(partial(self._finish, found.kernel))
        blend = partial(blend_regions, self._finish_region, self.lq, 1, self.grid, self.degradation.scale)
        return AlternationResult(self._with_enough_memory(blend), found.kernel)

    def kernels(self, found: AlternationResult) -> Tensor:
        """The kernels of the search, (L, 1, K, K): one, or those of the field row by row."""
        return found.kernel if self.field is None else self.field.in_turn

    def _search_cell(self, index: int, lq: Tensor) -> AlternationResult:
        """Estimate the kernel of a cell."""
        plan, done = self.plan, index * self.plan.num_iter
        return self._alternate(f'cell-{index + 1}', plan.estimator, plan.restorer, lq, done, kernel_only=True)

    def _finish_region(self, index: int, lq: Tensor) -> Tensor:
        """Restore the region of a cell with its kernel."""
        estimator = FixedKernel.of(self.field.in_turn[index : index + 1])
        done = len(self.grid) * self.plan.num_iter + index * self.last_num_iter
        return self._alternate(f'region-{index + 1}', estimator, self.last, lq, done).x

    def degrade(self, x: Tensor, kernel: Tensor) -> Tensor:
        """The LR image of an HR image under the kernel, or under those of the field."""
        if self.field is None:
            return self.degradation.A(x, kernel)
        kernels = self.field.in_turn

        def degrade(index: int, part: Tensor) -> Tensor:
            return self.degradation.A(part, kernels[index : index + 1])

        return blend_regions(degrade, x, self.degradation.scale, self.grid, 1)

    def _with_enough_memory(self, stage: Callable[[], T]) -> T:
        """Run a stage; halve the tiles and repeat it when memory runs out."""
        while True:
            try:
                return stage()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            self.tile = min(self.tile, max(self.size)) // 2
            if self.tile < MIN_TILE:
                width, height = (side - 2 * self.degradation.scale * self.margin for side in reversed(self.size))
                raise ImageError(f'{self.name}: {self.plan.device} has too little memory for {width}x{height} pixels')
            self.observer.warned(f'{self.name}: out of memory; retrying with tiles of {self.tile} pixels')
            torch.cuda.empty_cache()  # does nothing without a GPU

    def _search(self) -> AlternationResult:
        """Alternate on the whole image, or on the most informative crop of a large one."""
        plan, lq = self.plan, self.lq
        if self.searches_parts:
            lq = lq[(..., *most_informative_place(lq, self.search_side // self.degradation.scale))]
        return self._alternate('search', plan.estimator, plan.restorer, lq, 0, kernel_only=self.has_second_stage)

    def _finish(self, kernel: Tensor) -> AlternationResult:
        """Restore the image with the estimated kernel."""
        start = self.plan.num_iter

        def restore(stage: str, lq: Tensor, done: int) -> AlternationResult:
            return self._alternate(stage, FixedKernel.of(kernel), self.last, lq, start + done)

        if self.places:
            x = blend_tiles(
                lambda index, lq: restore(f'tile-{index + 1}', lq, index * self.last_num_iter).x,
                self.lq,
                self.places,
                self.degradation.scale,
            )
            return AlternationResult(x, kernel)
        with self._tiled():
            return restore('finish', self.lq, 0)

    @contextmanager
    def _tiled(self) -> Iterator[None]:
        """Make the last restorer tile internally if the image is large and the restorer supports it."""
        if self.is_tiled and self.last.tiling is Tiling.SUPPORTED:
            self.last.tile = even_tile(self.size, self.tile)
        try:
            yield
        finally:
            self.last.tile = None

    def _alternate(
        self,
        stage: str,
        estimator: KernelEstimator,
        restorer: Restorer,
        lq: Tensor,
        done: int,
        kernel_only: bool = False,
    ) -> AlternationResult:
        """Run one alternation, resuming from its checkpoint and repeating it if it diverges."""
        options, is_search = self.plan.options, estimator is self.plan.estimator
        # Averaging and early stopping are options of the alternation, not of the final restorer.
        is_final = restorer is self.plan.final_restorer
        num_iter = self.plan.final_num_iter if is_final else self.plan.num_iter
        crop = partial(crop_border, margin=self.degradation.scale * self.margin)
        # A part of the image is not periodic, whatever the image is.
        margin = self.degradation.reach if is_search and self.searches_parts else self.margin
        degradation = replace(self.degradation, margin=margin)

        def note(iteration: int) -> None:
            self.observer.stepped(self.num_before + done + iteration, self.total)
            if is_search and not self.searches_parts:
                self.observer.iterated(iteration, lambda: (crop(restorer()), estimator()))

        def run(number: int) -> AlternationResult:
            tile, attempt = f'-{self.tile}px' * self.is_tiled, f'-attempt{number + 1}' * (number > 0)
            size = f'-kernel{self.degradation.kernel_size}' * (self.num_before > 0)
            checkpoint = self.checkpoints.open(stage + tile + size + attempt, self.plan.device)
            if (saved := checkpoint.result()) is not None:
                return AlternationResult(**saved)
            with torch.enable_grad():  # BasicSR validates without gradients, but this test optimises networks
                result = alternate(
                    estimator,
                    restorer,
                    lq,
                    degradation,
                    image_generator(options.manual_seed, self.seed_name, number),
                    num_iter,
                    0.0 if is_final else options.alternation.averaging,
                    EarlyStopping() if is_final else options.build_early_stopping(),
                    on_iteration=note,
                    checkpoint=checkpoint,
                    kernel_only=kernel_only,
                )
            if self.has_second_stage:
                checkpoint.finish(vars(result))
            return result

        return try_again(run, self.name, self.observer.warned)
