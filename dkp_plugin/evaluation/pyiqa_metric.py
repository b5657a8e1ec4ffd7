"""The metrics of pyiqa (IQA-PyTorch) as metrics of BasicSR, under the names ``pyiqa:<name>``."""

import functools
import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from dkp_plugin.evaluation.evaluate import METRIC_DATA
from dkp_plugin.host.errors import OptionError
from dkp_plugin.host.schema import nearest
from dkp_plugin.io.pixels import to_tensor

PREFIX = 'pyiqa:'


def is_pyiqa(options: Mapping[str, Any]) -> bool:
    """Whether a block of ``val: metrics`` names a metric of pyiqa."""
    return str(options.get('type')).startswith(PREFIX)


def register_pyiqa(options: Mapping[str, Any], where: str) -> None:
    """Register the metric that a block of ``val: metrics`` names, after building it once.

    Args:
        options: ``type``, ``better``, and the options of the metric in pyiqa.
        where: Name of the block for the message.

    Raises:
        OptionError: if pyiqa is not installed, has no such metric, or cannot build it with these options.
    """
    kind = options['type']
    name = kind.removeprefix(PREFIX)
    try:
        pyiqa = importlib.import_module('pyiqa')
    except ImportError as error:
        raise OptionError(f'{where}: type: {kind} needs pyiqa ({error}): pip install pyiqa') from None
    names = pyiqa.list_models()
    if name not in names:
        raise OptionError(f'{where}: type: {kind} is unknown, {nearest(kind, [PREFIX + known for known in names])}')
    try:
        build_metric(name, **_own_options(options))
    except Exception as error:  # a wrong option, a missing package of the metric, weights that cannot be downloaded
        raise OptionError(f'{where}: {kind}: {type(error).__name__}: {" ".join(str(error).split())}') from None
    if kind not in METRIC_REGISTRY:
        METRIC_REGISTRY.register(_make_function(name, name in pyiqa.list_models('FR')))


@functools.cache
def build_metric(name: str, **options: Any) -> torch.nn.Module:
    """Build a metric of pyiqa once; it may hold a large network."""
    return importlib.import_module('pyiqa').create_metric(name, **options)


def _own_options(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in ('type', 'better', *METRIC_DATA)}


def _make_function(name: str, needs_truth: bool) -> Callable[..., float]:
    """A function with the signature of BasicSR's metrics, which pass images (H, W, 3), uint8, BGR."""

    def with_truth(img: np.ndarray, img2: np.ndarray, **options: Any) -> float:
        metric = build_metric(name, **_own_options(options))
        return float(metric(to_tensor(img[..., ::-1]), to_tensor(img2[..., ::-1])))

    def without_truth(img: np.ndarray, **options: Any) -> float:
        return float(build_metric(name, **_own_options(options))(to_tensor(img[..., ::-1])))

    function = with_truth if needs_truth else without_truth
    function.__name__ = PREFIX + name
    return function
