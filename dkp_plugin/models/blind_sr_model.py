"""The model that every blind system here runs in: one estimator, one restorer, image by image."""

import sys
import time
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger, tensor2img
from basicsr.utils.registry import MODEL_REGISTRY
from mmengine.dist import barrier
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from tqdm import tqdm

from dkp_plugin.engine.alternation import AlternationResult, alternate, try_again
from dkp_plugin.engine.checkpoints import Checkpoint
from dkp_plugin.engine.confidence import judge
from dkp_plugin.engine.non_blind import restore_with_kernel
from dkp_plugin.engine.options import BlindSROptions, build_final_restorer, build_restorer
from dkp_plugin.engine.out_of_memory import TILES, describe_out_of_memory, has_tiles, is_out_of_memory, tiled
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.evaluation.evaluate import evaluate, metric_data
from dkp_plugin.evaluation.provenance import Provenance
from dkp_plugin.evaluation.records import Records, peak_memory
from dkp_plugin.evaluation.stock import image_names, load_item, take_stock
from dkp_plugin.evaluation.trajectory import Progress
from dkp_plugin.host.errors import ImageError, UserError
from dkp_plugin.host.interruption import stop_if_requested
from dkp_plugin.host.processes import divide, is_main, merge
from dkp_plugin.host.schema import build_network, parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.files import write_json
from dkp_plugin.io.fingerprint import fingerprint
from dkp_plugin.io.images import decode_image, write_image
from dkp_plugin.io.kernel_files import read_kernel, write_kernel
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.noise import estimate_noise


