"""Apply the metrics of an option file to one result."""

import inspect
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from basicsr.metrics import calculate_metric
from basicsr.utils.registry import METRIC_REGISTRY
from torch import Tensor

from dkp_plugin.io.pixels import from_tensor

# The last digits of a float64 depend on the memory alignment of the array and would differ between runs.
DECIMALS = 9
STAGES = ('intermediate', 'variational')  # images that led to a result; see ``Restorer.stages``
METRIC_DATA = ('img', 'img2', 'lq', 'kernel', 'kernel_gt', 'scale')  # arguments that metrics may have; see metric_data


def to_uint8_bgr(image: Tensor) -> np.ndarray:
    """Round an image (1, C, H, W) in [0, 1] to uint8 (H, W, 3), BGR, the levels that its file holds.

    Gray images get three identical channels. BasicSR computes the Y channel, in the range 16 to 235, only for three
    channels; a gray image in the range 0 to 255 would score 1.3 dB less than the same image in colour.
    """
    levels = from_tensor(image, np.dtype('uint8'))
    return cv2.cvtColor(levels, cv2.COLOR_GRAY2BGR if levels.shape[2] == 1 else cv2.COLOR_RGB2BGR)


def metric_data(visuals: Mapping[str, Tensor], scale: int) -> dict[str, Any]:
    """Arrange the images and kernels of one result as BasicSR's metrics expect them.

    Args:
        visuals: ``lq``, ``result`` and ``kernel``, and if known ``gt`` and ``kernel_gt``, as tensors.
        scale: Subsampling factor.

    Returns:
        ``img``, ``img2``, ``lq``: uint8 (H, W, 3), BGR; ``kernel``, ``kernel_gt``: float64 (K, K); ``scale``.
        Unknown entries are omitted.
    """
    names = {'result': 'img', 'gt': 'img2', 'lq': 'lq'}
    data = {name: to_uint8_bgr(visuals[key]) for key, name in names.items() if key in visuals}
    kernels = {key: visuals[key][0, 0].double().numpy() for key in ('kernel', 'kernel_gt') if key in visuals}
    return data | kernels | {'scale': scale}


def required_arguments(metric: str) -> list[str]:
    """Required arguments of a registered metric, including its data."""
    parameters = inspect.signature(METRIC_REGISTRY.get(metric)).parameters.values()
    return [p.name for p in parameters if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]


def evaluate(
    metrics: Mapping[str, Mapping[str, Any]], data: Mapping[str, Any]
) -> tuple[dict[str, float], dict[str, str]]:
    """Compute all metrics whose data are available.

    Args:
        metrics: Metric options by name, as in the block ``val: metrics``.
        data: See :func:`metric_data`.

    Returns:
        Values by metric name, rounded to ``DECIMALS``, and the reason for each skipped metric: missing data, or the
        error that it raised (NIQE fails on images below about 200 pixels).
    """
    values, skipped = {}, {}
    for name, options in metrics.items():
        missing = [key for key in required_arguments(options['type']) if key not in data and key not in options]
        if missing:
            skipped[name] = f'no {" and no ".join(missing)}'
            continue
        try:
            values[name] = round(float(calculate_metric(data, options)), DECIMALS)
        except Exception as error:  # a failing third-party metric must not lose the image
            skipped[name] = f'{type(error).__name__}: {error}'
    return values, skipped


def stage_names(metric: str) -> list[str]:
    """Names in a record under which a metric of each of the ``STAGES`` stands."""
    return [f'{metric}_{stage}' for stage in STAGES]


def evaluate_stages(
    metrics: Mapping[str, Mapping[str, Any]], stages: Mapping[str, Tensor], gt: Tensor | None
) -> dict[str, float]:
    """Compute the PSNR of the images that led to a result.

    Args:
        metrics: Metric options by name; those of BasicSR's PSNR are used.
        stages: Images (1, C, H, W) by name, of which ``STAGES`` count.
        gt: The true image, (1, C, H, W); None: there is none.

    Returns:
        Values by the names of :func:`stage_names`.
    """
    if gt is None:
        return {}
    chosen = {name: options for name, options in metrics.items() if options['type'] == 'calculate_psnr'}
    found = {stage: metric_data({'result': stages[stage], 'gt': gt}, 1) for stage in STAGES if stage in stages}
    return {
        f'{name}_{stage}': value for stage, data in found.items() for name, value in evaluate(chosen, data)[0].items()
    }
