"""The model that trains an image prior as a denoiser for all noise levels."""

import math
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.registry import MODEL_REGISTRY
from pydantic import Field, field_validator
from torch import Tensor
from torch.utils.data import DataLoader

from dkp_plugin.archs.precision import PRECISIONS, compute_dtype
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.models.training_options import Block, Number, TrainBlock, TrainingOptions, ValBlock, check_training


def sample_sigma(num: int, sigma_range: tuple[float, float], median: float, spread: float, generator: Any) -> Tensor:
    """Draw noise levels from a truncated log-normal distribution.

    Args:
        num: Number of levels.
        sigma_range: Smallest and largest level.
        median: Median of the distribution before truncation.
        spread: Standard deviation of log sigma before truncation.
        generator: CPU generator.

    Returns:
        (num,), float32.
    """
    low, high = (torch.special.ndtr(torch.tensor(math.log(end / median) / spread).double()) for end in sigma_range)
    quantiles = low + (high - low) * torch.rand(num, generator=generator, dtype=torch.float64)
    sigma = median * torch.exp(spread * torch.special.ndtri(quantiles))
    return sigma.clamp(*sigma_range).float()


class DenoiserTrain(TrainBlock):
    """Block ``train``; see :func:`sample_sigma` and :class:`DenoiserModel`."""

    sigma_range: tuple[Number, Number]
    sigma_median: Number
    sigma_spread: Number
    precision: Literal[PRECISIONS] = 'auto'
    max_grad_norm: Number = math.inf
    pixel_opt: Block

    @field_validator('sigma_range')
    @classmethod
    def _ascends(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] < value[1]:
            raise ValueError('the first number must be smaller than the second')
        return value


class DenoiserVal(ValBlock):
    """Block ``val``; noise levels are out of 255."""

    sigmas: list[Number] = Field(min_length=1)


class DenoiserOptions(TrainingOptions):
    """An option file with ``model_type: DenoiserModel``."""

    train: DenoiserTrain | None = None
    val: DenoiserVal | None = None


@runtime_checkable
class Denoiser(Protocol):
    """A network that maps noisy images and noise levels to images and provides the weight of its loss."""

    def forward(self, x: Tensor, sigma: Tensor, dtype: torch.dtype) -> Tensor: ...

    def loss_weight(self, sigma: Tensor) -> Tensor: ...


@MODEL_REGISTRY.register()
class DenoiserModel(SRModel):
    """Trains ``network_g`` to denoise. BasicSR's SRModel provides the optimiser, weight averaging and checkpoints.

    The network maps noisy images (B, 3, H, W) and noise levels (B,) to denoised images and provides the weight of its
    loss, as :class:`~dkp_plugin.archs.compact_prior_arch.CompactPrior` does. The noise and its levels depend only on
    ``manual_seed`` and the iteration, so a resumed training uses the same numbers as an uninterrupted one.

    Additional keys under ``train``: ``sigma_range``, ``sigma_median``, ``sigma_spread`` (see :func:`sample_sigma`),
    ``precision``, and ``max_grad_norm``, the limit for clipping the gradient norm. Under ``val``: ``sigmas``, noise
    levels in units of 1/255.
    """

    options = DenoiserOptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check an option file; see :func:`~dkp_plugin.models.training_options.check_training`."""
        check_training(cls.options, opt, {'network_g': Denoiser})

    def init_training_settings(self) -> None:
        train = self.opt['train']
        self.sigma_range, self.precision = tuple(train['sigma_range']), train.get('precision', 'auto')
        self.sigma_median, self.sigma_spread = train['sigma_median'], train['sigma_spread']
        self.max_grad_norm = train.get('max_grad_norm', math.inf)
        super().init_training_settings()

    def feed_data(self, data: dict[str, Any]) -> None:
        """Take clean images: ``gt`` from a training set, or ``lq`` from BasicSR's SingleImageDataset in validation."""
        self.gt = data.get('gt', data.get('lq')).to(self.device)

    def _noisy(self, sigma: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(self.gt.shape, generator=generator).to(self.device)
        return self.gt + sigma.view(-1, 1, 1, 1) * noise

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one training step on the current images."""
        generator = image_generator(self.opt['manual_seed'], f'iteration {current_iter}')
        sigma = sample_sigma(len(self.gt), self.sigma_range, self.sigma_median, self.sigma_spread, generator)
        sigma = sigma.to(self.device)
        dtype = compute_dtype(self.precision, self.device)
        self.optimizer_g.zero_grad()
        denoised = self.net_g(self._noisy(sigma, generator), sigma, dtype)
        # Scaling the images instead of passing weights to the loss, because BasicSR divides by the sum of the weights.
        factor = self.get_bare_model(self.net_g).loss_weight(sigma).sqrt().view(-1, 1, 1, 1)
        loss = self.cri_pix(factor * denoised, factor * self.gt)
        loss.backward()
        grad_norm = torch.nn.utils.clip_grad_norm_(self.net_g.parameters(), self.max_grad_norm)
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict({'l_denoise': loss, 'grad_norm': grad_norm})
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def dist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Validate on the first process."""
        if self.opt['rank'] == 0:
            self.nondist_validation(dataloader, current_iter, tb_logger, save_img)

    def nondist_validation(self, dataloader: DataLoader, current_iter: int, tb_logger: Any, save_img: bool) -> None:
        """Log the mean RGB PSNR of clipped results at each of ``val: sigmas``; every validation uses the same noise."""
        net = getattr(self, 'net_g_ema', self.net_g)
        dtype = compute_dtype(self.opt['train'].get('precision', 'auto') if self.is_train else 'auto', self.device)
        name = dataloader.dataset.opt['name']
        for sigma_255 in self.opt['val']['sigmas']:
            psnrs = []
            for data in dataloader:
                self.feed_data(data)
                sigma = torch.tensor([sigma_255 / 255], device=self.device)
                noisy = self._noisy(sigma, image_generator(self.opt['manual_seed'], Path(data['lq_path'][0]).stem))
                with torch.no_grad():
                    error = net(noisy, sigma, dtype).clamp(0, 1) - self.gt
                psnrs.append(-10 * error.square().mean().log10().item())
            psnr = sum(psnrs) / len(psnrs)
            get_root_logger().info(f'Validation {name}, sigma {sigma_255}: PSNR {psnr:.3f} dB')
            if tb_logger:
                tb_logger.add_scalar(f'metrics/{name}/psnr_{sigma_255}', psnr, current_iter)
