"""Parameters of a method, and the cost of one step."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.analysis import FlopAnalyzer
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.evaluation.stock_network import build_stock_network
from dkp_plugin.host.errors import UserError
from dkp_plugin.restorers.base import Restorer

PROBE_SIZE = 256  # side, in HR pixels, of the image that the networks are built for
FLOPS_NOTE = (
    f'FLOPs: multiply-adds of the networks in one step, forward, for a result of {PROBE_SIZE}x{PROBE_SIZE} pixels; '
    'a network that is trained costs about twice that again for the way back'
)


@dataclass(frozen=True)
class Complexity:
    """The complexity of a method.

    Args:
        num_parameters: Parameters of all networks, trained in advance or on each image; None if unknown.
        flops: Multiply-adds of the forward passes in the first step; None if unknown.
    """

    num_parameters: int | None = None
    flops: int | None = None


def measure_complexity(options: Mapping[str, Any]) -> Complexity:
    """Build the networks of a method, take one step with them, and count.

    Args:
        options: Content of an option file.

    Returns:
        The counts; unknown if the networks cannot be built here, for example without a weight file, or if the estimator
        trains networks within ``reset``, which takes minutes and leaves nothing to count.
    """
    if 'network_k' not in options:
        return _measure_network(build_stock_network(options['network_g']), options['scale'])
    try:
        plan = Restoration(dict(options) | {'num_gpu': 0}, 'cpu')
        estimator, restorer, scale = plan.estimator, plan.restorer, plan.degradation.scale
        if estimator.trains_in_reset:
            return Complexity()
        networks = [network for network in (estimator, restorer, plan.final_restorer) if network is not None]
        lq = torch.full((1, 3, PROBE_SIZE // scale, PROBE_SIZE // scale), 0.5)
        if estimator.needs_truth:
            estimator.take_truth(torch.ones(1, 1, 1, 1))
        for network in networks:  # they build their networks for the current image
            network.reset(lq, plan.degradation, torch.Generator().manual_seed(0))
        flops = count_flops(lambda: _take_step(estimator, restorer))
    except (UserError, ValueError):
        return Complexity()
    return Complexity(sum(parameter.numel() for network in networks for parameter in network.parameters()), flops)


def _measure_network(network: nn.Module, scale: int) -> Complexity:
    """Count the parameters of one of BasicSR's networks and the multiply-adds of enlarging an image."""
    lq = torch.full((1, 3, PROBE_SIZE // scale, PROBE_SIZE // scale), 0.5)
    num_parameters = sum(parameter.numel() for parameter in network.parameters())
    try:
        return Complexity(num_parameters, count_flops(lambda: network.eval()(lq)))
    except (RuntimeError, ValueError, TypeError):  # a network with other inputs
        return Complexity(num_parameters)


def _take_step(estimator: KernelEstimator, restorer: Restorer) -> None:
    """One iteration of the alternation."""
    if restorer.updates_kernel:
        estimator.step(restorer())
    restorer.step(estimator())


def count_flops(work: Callable[[], object]) -> int:
    """Count the multiply-adds of all forward calls of networks, with MMEngine's analysis.

    Args:
        work: Calls the ``forward`` of networks; operations outside networks are not counted.
    """
    calls: list[tuple[nn.Module, tuple[Any, ...]]] = []
    with _outermost_calls(calls):
        work()
    return sum(_flops_of_call(module, inputs) for module, inputs in calls)


@contextmanager
def _outermost_calls(calls: list[tuple[nn.Module, tuple[Any, ...]]]) -> Iterator[None]:
    """Record every outermost call of a network, except calls of estimators and restorers."""
    depth = 0

    def enter(module: nn.Module, inputs: tuple[Any, ...]) -> None:
        nonlocal depth
        if isinstance(module, KernelEstimator | Restorer):
            return
        if depth == 0:
            calls.append((module, inputs))
        depth += 1

    def leave(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        nonlocal depth
        depth -= not isinstance(module, KernelEstimator | Restorer)

    hooks = [register_module_forward_pre_hook(enter), register_module_forward_hook(leave, always_call=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


class _OnTensors(nn.Module):
    """A call of a network as a function of only its tensors, so that it can be traced."""

    def __init__(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        super().__init__()
        self.module, self.inputs = module, inputs

    def forward(self, *tensors: Tensor) -> Any:
        remaining = iter(tensors)
        return self.module(*(next(remaining) if isinstance(value, Tensor) else value for value in self.inputs))


def _flops_of_call(module: nn.Module, inputs: tuple[Any, ...]) -> int:
    tensors = tuple(value.detach() for value in inputs if isinstance(value, Tensor))
    analyzer = FlopAnalyzer(_OnTensors(module, inputs), tensors)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    with torch.no_grad():
        return analyzer.total()
