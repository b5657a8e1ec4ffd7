"""Restore an image whose kernel is known, or taken to be."""

import torch
from torch import Tensor

from dkp_plugin.host.errors import DivergenceError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer


def restore_with_kernel(
    restorer: Restorer,
    lq: Tensor,
    kernel: Tensor,
    degradation: Degradation,
    generator: torch.Generator,
    num_iter: int | None = None,
) -> Tensor:
    """Run a restorer from beginning to end with one kernel.

    Args:
        restorer: Image restorer; reset here.
        lq: LR image, (1, C, h, w) in [0, 1].
        kernel: (1, 1, K, K), non-negative, of sum 1.
        degradation: The forward model without its kernel.
        generator: The only source of random numbers.
        num_iter: Steps, unless the restorer fixes them.

    Returns:
        HR image, (1, C, s h, s w) in [0, 1].

    Raises:
        DivergenceError: if the result is not finite.
    """
    restorer.reset(lq, degradation, generator)
    for _ in range(restorer.num_iter or num_iter):
        restorer.step(kernel)
    x = restorer()
    if not x.isfinite().all():
        raise DivergenceError(f'the result of {type(restorer).__name__} is not finite')
    return x
