"""The files from which the restoration of one image resumes after an interruption."""

import hashlib
import io
import logging
import shutil
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dkp_plugin.engine.snapshot import put, take
from dkp_plugin.host.interruption import stop_if_requested, stop_is_requested
from dkp_plugin.io.files import write_bytes
from dkp_plugin.io.fingerprint import fingerprint

DIGEST_BYTES = 32


class Checkpoints:
    """The checkpoints of one image, a file for each stage of its restoration, and the time that it has taken.

    Args:
        folder: Holds the files of this image alone; None: nothing is saved or restored.
        identity: Fingerprint of everything that the result depends on.
        freq: Iterations between saved states; 0: saved only when the run is asked to stop.
        logger: Reports checkpoints that are used or ignored.
        beside: An object whose state is saved and restored with that of the loop.
    """

    def __init__(
        self,
        folder: Path | None = None,
        identity: str = '',
        freq: int = 0,
        logger: logging.Logger | None = None,
        beside: Any | None = None,
    ) -> None:
        self.folder, self.identity, self.freq, self.beside = folder, identity, freq, beside
        self.logger = logger or logging.getLogger(__name__)
        self.start, self.seconds_before = time.perf_counter(), 0.0

    @property
    def seconds(self) -> float:
        """Seconds of work, including those before an interruption."""
        return self.seconds_before + time.perf_counter() - self.start

    def open(self, stage: str, device: torch.device) -> 'Checkpoint':
        """The checkpoint of a stage.

        Args:
            stage: Its name, which becomes that of the file.
            device: Where the stage computes; numbers differ between devices.
        """
        path = None if self.folder is None else self.folder / f'{stage}.pt'
        return Checkpoint(path, fingerprint(self.identity, stage, torch.__version__, device.type), device, self)

    def remove(self) -> None:
        """Remove all files: the image is finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Checkpoint:
    """The file of one stage: the state of its loop at intervals and when the run is asked to stop, then its result.

    The file starts with the SHA-256 of what follows, so that damage is detected, and holds the identity of the stage.
    A damaged file, or one of another identity, is reported in one line and ignored.

    Args:
        path: The file; None: nothing is saved or restored.
        identity: Fingerprint of everything that the state depends on.
        device: Where tensors that were on a GPU are restored.
        image: The checkpoints of the image.
    """

    def __init__(self, path: Path | None, identity: str, device: torch.device, image: Checkpoints) -> None:
        self.path, self.identity, self.device, self.image = path, identity, device, image
        self.saved = {} if path is None else self._read_or_report()

    def restore(self, loop: Any) -> None:
        """Put the saved state into a loop that has just been reset; does nothing if none was saved.

        Args:
            loop: The object whose state :meth:`save` was given.
        """
        if 'state' in self.saved:
            put([loop, self.image.beside], self.saved.pop('state'))
            self.image.logger.info(f'resuming after iteration {self.saved["iteration"]}, from {self.path}')

    def result(self) -> dict[str, Any] | None:
        """The result of the stage, if it was finished."""
        if 'result' not in self.saved:
            return None
        put(self.image.beside, self.saved['beside'])
        return self.saved['result']

    def is_due(self, iteration: int) -> bool:
        """Whether the state after this iteration, counted from 1, is to be saved."""
        is_regular = self.image.freq > 0 and iteration % self.image.freq == 0
        return self.path is not None and (is_regular or stop_is_requested())

    def save(self, iteration: int, loop: Any) -> None:
        """Write the state of a loop in one move.

        Args:
            iteration: Iterations done.
            loop: The object that iterates; see :mod:`dkp_plugin.engine.snapshot`.

        Raises:
            Interrupted: afterwards, if the run was asked to stop.
        """
        self._write({'iteration': iteration, 'state': take([loop, self.image.beside])})
        stop_if_requested()

    def finish(self, result: dict[str, Any]) -> None:
        """Write the result of the stage, tensors and plain values by name, in place of the state."""
        if self.path is not None:
            self._write({'result': take(result), 'beside': take(self.image.beside)})

    def _write(self, content: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save({'identity': self.identity, 'seconds': self.image.seconds} | content, buffer)
        write_bytes(self.path, hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue())

    def _read_or_report(self) -> dict[str, Any]:
        try:
            saved = self._read()
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            reason = getattr(error, 'strerror', None) or error
            self.image.logger.warning(f'{self.path}: this checkpoint is ignored: {reason}')
            return {}
        self.image.seconds_before = max(self.image.seconds_before, saved['seconds'])
        return saved

    def _read(self) -> dict[str, Any]:
        """Read the file; ValueError for one that does not belong to this run."""
        content = self.path.read_bytes()
        digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError('it is damaged, or no checkpoint')
        try:
            saved = torch.load(io.BytesIO(content), map_location=self._place, weights_only=True)
            identity = saved['identity']
        except Exception as error:  # anything may lie there; or a GPU is gone
            raise ValueError(f'{type(error).__name__} on reading it') from None
        if identity != self.identity:
            raise ValueError('it belongs to other options, another input or another version')
        return saved

    def _place(self, storage: Tensor, location: str) -> Tensor:
        """What was on a GPU goes to the device of this run, whose number may differ; the rest stays on the CPU."""
        return storage if location == 'cpu' else storage.to(self.device)
