"""The file from which the restoration of one image goes on after an interruption."""

import hashlib
import io
import logging
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dkp_plugin.engine.snapshot import put, take
from dkp_plugin.host.interruption import stop_if_requested, stop_is_requested
from dkp_plugin.io.files import write_bytes

DIGEST_BYTES = 32


class Checkpoint:
    """Saves the state of a loop every so many iterations, and when the run is asked to stop.

    The file holds the SHA-256 of all that follows, so that a damaged one is known, and ``identity``, so that one of
    another image or other options is. Either is left alone and said in one line.

    Args:
        path: The file; None: nothing is saved or restored.
        identity: Fingerprint of everything that the state depends on.
        freq: Iterations from one to the next; 0: only when the run is asked to stop.
        logger: Hears of checkpoints that are used or left alone.
        beside: An object whose state travels with that of the loop.
    """

    def __init__(
        self, path: Path | None, identity: str, freq: int, logger: logging.Logger, beside: Any | None = None
    ) -> None:
        self.path, self.identity, self.freq, self.logger, self.beside = path, identity, freq, logger, beside
        self.start, self.seconds_before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work, those before an interruption among them."""
        return self.seconds_before + time.perf_counter() - self.start

    def restore(self, loop: Any) -> None:
        """Put the saved state into a loop that has just been reset; nothing happens where there is no file that fits.

        Args:
            loop: The object whose state :meth:`save` was given.
        """
        if self.path is None:
            return
        try:
            saved = self._read()
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            self.logger.warning(f'{self.path}: this checkpoint is not used: {getattr(error, "strerror", 0) or error}')
            return
        put([loop, self.beside], saved['state'])
        self.seconds_before = saved['seconds']
        self.logger.info(f'going on after iteration {saved["iteration"]}, from {self.path}')

    def _read(self) -> dict[str, Any]:
        """Read the file; ValueError for one that is not of this run."""
        content = self.path.read_bytes()
        digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError('it is damaged, or none')
        try:
            saved = torch.load(io.BytesIO(content), map_location=_to_own_gpu, weights_only=True)
            identity = saved['identity']
        except Exception as error:  # whatever somebody has put there; a GPU that is no longer there
            raise ValueError(f'{type(error).__name__} on reading it') from None
        if identity != self.identity:
            raise ValueError('it belongs to other options, another input or another version')
        return saved

    def is_due(self, iteration: int) -> bool:
        """Whether the state after this iteration, counted from 1, is to be saved."""
        is_regular = self.freq > 0 and iteration % self.freq == 0
        return self.path is not None and (is_regular or stop_is_requested())

    def save(self, iteration: int, loop: Any) -> None:
        """Write the file in one move.

        Args:
            iteration: Iterations done.
            loop: The object that iterates; see :mod:`dkp_plugin.engine.snapshot`.

        Raises:
            Interrupted: afterwards, if the run was asked to stop.
        """
        state = take([loop, self.beside])
        saved = {'identity': self.identity, 'iteration': iteration, 'seconds': self.seconds, 'state': state}
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        content = buffer.getvalue()
        write_bytes(self.path, hashlib.sha256(content).digest() + content)
        stop_if_requested()

    def remove(self) -> None:
        """Remove the file, if there is one: the image is finished."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


def _to_own_gpu(storage: Tensor, location: str) -> Tensor:
    """What was on a GPU goes to the GPU of this process, which may have another number; the rest stays on the CPU."""
    return storage if location == 'cpu' else storage.cuda()
