"""How many parameters a method has."""

from collections.abc import Mapping
from typing import Any

import torch

from dkp_plugin.errors import UserError
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.options import BlindSROptions, build_network, build_restorer, parse_section

TRAINED_IN_RESET = ('KernelGAN',)  # networks that live, and take minutes, within reset: not counted
PROBE_SIZE = 32  # side of the LR image that the networks are built for


def count_parameters(options: Mapping[str, Any]) -> int | None:
    """Count the parameters of the networks of estimator and restorer, whether trained before or on each image.

    Args:
        options: Content of an option file.

    Returns:
        Their number; None if the networks cannot be built here, for want of a weight file, say,
        or belong to ``TRAINED_IN_RESET``.
    """
    if options['network_k'].get('type') in TRAINED_IN_RESET:
        return None
    try:
        parsed = parse_section(BlindSROptions, dict(options) | {'num_gpu': 0}, '')
        degradation = parsed.build_degradation()
        estimator = build_network(options['network_k'], 'network_k', KernelEstimator)
        restorer = build_restorer(options)
        lq = torch.full((1, 3, PROBE_SIZE, PROBE_SIZE), 0.5)
        if isinstance(estimator, FixedKernel) and estimator.is_oracle:
            estimator.set_oracle(torch.ones(1, 1, 1, 1))
        for network in (estimator, restorer):  # they build their networks for the image at hand
            network.reset(lq, degradation, torch.Generator().manual_seed(0))
    except (UserError, ValueError):
        return None
    return sum(parameter.numel() for network in (estimator, restorer) for parameter in network.parameters())
