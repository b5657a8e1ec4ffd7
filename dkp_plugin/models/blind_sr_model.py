"""The model of every blind method: BasicSR's life cycle around the engine, one image at a time."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from mmengine.dist import barrier
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from dkp_plugin.engine.checkpoints import Checkpoints
from dkp_plugin.engine.confidence import Inspection
from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.options import BlindSROptions
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.evaluation.checks import check_datasets, check_metrics
from dkp_plugin.evaluation.evaluate import evaluate, evaluate_stages, metric_data
from dkp_plugin.evaluation.provenance import Provenance
from dkp_plugin.evaluation.records import Records, peak_memory, record_path
from dkp_plugin.evaluation.stock import image_names, load_item, take_stock
from dkp_plugin.evaluation.trajectory import Trajectory
from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.host.interruption import stop_if_requested
from dkp_plugin.host.processes import divide, is_main, merge
from dkp_plugin.io.files import remove_leftovers, write_json
from dkp_plugin.io.fingerprint import fingerprint
from dkp_plugin.io.images import decode_image
from dkp_plugin.io.kernel_files import read_kernel, write_kernel
from dkp_plugin.io.photo_files import write_photo
from dkp_plugin.io.pixels import from_tensor
from dkp_plugin.io.transparency import join_alpha
from dkp_plugin.physics.jpeg_coding import JpegCoding


@MODEL_REGISTRY.register()
class BlindSRModel(BaseModel):
    """Restores the LR images of data sets with unknown blur.

    Only the metrics see the true images and kernels of a dataset. The methods follow the life cycle of BasicSR's
    models; :class:`~dkp_plugin.engine.options.BlindSROptions` describes the option file.

    Args:
        opt: The options.
        checked: Result of :meth:`check_options` for these options; None: built here.

    Raises:
        OptionError: if an option is invalid.
    """

    def __init__(self, opt: dict[str, Any], checked: Restoration | None = None) -> None:
        super().__init__(opt)
        self.restoration = (checked or Restoration(opt, 'cpu')).to(self.device)
        self.options: BlindSROptions = self.restoration.options
        self.net_k, self.net_g = self.restoration.estimator, self.restoration.restorer
        self.results_root = Path(opt['path']['results_root'])
        self.provenance = Provenance(opt)
        self.made_from: dict[str, Any] = {}
        self.checkpoint_folder: Path | None = None  # None: an interrupted image restarts from scratch
        self.reported_skipped: set[str] = set()  # skipped metrics, each reported once per run

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> Restoration:
        """Check a whole option file without writing anything, and build its restoration on the CPU.

        Raises:
            OptionError: for the first invalid option.
        """
        restoration = Restoration(opt, 'cpu')
        check_metrics(restoration.options.val.metrics)
        check_datasets(restoration.options.datasets, restoration.degradation)
        return restoration

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take an item from a test loader.

        Args:
            data: ``lq`` (1, C, h, w) and ``lq_path``; optionally ``gt`` (1, C, s h, s w), ``kernel`` (1, 1, K, K),
                ``alpha`` (1, 1, h, w) and ``jpeg``, (1, 196).

        Raises:
            ImageError: if the sizes of the HR and LR images do not match the scale.
        """
        lq_path = data['lq_path'][0]
        self.image_name = Path(lq_path).stem
        self.lq = data['lq'].to(self.device)
        self.gt, self.kernel_gt, self.alpha = (data.get(key) for key in ('gt', 'kernel', 'alpha'))
        self.jpeg = JpegCoding.from_tensor(data['jpeg'][0]) if 'jpeg' in data else None
        expected = tuple(self.options.scale * side for side in self.lq.shape[-2:])
        if self.gt is not None and tuple(self.gt.shape[-2:]) != expected:
            raise ImageError(
                f'{data["gt_path"][0]}: {self.gt.shape[-1]}x{self.gt.shape[-2]} pixels, '
                f'but the LR image at scale {self.options.scale} needs {expected[1]}x{expected[0]}'
            )

    def test(self) -> None:
        """Restore the current image; set ``output``, ``kernel`` and ``result``.

        Raises:
            ImageError: if the image is too small, or too large for the memory.
            DivergenceError: if every attempt produced values that are not finite.
        """
        if self.net_k.needs_truth:  # an oracle, marked as such in the records
            self.net_k.take_truth(self.kernel_gt)
        folder = self.checkpoint_folder and self.checkpoint_folder / self.image_name
        identity = fingerprint(self.made_from, self.image_name)
        self.checkpoints = Checkpoints(folder, identity, self.options.val.checkpoint_freq, get_root_logger())
        self.trajectory = Trajectory(self.options.val.curve_freq, lambda: self.checkpoints.seconds)
        self.checkpoints.beside = self.trajectory
        with _Progress(self.image_name, self.options.val.pbar, self.trajectory) as progress:
            self.result = self.restoration(self.lq, self.image_name, self.jpeg, progress, self.checkpoints)
        self.output, self.kernel = self.result.x, self.result.kernel

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The images of the last test: ``lq``, ``result``, ``kernel`` and, if known, ``gt`` and ``kernel_gt``."""
        visuals = {
            'lq': self.lq,
            'result': self.output,
            'kernel': self.kernel,
            'gt': self.gt,
            'kernel_gt': self.kernel_gt,
        }
        return {key: value.detach().cpu() for key, value in visuals.items() if value is not None}

    def dist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Validate on all processes; each takes its share of the images."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Restore the unfinished images of a dataset; save each image, kernel, curve and record once it is ready.

        An image is finished if its record and files exist and come from the same options, weights, LR image and
        version. An image that fails is logged and recorded with its error; the run continues with the other images.

        Raises:
            Interrupted: if the run was asked to stop; finished images and the state of the current one are kept.
            OSError: if the records cannot be written.
        """
        dataset, dataset_name = dataloader.dataset, dataloader.dataset.opt['name']
        records = Records(self.results_root, dataset_name, image_names(dataset), self.opt)
        self.checkpoint_folder = self.results_root / 'checkpoints' / dataset_name
        stock = take_stock(
            dataset,
            records,
            self.provenance,
            lambda name: self._output_paths(dataset_name, name) if save_img else [],
            lambda item, name: self._measure_again(dataset_name, item, name),
        )
        world = self.opt.get('world_size', 1)
        is_only_writer = is_main() and (world == 1 or self.opt['dist'])
        mine = divide(stock.costs, stock.unfinished, self.opt['rank'], world)
        remove_leftovers(self._written_paths(records, [records.image_names[index] for index in mine], is_only_writer))
        try:
            for index in mine:
                stop_if_requested()
                get_root_logger().info(f'{dataset_name} {index + 1}/{len(dataset)}: {records.image_names[index]}')
                self._restore(dataset, index, records, save_img)
                if is_only_writer:
                    with suppress(OSError):  # such as a full disk; errors in the final summary are raised
                        records.write_summary_sometimes()
        except BaseException:  # an interruption among them
            if is_only_writer:
                with suppress(OSError):
                    records.write_summary()
            raise
        records.by_name = merge(records.by_name)
        if is_main():
            records.adopt(stock.made_from)
            records.write_summary()
            self._log_means(dataset_name, records.means(), tb_logger, current_iter)
        barrier()  # so that every process can read the summary

    def _restore(self, dataset: Dataset, index: int, records: Records, save_img: bool) -> None:
        """Restore one image of a dataset and record the result or the error."""
        name = records.image_names[index]
        try:
            item = load_item(dataset, index)
            self.made_from = self.provenance.of(item)
            self.feed_data(default_collate([item]))
            self.image_name = name  # includes the folder of an lmdb entry
            self.test()
            if save_img:  # before the metrics, whose errors must not lose the result
                self._save_result(records.dataset_name)
            records.add(self._measure(), self.made_from)
            self.checkpoints.remove()
            return
        except UserError as error:
            message = str(error)
        except OSError as error:
            message = f'{name}: {error.strerror or error}' + (f': {error.filename}' if error.filename else '')
        get_root_logger().error(message)
        with suppress(OSError):  # on a full disk, at least the record in memory remains
            records.add({'image': name, 'error': message}, {})

    def _output_paths(self, dataset_name: str, image_name: str) -> tuple[Path, Path]:
        """Paths of the image, named as in BasicSR, and of the kernel."""
        file_name = f'{image_name}_{self.options.val.suffix or self.options.name}.png'
        return (
            self.results_root / 'visualization' / dataset_name / file_name,
            self.results_root / 'kernels' / dataset_name / f'{image_name}.mat',
        )

    def _written_paths(self, records: Records, image_names: Sequence[str], with_summary: bool) -> Iterator[Path]:
        """The files that a run writes for images of a data set."""
        for name in image_names:
            image_path, kernel_path = self._output_paths(records.dataset_name, name)
            yield from (image_path, kernel_path, kernel_path.with_suffix('.png'))
            yield record_path(self.results_root, records.dataset_name, name)
            for folder in ('curves', 'progress'):
                yield self.results_root / folder / records.dataset_name / f'{name}.json'
        if with_summary:
            yield self.results_root / 'metrics' / f'{records.dataset_name}.json'

    def _measure_again(self, dataset_name: str, item: dict[str, Any], image_name: str) -> dict[str, float]:
        """Compute the metrics of a result from its files, which hold the 8-bit values that metrics use."""
        image_path, kernel_path = self._output_paths(dataset_name, image_name)
        visuals = {
            'lq': item['lq'][None],
            'result': decode_image(image_path.read_bytes(), str(image_path))[None],
            'kernel': read_kernel(kernel_path, self.restoration.degradation.convention),
        }
        visuals |= {
            name: item[key][None] for name, key in (('gt', 'gt'), ('kernel_gt', 'kernel')) if item.get(key) is not None
        }
        return evaluate(self.options.val.metrics or {}, metric_data(visuals, self.options.scale))[0]

    def _measure(self) -> dict[str, Any]:
        """Compute the metrics of the last test; return its record."""
        data = metric_data(self.get_current_visuals(), self.options.scale)
        values, skipped = evaluate(self.options.val.metrics or {}, data)
        for name in skipped.keys() - self.reported_skipped:
            get_root_logger().warning(f'{self.image_name}: {name} is skipped: {skipped[name]}')
        self.reported_skipped |= skipped.keys()
        result = self.result
        stages = {name: image.detach().cpu() for name, image in result.stages.items()}
        values |= evaluate_stages(self.options.val.metrics or {}, stages, self.gt)
        if result.confidence.is_low:
            get_root_logger().warning(f'{self.image_name}: low confidence: {"; ".join(result.confidence.doubts)}')
        return {
            'image': self.image_name,
            **values,
            'peak_memory_mib': peak_memory(self.device),
            'seed': self.options.manual_seed,
            'oracle': self.net_k.needs_truth,
            'noise': 255 * result.degradation.noise,
            'inspection': result.inspection.record(),
            'confidence': asdict(result.confidence),
            **({} if result.tile is None else {'tile': result.tile}),
            'num_iter': result.num_iter,
            'best_iter': result.best_iter,
            'seconds': result.seconds,
        }

    def _save_result(self, dataset_name: str) -> None:
        """Write the image to BasicSR's folder, and the kernel, curve and trajectory to separate folders."""
        image_path, kernel_path = self._output_paths(dataset_name, self.image_name)
        degradation, x = self.result.degradation, self.output
        if self.alpha is not None:
            x = join_alpha(x, self.restoration.enlarge(self.alpha.to(x)))
        write_photo(image_path, from_tensor(x, np.dtype('uint8')))
        write_kernel(kernel_path, self.kernel, degradation.convention, degradation.scale)
        write_json(self.results_root / 'curves' / dataset_name / f'{self.image_name}.json', self.result.curve)
        if self.trajectory.freq > 0:
            rows = self.trajectory.score(self.get_current_visuals(), self.options.val.metrics or {}, self.options.scale)
            write_json(self.results_root / 'progress' / dataset_name / f'{self.image_name}.json', rows)

    def _log_means(self, dataset_name: str, means: dict[str, float], tb_logger: Any, current_iter: Any) -> None:
        lines = ''.join(f'\t # {name}: {value:.4f}\n' for name, value in means.items())
        get_root_logger().info(f'Validation {dataset_name}\n{lines}')
        if tb_logger:
            for name, value in means.items():
                tb_logger.add_scalar(f'metrics/{dataset_name}/{name}', value, current_iter)


