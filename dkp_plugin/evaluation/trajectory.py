"""Intermediate results of a restoration, scored after it ends, so that the loop never sees the ground truth."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dkp_plugin.evaluation.evaluate import evaluate, metric_data
from dkp_plugin.io.pixels import from_tensor


class Trajectory:
    """Records the image and the kernel at intervals during a restoration.

    Args:
        freq: Iterations between recorded states; 0: none.
        clock: Returns the seconds since the restoration of the image began.
    """

    def __init__(self, freq: int, clock: Callable[[], float]) -> None:
        self.freq, self.clock = freq, clock
        self.kept: list[tuple[int, float, Tensor, Tensor]] = []

    def is_due(self, iteration: int) -> bool:
        """Whether to record this iteration, counted from 1."""
        return self.freq > 0 and iteration % self.freq == 0

    def keep(self, iteration: int, x: Tensor, kernel: Tensor) -> None:
        """Record an image, (1, C, s h, s w) in [0, 1], rounded to 8 bits, and a kernel, (1, 1, K, K)."""
        x = torch.from_numpy(from_tensor(x.detach(), np.dtype('uint8'))).permute(2, 0, 1)[None]
        self.kept.append((iteration, self.clock(), x, kernel.detach().float().cpu()))

    def score(
        self, visuals: Mapping[str, Tensor], metrics: Mapping[str, Mapping[str, Any]], scale: int
    ) -> list[dict[str, float]]:
        """Compute the metrics of the recorded states.

        Args:
            visuals: ``lq`` and, if known, ``gt`` and ``kernel_gt``, as for
                :func:`~dkp_plugin.evaluation.evaluate.metric_data`.
            metrics: Metric options by name, as in the block ``val: metrics``.
            scale: Subsampling factor.

        Returns:
            A row for each state: ``iteration``, ``seconds`` since the start, and all available metrics. The images are
            those of single iterations, before averaging.
        """
        rows = []
        for iteration, seconds, x, kernel in self.kept:
            data = metric_data({**visuals, 'result': x / 255, 'kernel': kernel}, scale)
            rows.append({'iteration': iteration, 'seconds': seconds, **evaluate(metrics, data)[0]})
        return rows
