"""How long photographs will take and how much memory they need, measured on this machine before the work."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from dkp_plugin.archs.tiled_prior import tile_starts
from dkp_plugin.engine.alternation import alternate
from dkp_plugin.engine.local_kernels import Grid
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.engine.tiles import even_tile, tile_places
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.host.devices import available_memory, used_memory
from dkp_plugin.host.sharding import share
from dkp_plugin.photos.progress import format_seconds
from dkp_plugin.restorers.base import Restorer, Tiling

MIN_PIXELS = 100_000  # of all results together; less is done in seconds
TRIAL_SIDES = (96, 192)  # HR pixels
LARGE_TRIAL_SIDES = (256, 512)  # of methods of few steps, which are over too soon to be timed on small images
LARGE_RESULT = 1_000_000  # pixels
LARGE_FACTOR = 2.0  # their time per pixel with such methods, relative to the trial, which the processor's cache holds
TRIAL_STEPS = 3
FEW_STEPS = 10  # methods with so few steps run whole in the trial, since their last step may be the longest
LONG = 15 * 60  # seconds
# Bytes per pixel of a tile, and of the whole result, measured as the peak of a process on a CPU.
MEMORY = {'Diffusion': (550, 250), 'DIP': (5500, 150), 'OnePass': (240, 60), 'Unpaired': (600, 150)}
OTHER_MEMORY = (550, 250)

Size = tuple[int, int]


@dataclass(frozen=True)
class Line:
    """Seconds as a linear function of the pixels."""

    fixed: float
    per_pixel: float

    def __call__(self, pixels: float) -> float:
        return self.fixed + self.per_pixel * pixels

    @classmethod
    def through(cls, pixels: Sequence[float], seconds: Sequence[float]) -> 'Line':
        """The line through two measurements, neither part of which is negative."""
        slope = max(seconds[1] - seconds[0], 0.0) / (pixels[1] - pixels[0])
        return cls(max(seconds[0] - slope * pixels[0], 0.0), slope)


@dataclass(frozen=True)
class Costs:
    """Seconds of an image's start, of a step with an update of the kernel, and of one without."""

    start: Line
    kernel_step: Line
    step: Line


@dataclass(frozen=True)
class Stage:
    """Steps of equal duration.

    Attributes:
        begin: Number of steps before the first one, as an observer counts them.
        num: Number of steps.
        seconds: Duration of a step.
    """

    begin: int
    num: int
    seconds: float