class _Progress(Observer):
    """Shows the steps of one image in a progress bar, records its trajectory and logs warnings.

    Args:
        name: Name of the image.
        is_shown: Whether to show the bar.
        trajectory: Records the image and the kernel at intervals.
    """

    def __init__(self, name: str, is_shown: bool, trajectory: Trajectory) -> None:
        self.name, self.trajectory = name, trajectory
        interval = 0.5 if sys.stderr is not None and sys.stderr.isatty() else 10
        self.bar = tqdm(desc=name, unit='step', disable=not is_shown, mininterval=interval)

    def __enter__(self) -> '_Progress':
        return self

    def __exit__(self, *exception: object) -> None:
        self.bar.close()

    def inspected(self, inspection: Inspection) -> None:
        for doubt in inspection.doubts:
            get_root_logger().warning(f'{self.name}: the kernel estimate may be unreliable: {doubt}')

    def stepped(self, done: int, total: int) -> None:
        self.bar.total = total
        self.bar.update(done - self.bar.n)

    def iterated(self, iteration: int, look: Callable[[], tuple[Tensor, Tensor]]) -> None:
        if self.trajectory.is_due(iteration):
            self.trajectory.keep(iteration, *look())

    def warned(self, message: str) -> None:
        get_root_logger().warning(message)
