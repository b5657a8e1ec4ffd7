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
    """Shows the image begun last, its step, and the time left for all images.

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
        self.whole, self.spent = sum(costs), 0.0  # costs of all images that are not skipped, and of what is done
        self.done = [0.0] * len(self.costs)  # of each image
        self.start = self.last_line = time.monotonic()
        self.num_begun, self.work, self.told_expected = 0, 0.0, share is not None
        self.bar = tqdm(
            total=1.0,
            disable=not self.use_bar,
            bar_format='{desc} {percentage:3.0f}%|{bar}| {elapsed} < {remaining}',
            dynamic_ncols=True,
            leave=False,
        )

    def begin(self, index: int, name: str) -> 'ImageProgress':
        """Start an image; several may be in progress."""
        self.num_begun += 1
        return ImageProgress(self, index, f'{self.num_begun}/{len(self.costs)} {name}')

    def spend(self, index: int, cost: float) -> None:
        """Set what an image has cost so far."""
        self.spent += cost - self.done[index]
        self.done[index] = cost
        self.work = self.spent / self.whole if self.whole > 0 else 0.0

    def show(self, line: str) -> None:
        """Show what is being done, and the time left."""
        now = time.monotonic()
        elapsed = now - self.start
        remaining = elapsed / self.work * (1 - self.work) if self.work else 0.0
        if not self.told_expected and elapsed > WARM_UP:
            self.told_expected = True  # an upper bound: Diff-DKP's first steps, which update the kernel, are slowest
            self.write(f'expected time: at most about {format_seconds(elapsed + remaining)}')
        if self.use_bar:
            self.bar.set_description_str(line, refresh=False)
            self.bar.update(self.work - self.bar.n)
        elif self.is_shown and now - self.last_line >= INTERVAL:
            self.last_line = now
            self.write(f'{line}, {100 * self.work:.0f} % of all, about {format_seconds(remaining)} left')

    def write(self, line: str) -> None:
        """Write a line above the bar, if output is shown."""
        if self.is_shown:
            tqdm.write(line, file=sys.stderr)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


class ImageProgress:
    """Progress of one image; see :meth:`Progress.begin`."""

    def __init__(self, progress: Progress, index: int, name: str) -> None:
        self.progress, self.index, self.name = progress, index, name
        self.write = progress.write

    def step(self, done: int, total: int) -> None:
        """Show the steps done and the total steps of the image."""
        progress = self.progress
        progress.spend(self.index, progress.costs[self.index] * progress.share(self.index, done, total))
        progress.show(f'{self.name}: step {done} of {total}')

    def skip(self) -> None:
        """Exclude the image from the time left."""
        self.progress.whole -= self.progress.costs[self.index]
        self.progress.costs[self.index] = 0

    def end(self) -> None:
        """Count the whole image as done."""
        self.progress.spend(self.index, self.progress.costs[self.index])
