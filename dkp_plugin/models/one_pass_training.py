"""What the trainings of an ``UnpairedSR`` share: its parts and the validation."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img
from torch import nn
from torch.utils.data import DataLoader

from dkp_plugin.archs.precision import compute_dtype
from dkp_plugin.archs.unpaired_arch import Restored, UnpairedSR
from dkp_plugin.evaluation.evaluate import STAGES
from dkp_plugin.models.network_training import NetworkTraining
from dkp_plugin.models.unpaired_options import PARTS
from dkp_plugin.physics.degradation import Degradation

VARIATIONAL_WEIGHT = 0.1  # of the variational image in the loss of R
SUFFIXES = {stage: f'_{stage}' for stage in STAGES} | {'result': ''}  # of the metrics


def network_block(block: Mapping[str, Any], degradation: Degradation) -> dict[str, Any]:
    """A block ``network_g`` with the sizes and the convention of a forward model."""
    sizes = {'scale': degradation.scale, 'kernel_size': degradation.kernel_size}
    return {**block, **sizes, 'convention': degradation.convention}


class OnePassTraining(NetworkTraining):
    """Base of the trainings of ``network_g``, an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`.

    Subclasses set ``train_options``, with ``parts``, ``precision`` and ``max_grad_norm``, before ``SRModel`` starts.
    """

    def init_training_settings(self) -> None:
        options = self.train_options
        for part in set(PARTS) - set(options.parts):
            getattr(self.net_g, part).requires_grad_(False)
        self.net_g.n.weight.requires_grad_('r' in options.parts)  # its weight head belongs to R
        super().init_training_settings()
        self.dtype = compute_dtype(options.precision, self.device)

    def clip_gradients(self) -> None:
        """Clip the gradient of each part of the network."""
        for part in PARTS:
            nn.utils.clip_grad_norm_(getattr(self.net_g, part).parameters(), self.train_options.max_grad_norm)

    def restore_for_validation(self, data: Mapping[str, Any], net: UnpairedSR) -> dict[str, Restored]:
        """Restore an image of a set under ``val``, in one or several ways: by suffix of the metrics' names."""
        return {'': net.restore(data['lq'].to(self.device))}

    def dist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on the first process."""
        if self.opt['rank'] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Log each metric of the intermediate image, the variational model and the result."""
        metrics = (self.opt['val'] or {}).get('metrics') or {}
        name, sums = dataloader.dataset.opt['name'], {}
        net = getattr(self, 'net_g_ema', self.net_g)
        convention = dataloader.dataset.opt.get('convention', net.degradation.convention)
        net.adopt(replace(net.degradation, convention=convention))
        for data in dataloader:
            with torch.no_grad():
                ways = self.restore_for_validation(data, net)
            for way, restored in ways.items():
                for stage, suffix in SUFFIXES.items():
                    image = tensor2img([getattr(restored, stage)])
                    for metric, block in metrics.items() if 'gt' in data else ():
                        pair = {'img': image, 'img2': tensor2img([data['gt'].expand(-1, 3, -1, -1)])}
                        key = metric + suffix + way
                        sums[key] = sums.get(key, 0.0) + calculate_metric(pair, dict(block))
            if save_img:
                stem = Path(data['lq_path'][0]).stem
                imwrite(image, str(Path(self.opt['path']['visualization'], stem, f'{stem}_{current_iter}.png')))
        means = {metric: value / len(dataloader) for metric, value in sums.items()}
        text = ', '.join(f'{metric}: {value:.4f}' for metric, value in means.items())
        get_root_logger().info(f'Validation {name}, {current_iter} iterations, one pass: {text or "no truth"}')
        if tb_logger:
            for metric, value in means.items():
                tb_logger.add_scalar(f'metrics/{name}/{metric}', value, current_iter)
            self.add_pictures(tb_logger, current_iter)

    def add_pictures(self, tb_logger: Any, current_iter: int) -> None:
        """Add pictures of the training to TensorBoard."""
