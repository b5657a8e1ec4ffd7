"""The model that every blind system here runs in: one estimator, one restorer, image by image."""

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger, tensor2img
from basicsr.utils.registry import MODEL_REGISTRY
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from dkp_plugin.alternation import AlternationResult, alternate, image_generator
from dkp_plugin.degradation import Degradation
from dkp_plugin.errors import DivergenceError, ImageError, UserError
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.estimators.fixed_kernel_estimator import FixedKernel
from dkp_plugin.file_io import write_image, write_json, write_kernel
from dkp_plugin.metrics.evaluate import evaluate, metric_data
from dkp_plugin.metrics.kernel_metric import calculate_lr_psnr
from dkp_plugin.models.progress import Progress
from dkp_plugin.models.records import Records, peak_memory
from dkp_plugin.noise import estimate_noise
from dkp_plugin.non_blind import restore_with_kernel
from dkp_plugin.options import BlindSROptions, build_final_restorer, build_network, build_restorer, parse_section

LOW_LR_PSNR, LOW_KERNEL_PSNR = 35.0, 45.0  # dB; below, a result is not to be trusted
ATTEMPTS = 2  # an optimisation that diverges starts once more, with other random numbers


@MODEL_REGISTRY.register()
class BlindSRModel(BaseModel):
    """Restores LR images of unknown blur by alternating a kernel estimator and an image restorer.

    The truth, where a dataset has it, goes to the metrics only. The methods follow the life cycle of BasicSR's
    models; the option file is described by :class:`~dkp_plugin.options.BlindSROptions`.

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
        for attempt in range(ATTEMPTS):
            try:
                self.result = self._alternate(attempt)
                break
            except DivergenceError as error:
                if attempt + 1 == ATTEMPTS:
                    raise DivergenceError(f'{self.image_name}: {error}, in each of {ATTEMPTS} attempts') from None
                get_root_logger().warning(f'{self.image_name}: {error}; starting again with other random numbers')
        self.output, self.kernel = self.result.x, self.result.kernel

    def _alternate(self, attempt: int) -> AlternationResult:
        generator = image_generator(self.options.manual_seed, self.image_name, attempt)
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
        degradation = self._degradation_of_image()
        self.progress = progress = Progress(self.options.val.curve_freq)

        def note(iteration: int) -> None:
            bar.update()
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
        """Validate on the first process; the others have nothing to do."""
        if self.opt['rank'] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: Any, tb_logger: Any, save_img: bool) -> None:
        """Restore every image of a dataset; save images, kernels, curves and records as they come.

        An image that fails is logged and recorded with its error; the others go on.
        """
        dataset_name = dataloader.dataset.opt['name']
        records = Records(self.results_root / 'metrics' / f'{dataset_name}.json', self.opt)
        iterator = iter(dataloader)
        for index in range(len(dataloader)):
            self.image_name = f'image {index + 1}'
            try:
                self.feed_data(self._load(iterator, dataloader.dataset, index))
                get_root_logger().info(f'{dataset_name} {index + 1}/{len(dataloader)}: {self.image_name}')
                start = time.perf_counter()
                self.test()
                seconds = time.perf_counter() - start
            except UserError as error:
                get_root_logger().error(str(error))
                records.add({'image': self.image_name, 'error': str(error)})
                continue
            if save_img:  # before the metrics, so that nothing they meet can cost the result
                self._save_result(dataset_name)
            records.add(self._measure() | {'seconds': seconds})
        self._log_means(dataset_name, records.means(), tb_logger, current_iter)

    def _load(self, iterator: Iterator[dict[str, Any]], dataset: Dataset, index: int) -> dict[str, Any]:
        """Read the next item; whatever BasicSR's datasets raise for an unreadable image becomes an ImageError."""
        try:
            return next(iterator)
        except UserError:
            raise
        except Exception as error:
            path = getattr(dataset, 'paths', {index: f'image {index + 1}'})[index]
            path = path['lq_path'] if isinstance(path, dict) else path  # as PairedImageDataset keeps them
            raise ImageError(f'{path}: cannot be read ({type(error).__name__}: {error})') from None

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
            **self._confidence(data),
            'num_iter': self.result.num_iter,
            'best_iter': self.result.best_iter,
        }

    def _confidence(self, data: dict[str, Any]) -> dict[str, Any]:
        """What can be said of the result without a truth; warn where it is little."""
        lr_psnr = calculate_lr_psnr(**{key: data[key] for key in ('img', 'lq', 'kernel', 'scale')})
        expected = self.result.expected_kernel_psnr
        doubts = []
        if lr_psnr < LOW_LR_PSNR:
            doubts.append(f'the result, degraded again, is only {lr_psnr:.1f} dB from the LR image')
        if expected is not None and expected < LOW_KERNEL_PSNR:
            doubts.append(f'the kernels that explain it spread by {expected:.1f} dB')
        if doubts:
            get_root_logger().warning(f'{self.image_name}: low confidence: {"; ".join(doubts)}')
        return {'confidence': {'lr_psnr': lr_psnr, 'expected_kernel_psnr': expected, 'doubts': doubts}}

    def _save_result(self, dataset_name: str) -> None:
        """Write the image where BasicSR puts it, and kernel, curve and progress in folders of their own."""
        file_name = f'{self.image_name}_{self.options.val.suffix or self.options.name}.png'
        image = tensor2img(self.output.clone())
        write_image(self.results_root / 'visualization' / dataset_name / file_name, image)
        kernel_path = self.results_root / 'kernels' / dataset_name / f'{self.image_name}.mat'
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
