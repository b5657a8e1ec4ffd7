"""Checkpoint files that resume the restoration of an image after an interruption."""

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
    """The checkpoints of one image, one file for each stage, and the time spent on the image.

    Args:
        folder: Folder for the files of this image only; None: nothing is saved or restored.
        identity: Fingerprint of everything that affects the result.
        freq: Iterations between saved states; 0: save only when the run is asked to stop.
        logger: Reports which checkpoints are used or ignored.
        beside: Another object whose state is saved and restored with the loop.
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
        """Seconds spent on the image, including the time before an interruption."""
        return self.seconds_before + time.perf_counter() - self.start

    def open(self, stage: str, device: torch.device) -> 'Checkpoint':
        """The checkpoint of a stage.

        Args:
            stage: Name of the stage and of its file.
            device: Device of the stage; it is part of the identity, since results differ between devices.
        """
        path = None if self.folder is None else self.folder / f'{stage}.pt'
        return Checkpoint(path, fingerprint(self.identity, stage, torch.__version__, device.type), device, self)

    def remove(self) -> None:
        """Remove all files once the image is finished."""
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)


class Checkpoint:
    """The file of one stage. It holds the state of the loop while the stage runs, and its result afterwards.

    The file starts with the SHA-256 of the remaining bytes, which detects damage, and holds the identity of the stage.
    A damaged file, or one with another identity, is reported in one line and ignored.

    Args:
        path: The file; None: nothing is saved or restored.
        identity: Fingerprint of everything that affects the state.
        device: Device for tensors that were on a GPU.
        image: The checkpoints of the image.
    """

    def __init__(self, path: Path | None, identity: str, device: torch.device, image: Checkpoints) -> None:
        self.path, self.identity, self.device, self.image = path, identity, device, image
        self.saved = {} if path is None else self._read_or_report()

    def restore(self, loop: Any) -> None:
        """Restore the saved state of a loop that has just been reset; without a saved state, do nothing.

        Args:
            loop: The object that was passed to :meth:`save`.
        """
        if 'state' in self.saved:
            put([loop, self.image.beside], self.saved.pop('state'))
            self.image.logger.info(f'resuming after iteration {self.saved["iteration"]}, from {self.path}')

    def result(self) -> dict[str, Any] | None:
        """The result of the stage if it is finished, otherwise None."""
        if 'result' not in self.saved:
            return None
        put(self.image.beside, self.saved['beside'])
        return self.saved['result']

    def is_due(self, iteration: int) -> bool:
        """Whether to save the state after this iteration, counted from 1."""
        is_regular = self.image.freq > 0 and iteration % self.image.freq == 0
        return self.path is not None and (is_regular or stop_is_requested())

    def save(self, iteration: int, loop: Any) -> None:
        """Write the state of a loop atomically.

        Args:
            iteration: Iterations done.
            loop: The object that iterates; see :mod:`dkp_plugin.engine.snapshot`.

        Raises:
            Interrupted: after writing, if the run was asked to stop.
        """
        self._write({'iteration': iteration, 'state': take([loop, self.image.beside])})
        stop_if_requested()

    def finish(self, result: dict[str, Any]) -> None:
        """Replace the state by the result of the stage, tensors and plain values by name."""
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
            self.image.logger.warning(f'{self.path}: ignoring this checkpoint: {reason}')
            return {}
        self.image.seconds_before = max(self.image.seconds_before, saved['seconds'])
        return saved

    def _read(self) -> dict[str, Any]:
        """Read the file; raise ValueError if it does not belong to this run."""
        content = self.path.read_bytes()
        digest, content = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if hashlib.sha256(content).digest() != digest:
            raise ValueError('it is damaged or not a checkpoint')
        try:
            saved = torch.load(io.BytesIO(content), map_location=self._place, weights_only=True)
            identity = saved['identity']
        except Exception as error:  # the file may hold anything, or its GPU may be missing
            raise ValueError(f'reading it failed with {type(error).__name__}') from None
        if identity != self.identity:
            raise ValueError('it belongs to other options, another input or another version')
        return saved

    def _place(self, storage: Tensor, location: str) -> Tensor:
        """Move GPU tensors to the device of this run, whose index may differ; the rest stays on the CPU."""
        return storage if location == 'cpu' else storage.to(self.device)
