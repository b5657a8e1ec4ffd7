"""Progress of a restoration: a bar on a terminal, otherwise a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Sequence

from tqdm import tqdm

INTERVAL = 10.0  # seconds between lines
WARM_UP = 5.0  # seconds before the expected time is shown


def format_seconds(seconds: float) -> str:
    """Format a duration in seconds, minutes or hours."""
    if seconds < 90:
        return f'{seconds:.0f} s'
    return f'{seconds / 60:.0f} min' if seconds < 5400 else f'{seconds / 3600:.1f} h'


class Progress:
    """Shows the current image, its step, and the time left for all images.

    Args:
        costs: Pixels or seconds of each image.
        is_shown: Whether to show anything.
        share: Returns the share of an image's work, 0 to 1, given the image's index, the steps done and their total;
            None: all steps take equally long, and the expected time is shown once it is known.
    """

    def __init__(
        self, costs: Sequence[float], is_shown: bool, share: Callable[[int, int, int], float] | None = None
    ) -> None:
        self.costs, self.is_shown, self.use_bar = list(costs), is_shown, is_shown and sys.stderr.isatty()
        self.share = share or (lambda index, done, total: done / total)
        self.whole, self.before = sum(costs), 0.0  # the cost of all images that are not skipped, and of those done
        self.start = self.last_line = time.monotonic()
        self.index, self.work, self.told_expected = -1, 0.0, share is not None
        self.bar = tqdm(
            total=1.0,
            disable=not self.use_bar,
            bar_format='{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining}',
            dynamic_ncols=True,
            leave=False,
        )

    def begin(self, name: str) -> None:
        """Start the next image."""
        if self.index >= 0:
            self.before += self.costs[self.index]
        self.index, self.name = self.index + 1, name

    def skip(self) -> None:
        """Skip the current image and exclude it from the time left."""
        self.whole -= self.costs[self.index]
        self.costs[self.index] = 0

    def step(self, done: int, total: int) -> None:
        """Show the steps done and the total steps of the current image."""
        done_here = self.costs[self.index] * self.share(self.index, done, total)
        self.work = (self.before + done_here) / self.whole if self.whole > 0 else 0.0
        now = time.monotonic()
        elapsed = now - self.start
        remaining = elapsed / self.work * (1 - self.work) if self.work else 0.0
        head = f'{self.index + 1}/{len(self.costs)} {self.name}: step {done} of {total}'
        if not self.told_expected and elapsed > WARM_UP:
            self.told_expected = True  # an upper bound: Diff-DKP's first steps, which update the kernel, are slowest
            self.write(f'expected time: at most about {format_seconds(elapsed + remaining)}')
        if self.use_bar:
            self.bar.set_description_str(head, refresh=False)
            self.bar.update(self.work - self.bar.n)
        elif self.is_shown and now - self.last_line >= INTERVAL:
            self.last_line = now
            self.write(f'{head}, {100 * self.work:.0f} % of all, about {format_seconds(remaining)} left')

    def write(self, line: str) -> None:
        """Write a line above the bar, if output is shown."""
        if self.is_shown:
            tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()