@MODEL_REGISTRY.register()
class BlindSRModel(BaseModel):
    """Restores LR images of unknown blur by alternating a kernel estimator and an image restorer.

    The truth, where a dataset has it, goes to the metrics only. The methods follow the life cycle of BasicSR's
    models; the option file is described by :class:`~dkp_plugin.engine.options.BlindSROptions`.

    Raises:
        OptionError: for a mistake in the options.
    """

    def __init__(self, opt: dict[str, Any]) -> None:
        super().__init__(opt)
        self.options = parse_section(BlindSROptions, opt, '')
        self.degradation = self.options.build_degradation()
        self.net_k = build_network(opt['network_k'], 'network_k', KernelEstimator).to(self.device)
        self.net_g = build_restorer(opt).to(self.device)
        self.final_restorer = build_final_restorer(self.options.restorer)
        self.results_root = Path(opt['path']['results_root'])
        self.provenance = Provenance(opt)
        self.made_from: dict[str, Any] = {}
        self.checkpoint_folder: Path | None = None  # none: an image that is interrupted starts anew
        self.reported_skipped: set[str] = set()  # metrics that were said to be skipped, each once a run

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take an item of a test loader.

        Args:
            data: ``lq`` (1, C, h, w) and ``lq_path``; optionally ``gt`` (1, C, s h, s w) and ``kernel`` (1, 1, K, K).

        Raises:
            ImageError: if the images do not fit each other, the scale or the kernel size.
        """
        self.image_name = Path(data['lq_path'][0]).stem
        self.lq = data['lq'].to(self.device)
        self.gt, self.kernel_gt = data.get('gt'), data.get('kernel')
        expected = tuple(self.options.scale * side for side in self.lq.shape[-2:])
        if self.gt is not None and tuple(self.gt.shape[-2:]) != expected:
            raise ImageError(
                f'{data["gt_path"][0]}: {self.gt.shape[-1]}x{self.gt.shape[-2]} pixels, '
                f'but the LR image at scale {self.options.scale} needs {expected[1]}x{expected[0]}'
            )
        if min(expected) < self.degradation.kernel_size:
            raise ImageError(
                f'{data["lq_path"][0]}: {expected[1]}x{expected[0]} pixels at scale {self.options.scale} '
                f'are fewer than the kernel size {self.degradation.kernel_size}'
            )

    def test(self) -> None:
        """Restore the image that was fed; sets ``output``, ``kernel`` and ``result``.

        Raises:
            DivergenceError: if every attempt ended in numbers that are not finite.
        """
        for tile in (None, *TILES):
            try:
                with tiled(self.net_g, tile):
                    self.result = try_again(self._alternate, self.image_name, get_root_logger().warning)
                break
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and has_tiles(self.net_g)) or tile == TILES[-1]:
                    raise
            get_root_logger().warning(f'{self.image_name}: out of memory; trying smaller tiles')
            torch.cuda.empty_cache()  # does nothing without a GPU
        self.output, self.kernel, self.tile = self.result.x, self.result.kernel, tile

    def _alternate(self, attempt: int) -> AlternationResult:
        generator = image_generator(self.options.manual_seed, self.image_name, attempt)
        checkpoint = self._open_checkpoint(attempt)
        num_iter = self.options.alternation.num_iter or self.net_g.num_iter
        if isinstance(self.net_k, FixedKernel) and self.net_k.is_oracle:  # the marked exception from blindness
            self.net_k.set_oracle(self.kernel_gt)
        bar = tqdm(
            total=num_iter,
            desc=self.image_name,
            unit='step',
            disable=not self.options.val.pbar,
            mininterval=0.5 if sys.stderr.isatty() else 10,
        )
        degradation = self.image_degradation = self._degradation_of_image()
        self.progress = progress = checkpoint.beside

        def note(iteration: int) -> None:
            bar.update(iteration - bar.n)
            if progress.is_due(iteration):
                progress.keep(iteration, self.net_g(), self.net_k())

        # BasicSR validates without gradients; here the optimisation is the test.
        with torch.enable_grad(), bar:
            result = alternate(
                self.net_k,
                self.net_g,
                self.lq,
                degradation,
                generator,
                num_iter,
                self.options.alternation.averaging,
                self.options.build_early_stopping(),
                on_iteration=note,
                checkpoint=checkpoint,
            )
            if self.final_restorer is not None:  # with random numbers as if it were the only restorer
                generator = image_generator(self.options.manual_seed, self.image_name, attempt)
                result.x = restore_with_kernel(
                    self.final_restorer.to(self.device),
                    self.lq,
                    result.kernel,
                    degradation,
                    generator,
                    self.options.restorer.num_iter,
                )
        return result

    def _open_checkpoint(self, attempt: int) -> Checkpoint:
        """Where the loop saves its state, with the progress beside it; nowhere for an image of no dataset."""
        path = self.checkpoint_folder and self.checkpoint_folder / f'{self.image_name}.pt'
        tile = getattr(self.net_g.net, 'tile', None) if hasattr(self.net_g, 'net') else None
        identity = fingerprint(self.made_from, self.image_name, attempt, tile, torch.__version__, self.device.type)
        self.checkpoint = Checkpoint(path, identity, self.options.val.checkpoint_freq, get_root_logger())
        self.checkpoint.beside = Progress(self.options.val.curve_freq, lambda: self.checkpoint.seconds)
        return self.checkpoint

    def _degradation_of_image(self) -> Degradation:
        """The forward model; with ``noise: auto`` its noise level is estimated from the LR image."""
        if self.options.degradation.noise != 'auto':
            return self.degradation
        return replace(self.degradation, noise=estimate_noise(self.lq))

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The images of the last test: ``lq``, ``result``, ``kernel`` and, where known, ``gt`` and ``kernel_gt``."""
        visuals = {
            'lq': self.lq,
            'result': self.output,
            'kernel': self.kernel,
            'gt': self.gt,
            'kernel_gt': self.kernel_gt,
        }
        return {key: value.detach().cpu() for key, value in visuals.items() if value is not None}

    def dist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Validate on all processes, each of which takes its share of the images."""
        self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Restore the images of a dataset that are not finished; save images, kernels, curves and records as they come.

        An image is finished if its record and its files are there and were made from the same options, weights, LR
        image and version. An image that fails is logged and recorded with its error; the others go on.

        Raises:
            Interrupted: if the run was asked to stop; what is finished, and the state of the image in work, are kept.
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
        for index in divide(stock.costs, stock.unfinished, self.opt['rank'], world):
            stop_if_requested()
            get_root_logger().info(f'{dataset_name} {index + 1}/{len(dataset)}: {records.image_names[index]}')
            self._restore(dataset, index, records, save_img)
            if is_only_writer:
                with suppress(OSError):  # a full disk; the last summary is not suppressed
                    records.write_summary()
        records.by_name = merge(records.by_name)
        if is_main():
            records.adopt(stock.made_from)
            records.write_summary()
            self._log_means(dataset_name, records.means(), tb_logger, current_iter)
        barrier()  # whoever reads the summary now finds it

    def _restore(self, dataset: Dataset, index: int, records: Records, save_img: bool) -> None:
        """Restore one image of a dataset and record it; whatever goes wrong with it is recorded, too."""
        name = records.image_names[index]
        try:
            item = load_item(dataset, index)
            self.made_from = self.provenance.of(item)
            self.feed_data(default_collate([item]))
            self.image_name = name  # which keeps the folder of an lmdb's entry
            start = time.perf_counter()
            self.test()
            seconds = time.perf_counter() - start + self.checkpoint.seconds_before
            if save_img:  # before the metrics, so that nothing they meet can cost the result
                self._save_result(records.dataset_name)
            records.add(self._measure() | {'seconds': seconds}, self.made_from)
            self.checkpoint.remove()
            return
        except UserError as error:
            message = str(error)
        except OSError as error:
            message = f'{name}: {error.strerror or error}' + (f': {error.filename}' if error.filename else '')
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            message = f'{name}: {describe_out_of_memory(self.lq, self.options.scale, self.device)}'
        get_root_logger().error(message)
        with suppress(OSError):  # a full disk keeps the record in memory at least
            records.add({'image': name, 'error': message}, {})

    def _output_paths(self, dataset_name: str, image_name: str) -> tuple[Path, Path]:
        """Where the image, by BasicSR's rule, and the kernel go."""
        file_name = f'{image_name}_{self.options.val.suffix or self.options.name}.png'
        return (
            self.results_root / 'visualization' / dataset_name / file_name,
            self.results_root / 'kernels' / dataset_name / f'{image_name}.mat',
        )

    def _measure_again(self, dataset_name: str, item: dict[str, Any], image_name: str) -> dict[str, float]:
        """The metrics of a result from its files: they are calculated on 8 bits, which is what the file holds."""
        image_path, kernel_path = self._output_paths(dataset_name, image_name)
        visuals = {
            'lq': item['lq'][None],
            'result': decode_image(image_path.read_bytes(), str(image_path))[None],
            'kernel': read_kernel(kernel_path, self.degradation.convention),
        }
        visuals |= {
            name: item[key][None] for name, key in (('gt', 'gt'), ('kernel_gt', 'kernel')) if item.get(key) is not None
        }
        return evaluate(self.options.val.metrics or {}, metric_data(visuals, self.options.scale))[0]

    def _measure(self) -> dict[str, Any]:
        """Calculate the metrics of the last test; return its record."""
        data = metric_data(self.get_current_visuals(), self.options.scale)
        values, skipped = evaluate(self.options.val.metrics or {}, data)
        for name in skipped.keys() - self.reported_skipped:
            get_root_logger().warning(f'{self.image_name}: {name} is skipped: {skipped[name]}')
        self.reported_skipped |= skipped.keys()
        return {
            'image': self.image_name,
            **values,
            'peak_memory_mib': peak_memory(self.device),
            'seed': self.options.manual_seed,
            'oracle': isinstance(self.net_k, FixedKernel) and self.net_k.is_oracle,
            **self._confidence(),
            **({} if self.tile is None else {'tile': self.tile}),
            'num_iter': self.result.num_iter,
            'best_iter': self.result.best_iter,
        }

    def _confidence(self) -> dict[str, Any]:
        """What can be said of the result without a truth; warn where it is little."""
        y = self.image_degradation.A(self.output, self.kernel)
        confidence = judge(y, self.lq, self.result.expected_kernel_psnr, self.image_degradation.noise)
        if confidence.is_low:
            get_root_logger().warning(f'{self.image_name}: low confidence: {"; ".join(confidence.doubts)}')
        return {'confidence': asdict(confidence)}

    def _save_result(self, dataset_name: str) -> None:
        """Write the image where BasicSR puts it, and kernel, curve and progress in folders of their own."""
        image_path, kernel_path = self._output_paths(dataset_name, self.image_name)
        write_image(image_path, tensor2img(self.output.clone()))
        write_kernel(kernel_path, self.kernel, self.degradation.convention, self.degradation.scale)
        write_json(self.results_root / 'curves' / dataset_name / f'{self.image_name}.json', self.result.curve)
        if self.progress.freq > 0:
            rows = self.progress.score(self.get_current_visuals(), self.options.val.metrics or {}, self.options.scale)
            write_json(self.results_root / 'progress' / dataset_name / f'{self.image_name}.json', rows)

    def _log_means(self, dataset_name: str, means: dict[str, float], tb_logger: Any, current_iter: Any) -> None:
        lines = ''.join(f'\t # {name}: {value:.4f}\n' for name, value in means.items())
        get_root_logger().info(f'Validation {dataset_name}\n{lines}')
        if tb_logger:
            for name, value in means.items():
                tb_logger.add_scalar(f'metrics/{dataset_name}/{name}', value, current_iter)