class Forecast:
    """Expected time and memory of photographs.

    Args:
        plan: What restores them.
        costs: See :func:`measure`.
    """

    def __init__(self, plan: Restoration, costs: Costs) -> None:
        self.plan, self.costs = plan, costs

    def stages(self, size: Size, scale: int | None = None) -> list[Stage]:
        """The steps of a photograph.

        Args:
            size: (h, w) of the LR image.
            scale: Another scale than the plan's.
        """
        plan, scale = self.plan, scale or self.plan.degradation.scale
        height, width = padded = [scale * (side + 2 * plan.margin) for side in size]
        num_iter = plan.num_iter if plan.final_restorer is None else plan.final_num_iter
        factor = LARGE_FACTOR if num_iter <= FEW_STEPS and math.prod(padded) > LARGE_RESULT else 1.0
        if (grid := plan.grid(tuple(side // scale for side in padded))) is not None:
            return self._local_stages(grid, num_iter, scale)
        longest, last = scale * max(size), plan.final_restorer or plan.restorer
        is_tiled, side = longest > plan.tile, plan.search_side(plan.tile)
        searched, pixels = (self._part(size, scale, part) for part in (side, plan.tile))
        num_kernel = plan.restorer.num_kernel_iter(plan.num_iter)
        search = self.costs.kernel_step(searched)
        stages = [Stage(0, num_kernel, search + self.costs.start(searched) / max(num_kernel, 1))]
        if longest <= side and plan.final_restorer is None:
            step = self.costs.kernel_step if plan.num_iter <= FEW_STEPS else self.costs.step  # see _time
            return [*stages, Stage(num_kernel, plan.num_iter - num_kernel, factor * step(pixels))]
        if is_tiled and last.tiling is Tiling.DISCOURAGED:
            lq_size = tuple(side // scale for side in padded)
            num_iter *= len(tile_places(lq_size, plan.tile, scale))
        elif is_tiled:
            tile = even_tile((height, width), plan.tile)
            pixels = math.prod(len(tile_starts(side, tile)) * min(side, tile) for side in padded)
        return [*stages, Stage(plan.num_iter, num_iter, factor * self.costs.step(pixels))]

    def _local_stages(self, grid: Grid, num_iter: int, scale: int) -> list[Stage]:
        """The steps of a photograph with local kernels: a search in every cell, a restoration of every region."""
        plan, num = self.plan, len(grid)
        cell, region = (
            scale**2 * sum((row.stop - row.start) * (column.stop - column.start) for row, column in places) / num
            for places in (grid.cells(), grid.regions())
        )
        share = plan.restorer.num_kernel_iter(plan.num_iter) / plan.num_iter
        search = share * self.costs.kernel_step(cell) + self.costs.start(cell) / plan.num_iter
        stages = [Stage(0, num * plan.num_iter, search)]
        return [*stages, Stage(num * plan.num_iter, num * num_iter, self.costs.step(region))]

    def seconds(self, size: Size, scale: int | None = None) -> float:
        """Expected duration of a photograph; see :meth:`stages`."""
        return sum(stage.num * stage.seconds for stage in self.stages(size, scale))

    def share(self, size: Size, done: int) -> float:
        """Share of the work, 0 to 1, after a number of steps as an observer counts them."""
        stages = self.stages(size)
        spent = sum(min(max(done - stage.begin, 0), stage.num) * stage.seconds for stage in stages)
        return spent / max(sum(stage.num * stage.seconds for stage in stages), 1e-9)

    def memory(self, size: Size, scale: int | None = None) -> float:
        """Expected peak of the memory in bytes; see :meth:`stages`."""
        plan, scale = self.plan, scale or self.plan.degradation.scale
        num_pixels = math.prod(scale * (side + 2 * plan.margin) for side in size)
        tile, whole = max(_memory_of(restorer) for restorer in (plan.restorer, plan.final_restorer) if restorer)
        return used_memory(plan.device) + tile * self._part(size, scale, plan.tile) + whole * num_pixels

    def _part(self, size: Size, scale: int, part: int) -> int:
        """Pixels of the result that are processed at once, with their border, if parts have sides of ``part``."""
        sides = [scale * (side + 2 * self.plan.margin) for side in size]
        return math.prod(sides if scale * max(size) <= part else (min(side, part) for side in sides))


def _memory_of(restorer: Restorer) -> tuple[int, int]:
    return MEMORY.get(type(restorer).__name__, OTHER_MEMORY)


def make_forecast(plan: Restoration, sizes: Sequence[Size]) -> Forecast | None:
    """Measure on this machine, unless the photographs, (h, w) each, are so few and small that it is not worth it."""
    if sum(map(math.prod, sizes)) * plan.degradation.scale**2 < MIN_PIXELS:
        return None
    try:
        is_large = max(map(math.prod, sizes)) * plan.degradation.scale**2 > LARGE_RESULT
        return measure(plan, sides=LARGE_TRIAL_SIDES if is_large and plan.num_iter <= FEW_STEPS else TRIAL_SIDES)
    except Exception:  # whatever is wrong with a method is reported for each photograph
        return None


def measure(
    plan: Restoration, clock: Callable[[], float] = time.perf_counter, sides: tuple[int, int] = TRIAL_SIDES
) -> Forecast | None:
    """Measure a few steps on two small images; by default, it takes as long as a result of 0.03 megapixels.

    Args:
        plan: What restores the photographs.
        clock: Returns seconds.
        sides: Sides of the images' results in pixels.

    Returns:
        The forecast; None for an estimator that trains before its first step.
    """
    if plan.estimator.trains_in_reset:
        return None
    pixels, starts, kernel_steps, steps = [], [], [], []
    last = plan.final_restorer or plan.restorer
    last_num_iter = plan.num_iter if plan.final_restorer is None else plan.final_num_iter
    for side in sides:
        side = max(side, 2 * plan.degradation.kernel_size) // plan.degradation.scale
        lq = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0)).to(plan.device)
        start, kernel_step = _time(plan, plan.estimator, plan.restorer, lq, plan.num_iter, clock)
        kernel = FixedKernel.of(plan.estimator().detach().clone())
        pixels.append(lq[0, 0].numel() * plan.degradation.scale**2)
        starts.append(start)
        kernel_steps.append(kernel_step)
        steps.append(_time(plan, kernel, last, lq, last_num_iter, clock)[1])
    return Forecast(plan, Costs(*(Line.through(pixels, seconds) for seconds in (starts, kernel_steps, steps))))


def _time(
    plan: Restoration,
    estimator: KernelEstimator,
    restorer: Restorer,
    lq: torch.Tensor,
    num_iter: int,
    clock: Callable[[], float],
) -> tuple[float, float]:
    """Seconds of the start and of a step; a method of few steps takes all of them, in which its start is counted."""
    marks = [clock()]

    def mark(iteration: int) -> None:
        if plan.device.type == 'cuda':
            torch.cuda.synchronize(plan.device)
        marks.append(clock())

    is_short = num_iter <= FEW_STEPS
    generator = torch.Generator().manual_seed(0)
    num = num_iter if is_short else TRIAL_STEPS
    with torch.enable_grad():
        alternate(estimator, restorer, lq, plan.degradation, generator, num, on_iteration=mark)
    durations = [after - before for before, after in itertools.pairwise(marks)]
    if is_short:
        return 0.0, sum(durations) / num
    step = min(durations[1:])
    return max(durations[0] - step, 0.0), step


def describe_forecast(
    forecast: Forecast, sizes: Sequence[Size], available: float | None = None, jobs: int = 1
) -> list[str]:
    """Say what is expected, and what to change if it is too much.

    Args:
        forecast: The forecast.
        sizes: (h, w) of each photograph.
        jobs: Number of photographs that are restored at once.
        available: Bytes of free memory; None: found out.

    Returns:
        One line, or two with a suggestion.
    """
    plan, scale = forecast.plan, forecast.plan.degradation.scale
    largest = max(sizes, key=math.prod)
    seconds, memory = _seconds(forecast, sizes, jobs), _memory(forecast, sizes, jobs)
    if available is None:
        available = available_memory(plan.device)
    most = 'up to ' * (len(sizes) > 1)
    line = f'expected: {most}{scale * largest[1]}x{scale * largest[0]} pixels, at most about {format_seconds(seconds)}'
    lines = [f'{line} and {memory / 2**30:.1f} GiB']
    reasons = ['more than 15 min'] if seconds > LONG else []
    reasons += [f'more than the free memory, {available / 2**30:.1f} GiB'] if available and memory > available else []
    if reasons:
        lines.append(f'{" and ".join(reasons)}; {_advice(forecast, sizes, jobs, available)}')
    return lines


def _seconds(forecast: Forecast, sizes: Sequence[Size], jobs: int, scale: int | None = None) -> float:
    """Expected duration of photographs that are restored by several processes: of the one that takes longest."""
    costs = [forecast.seconds(size, scale) for size in sizes]
    return max(sum(costs[index] for index in share(costs, job, jobs)) for job in range(jobs))


def _memory(forecast: Forecast, sizes: Sequence[Size], jobs: int, scale: int | None = None) -> float:
    """Expected peak of the memory of processes that restore the largest photographs at the same time."""
    return sum(sorted((forecast.memory(size, scale) for size in sizes), reverse=True)[:jobs])


def _advice(forecast: Forecast, sizes: Sequence[Size], jobs: int, available: float | None) -> str:
    """The largest smaller scale that helps, else the smallest; and tiles where they need the memory."""
    plan = forecast.plan
    scale = plan.degradation.scale
    fits = []
    for smaller in sorted((other for other in plan.restorer.scales if other < scale), reverse=True):
        seconds = _seconds(forecast, sizes, jobs, smaller)
        fits.append((smaller, seconds))
        if seconds <= LONG and not (available and _memory(forecast, sizes, jobs, smaller) > available):
            break
    tile = _memory_of(plan.final_restorer or plan.restorer)[0] * plan.tile**2
    parts = [f'--scale {fits[-1][0]} takes about {format_seconds(fits[-1][1])}'] if fits else []
    parts += ['--tile 512 needs less memory'] if available and tile > available / 2 and plan.tile > 512 else []
    return ', '.join(parts) or 'crop or shrink the photograph first'
