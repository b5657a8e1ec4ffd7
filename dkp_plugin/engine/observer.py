"""What a caller may follow while an image is restored."""

from collections.abc import Callable

from torch import Tensor

from dkp_plugin.engine.confidence import Inspection


class Observer:
    """Follows the restoration of an image; subclasses override the methods they need."""

    def inspected(self, inspection: Inspection) -> None:
        """Called before the restoration, with the properties of the LR image."""

    def stepped(self, done: int, total: int) -> None:
        """Called after each step, with the number of steps done and an upper bound of the total."""

    def iterated(self, iteration: int, look: Callable[[], tuple[Tensor, Tensor]]) -> None:
        """Called after each iteration of the alternation on the whole image.

        Args:
            iteration: Counted from 1.
            look: Returns the current image, (1, C, s h, s w), and kernel, (1, 1, K, K).
        """

    def warned(self, message: str) -> None:
        """Called with a one-line message when a step is repeated or done differently."""
