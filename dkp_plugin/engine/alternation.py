"""The loop of every method: estimator and restorer alternate, and each sees only the other's output."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dkp_plugin.engine.checkpoints import Checkpoint
from dkp_plugin.engine.early_stopping import EarlyStopping
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import DivergenceError
from dkp_plugin.host.interruption import stop_if_requested
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

ATTEMPTS = 2  # a diverged optimisation is repeated once, with other random numbers
CHECK_INTERVAL = 10  # iterations between checks of the losses; on a GPU each check waits for the device


@dataclass
class AlternationResult:
    """The result of an alternation.

    Attributes:
        x: HR image, (1, C, s h, s w) in [0, 1].
        kernel: Kernel, (1, 1, K, K), non-negative, of sum 1.
        expected_kernel_psnr: Kernel PSNR that the estimator expects, in dB; None if it provides no estimate.
        num_iter: Number of iterations run.
        best_iter: Iteration that produced ``x`` and ``kernel``.
        curve: A row every ``CHECK_INTERVAL`` iterations: ``iteration``, the losses by name and, with early stopping,
            the running ``variance``.
        stages: The images that led to ``x``, by name; see :meth:`~dkp_plugin.restorers.base.Restorer.stages`.
    """

    x: Tensor
    kernel: Tensor
    expected_kernel_psnr: float | None = None
    num_iter: int = 0
    best_iter: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    stages: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class _Loop:
    """The state that an iteration changes."""

    estimator: KernelEstimator
    restorer: Restorer
    early_stopping: EarlyStopping
    generator: torch.Generator
    best: AlternationResult
    average: Tensor


def try_again(
    run: Callable[[int], AlternationResult], image_name: str, warn: Callable[[str], object] = lambda message: None
) -> AlternationResult:
    """Run an optimisation and repeat it if it diverges, up to ``ATTEMPTS`` runs in total.

    Args:
        run: Takes the number of the attempt, counted from 0, for :func:`~dkp_plugin.host.seeds.image_generator`.
        image_name: Name of the image, for messages.
        warn: Receives a message for each attempt that is repeated.

    Raises:
        DivergenceError: if every attempt produced values that are not finite.
    """
    for attempt in itertools.count():
        try:
            return run(attempt)
        except DivergenceError as error:
            if attempt + 1 == ATTEMPTS:
                raise DivergenceError(f'{image_name}: {error}, in each of {ATTEMPTS} attempts') from None
            warn(f'{image_name}: {error}; retrying with other random numbers')


def alternate(
    estimator: KernelEstimator,
    restorer: Restorer,
    lq: Tensor,
    degradation: Degradation,
    generator: torch.Generator,
    num_iter: int,
    averaging: float = 0.0,
    early_stopping: EarlyStopping | None = None,
    on_iteration: Callable[[int], None] | None = None,
    checkpoint: Checkpoint | None = None,
    kernel_only: bool = False,
) -> AlternationResult:
    """Estimate the HR image and the kernel of one LR image.

    Args:
        estimator: Kernel estimator; this function resets it.
        restorer: Image restorer; this function resets it.
        lq: LR image, (1, C, h, w) in [0, 1].
        degradation: The forward model without its kernel.
        generator: The only source of random numbers.
        num_iter: Maximum number of iterations.
        averaging: Decay of the exponential average over the restorer's images that is returned; 0: the last image.
        early_stopping: Decides when to stop and which iteration to keep; by default, iteration ``num_iter``.
        on_iteration: Called after each iteration with the number of iterations done.
        checkpoint: Saves the state of the loop; an interrupted loop resumes from it with the same result.
        kernel_only: Stop once the restorer no longer updates the kernel; the image is then unfinished.

    Returns:
        The image and kernel of the best iteration.

    Raises:
        DivergenceError: if a loss or the result is not finite.
        Interrupted: if the run was asked to stop; the checkpoint, if given, has saved the state.
    """
    early_stopping = early_stopping or EarlyStopping()
    estimator.reset(lq, degradation, generator)
    restorer.reset(lq, degradation, generator)
    best = AlternationResult(torch.zeros_like(restorer()), estimator().clone())
    loop = _Loop(estimator, restorer, early_stopping, generator, best, average=best.x)
    if checkpoint is not None:
        checkpoint.restore(loop)
    for iteration in range(best.num_iter + 1, num_iter + 1):
        losses = estimator.step(restorer()) if restorer.updates_kernel else {}
        losses |= restorer.step(estimator())
        x = restorer()
        loop.average = averaging * loop.average + (1 - averaging) * x
        early_stopping.push(x)
        best.num_iter = iteration
        is_last = iteration == num_iter or (kernel_only and not restorer.updates_kernel)
        if iteration % CHECK_INTERVAL == 0 or is_last:
            best.curve.append(_curve_row(iteration, losses, early_stopping.variance))
            if early_stopping.is_best(iteration) or early_stopping.best_iter == 0:  # 0: no minimum yet
                best.x, best.kernel = loop.average / (1 - averaging**iteration), estimator().clone()
                best.best_iter = iteration
        if on_iteration is not None:
            on_iteration(iteration)
        if early_stopping.is_over(iteration) or is_last:
            break
        if checkpoint is not None and checkpoint.is_due(iteration):
            checkpoint.save(iteration, loop)
        stop_if_requested()  # reached without a checkpoint; ``save`` raises otherwise
    if not (best.x.isfinite().all() and best.kernel.isfinite().all()):
        raise DivergenceError('the result is not finite')
    best.expected_kernel_psnr, best.stages = estimator.expected_psnr(), restorer.stages()
    return best


def _curve_row(iteration: int, losses: dict[str, Tensor], variance: Tensor | None) -> dict[str, float]:
    row = {name: loss.item() for name, loss in losses.items()}
    if not all(map(math.isfinite, row.values())):
        raise DivergenceError(f'not finite at iteration {iteration}: {row}')
    if variance is not None:
        row['variance'] = variance.item()
    return {'iteration': iteration} | row
