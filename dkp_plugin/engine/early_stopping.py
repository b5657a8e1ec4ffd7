"""Stop an over-fitting restorer without ground truth, by the variance of its outputs (ES-WMV, arXiv 2112.06074).

A deep image prior first fits structure, then noise. Its output changes least in between, so the variance over recent
outputs has a minimum near the best image.
"""

from collections import deque

from torch import Tensor

METHODS = ('off', 'wmv', 'emv')


class WindowedVariance:
    """Variance over a sliding window, averaged over pixels; keeps the images of the window in memory."""

    def __init__(self, window: int) -> None:
        self.window = window
        self.images: deque[Tensor] = deque()

    def push(self, x: Tensor) -> Tensor | None:
        """Add an image; return the variance, a scalar on the device of x, or None before the window is full."""
        self.images.append(x)
        if len(self.images) < self.window:
            return None
        if len(self.images) > self.window:
            self.images.popleft()
        mean = sum(self.images) / self.window
        return sum((image - mean).square().mean() for image in self.images) / self.window


class ExponentialVariance:
    """Variance under exponentially decaying weights; keeps one image in memory."""

    def __init__(self, window: int) -> None:
        self.share, self.window, self.count = 2 / (window + 1), window, 0

    def push(self, x: Tensor) -> Tensor | None:
        """Add an image; return the variance, a scalar on the device of x, or None before ``window`` images."""
        if self.count == 0:
            self.mean, self.variance = x.clone(), x.new_zeros(())
        difference = x - self.mean
        self.mean += self.share * difference
        self.variance = (1 - self.share) * (self.variance + self.share * difference.square().mean())
        self.count += 1
        return self.variance if self.count >= self.window else None


class EarlyStopping:
    """Find the minimum of the running variance of the outputs.

    Args:
        method: ``wmv``, variance over a window; ``emv``, exponential weights; ``off``, never stop.
        window: Number of outputs in the window; for ``emv``, the weights have the same mean age as such a window.
        patience: Stop after this many iterations without a new minimum.
        min_iter: First iteration that may become a minimum.

    Raises:
        ValueError: for an unknown method.
    """

    def __init__(self, method: str = 'off', window: int = 50, patience: int = 200, min_iter: int = 100) -> None:
        if method not in METHODS:
            raise ValueError(f'method: {method!r} is not one of {", ".join(METHODS)}')
        self.patience, self.min_iter = patience, min_iter
        self.best_iter, self.best_variance = 0, float('inf')
        self.running = {'off': None, 'wmv': WindowedVariance, 'emv': ExponentialVariance}[method]
        if self.running is not None:
            self.running = self.running(window)
        self.variance: Tensor | None = None

    def push(self, x: Tensor) -> None:
        """Add the output of one iteration; nothing leaves the device."""
        if self.running is not None:
            self.variance = self.running.push(x)

    def is_best(self, iteration: int) -> bool:
        """Whether the variance after ``iteration`` is the smallest so far; always true for the method ``off``."""
        if self.running is None:
            return True
        if self.variance is None or iteration < self.min_iter or self.variance.item() >= self.best_variance:
            return False
        self.best_iter, self.best_variance = iteration, self.variance.item()
        return True

    def is_over(self, iteration: int) -> bool:
        """Whether the minimum is more than ``patience`` iterations old."""
        return self.best_variance < float('inf') and iteration - self.best_iter > self.patience
