"""Tell how far the work is: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time
from collections.abc import Sequence

from tqdm import tqdm

INTERVAL = 10.0  # seconds between lines
WARM_UP = 5.0  # seconds after which the expected time is told


def format_seconds(seconds: float) -> str:
    """Write a duration as one would say it."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


class Progress:
    """Shows image i of n, its step, and the time left for all images.

    Args:
        costs: Pixels of each image.
        is_shown: False: says nothing.
    """

    def __init__(self, costs: Sequence[int], is_shown: bool) -> None:
        self.costs, self.is_shown, self.use_bar = costs, is_shown, is_shown and sys.stderr.isatty()
        self.start = self.last_line = time.monotonic()
        self.index, self.work, self.told_expected = -1, 0.0, False
        self.bar = tqdm(
            total=1.0,
            disable=not self.use_bar,
            bar_format='{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining}',
            dynamic_ncols=True,
            leave=False,
        )

    def begin(self, name: str) -> None:
        """Go on to the next image."""
        self.index, self.name = self.index + 1, name

    def skip(self) -> None:
        """The image of this turn needs no work; it does not count for the time left."""
        self.costs = [cost if index != self.index else 0 for index, cost in enumerate(self.costs)]

    def step(self, done: int, total: int) -> None:
        """Tell the steps of the image that are done, and all of them."""
        whole = max(sum(self.costs), 1)
        self.work = (sum(self.costs[: self.index]) + self.costs[self.index] * done / total) / whole
        now = time.monotonic()
        elapsed = now - self.start
        remaining = elapsed / self.work * (1 - self.work) if self.work else 0.0
        head = f'{self.index + 1}/{len(self.costs)} {self.name}: step {done} of {total}'
        if not self.told_expected and elapsed > WARM_UP:
            self.told_expected = True  # of Diff-DKP the first steps, which seek the kernel, are the slowest by far
            self.write(f'expected time: at most about {format_seconds(elapsed + remaining)}')
        if self.use_bar:
            self.bar.set_description_str(head, refresh=False)
            self.bar.update(self.work - self.bar.n)
        elif self.is_shown and now - self.last_line >= INTERVAL:
            self.last_line = now
            self.write(f'{head}, {100 * self.work:.0f} % of all, about {format_seconds(remaining)} left')

    def write(self, line: str) -> None:
        """Write a line above the bar, unless nothing is to be said."""
        if self.is_shown:
            tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        self.bar.close()
