"""The model that trains the unpaired network on LR images without truth and on sharp photographs unrelated to them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from basicsr.losses import build_loss
from basicsr.utils.registry import MODEL_REGISTRY
from mmengine import dist
from torch import Tensor

from dkp_plugin.archs.unpaired_arch import GIVEN, OWN, UnpairedSR
from dkp_plugin.data.unpaired_dataset import read_images
from dkp_plugin.engine.options import ForwardModelOptions
from dkp_plugin.host.errors import ImageError
from dkp_plugin.host.schema import parse_section
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.io.kernel_files import write_kernel
from dkp_plugin.models.kernel_bank import KernelBank, estimate_kernel, turn
from dkp_plugin.models.network_training import check_weights
from dkp_plugin.models.one_pass_training import VARIATIONAL_WEIGHT, OnePassTraining, network_block
from dkp_plugin.models.training_options import check_training
from dkp_plugin.models.unpaired_options import (
    UnpairedOptions,
    UnpairedTrain,
    build_training_estimator,
    random_family,
)
from dkp_plugin.models.unpaired_pictures import kernel_sheet, preview
from dkp_plugin.physics.degradation import round_to_levels

OPTIONAL_LOSSES = ('distill', 'affinity', 'aux', 'data')


@MODEL_REGISTRY.register()
class UnpairedSRModel(OnePassTraining):
    """Trains ``network_g``, an :class:`~dkp_plugin.archs.unpaired_arch.UnpairedSR`, from unpaired images.

    Every iteration, S learns to restore exemplars that random kernels have blurred, and N to tell these kernels. At
    ``bank: start_iter`` the estimator ``network_k`` estimates the kernels of all LR images, each on the intermediate
    image that the averaged S makes of it; from then on, R and N learn on exemplars that these kernels have blurred, and
    on the LR images. One kernel after the other is estimated again along the way. The bank of kernels is saved as
    ``net_k`` beside the network.

    Random numbers depend on ``manual_seed`` and the iteration alone. The truth of a set under ``val`` goes to the
    metrics only. Options: :mod:`~dkp_plugin.models.unpaired_options`.
    """

    options = UnpairedOptions

    @classmethod
    def check_options(cls, opt: dict[str, Any]) -> None:
        """Check the options of an option file, which ``complete_options`` has completed.

        Raises:
            OptionError: for the first mistake.
        """
        options = check_training(cls.options, opt, {'network_g': UnpairedSR})
        degradation = options.degradation.build(options.scale)
        build_training_estimator(opt['network_k'], degradation)
        check_weights(UnpairedSR, network_block(opt['network_g'], degradation), opt['path'])

    def __init__(self, opt: dict[str, Any]) -> None:
        degradation = parse_section(ForwardModelOptions, opt.get('degradation') or {}, 'degradation')
        self.degradation = degradation.build(opt['scale'])
        opt['network_g'] = network_block(opt['network_g'], self.degradation)
        if opt['is_train']:
            self.train_options = parse_section(UnpairedTrain, opt['train'], 'train')
        super().__init__(opt)

    def init_training_settings(self) -> None:
        options = self.train_options
        super().init_training_settings()
        self.cri_intermediate = build_loss(options.intermediate_opt)
        self.cri_kernel = build_loss(options.kernel_opt)
        chosen = {name: getattr(options, f'{name}_opt') for name in OPTIONAL_LOSSES}
        self.optional = {name: build_loss(block) for name, block in chosen.items() if block}
        self.estimator = build_training_estimator(self.opt['network_k'], self.degradation).to(self.device)
        self.family = random_family(self.opt['network_k'], self.degradation)
        self._init_bank()

    def _init_bank(self) -> None:
        """Read the LR images and start the bank from random kernels, or from a file."""
        data = self.opt['datasets']['train']
        backend = (data.get('io_backend') or {}).get('type', 'disk')
        self.lq_images = read_images(Path(data['dataroot_lq']), 'dataroot_lq', backend)
        needed = -(-self.net_g.inside.kernel_size // self.degradation.scale)
        for name, image in self.lq_images.items():
            if min(image.shape[-2:]) < needed:
                size = f'{image.shape[-1]}x{image.shape[-2]}'
                file = Path(data['dataroot_lq'], name)
                raise ImageError(f'{file}: {size} pixels are too few for the kernel; allowed: at least {needed}')
        generator = image_generator(self.opt['manual_seed'], 'bank')
        kernels = self.family.render(self.family.sample(len(self.lq_images), generator))
        is_gaussian = self.opt['network_k'].get('kernel_family', 'gaussian') == 'gaussian'
        self.net_k = KernelBank(kernels, can_mix=is_gaussian).to(self.device)
        path = self.opt['path'].get('pretrain_network_k')
        if path is not None:
            self.load_network(self.net_k, path)

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Take a batch of an UnpairedDataset, or an image of a set under ``val``."""
        if 'exemplar' in data:
            self.exemplar = data['exemplar'].to(self.device)
            num = self.train_options.num_lq
            self.lq, self.lq_index = data['lq'][:num].to(self.device), data['lq_index'][:num].to(self.device)
        else:
            super().feed_data(data)

    def optimize_parameters(self, current_iter: int) -> None:
        """Take one step on the crops that were fed."""
        generator = image_generator(self.opt['manual_seed'], self.random_name(current_iter))
        self._update_bank(current_iter, dist.get_rank(), dist.get_world_size())
        self.descend(self._joint_losses(current_iter, generator), current_iter)

    def _update_bank(self, current_iter: int, rank: int, world: int) -> None:
        options = self.train_options.bank
        if current_iter < options.start_iter or options.source == 'random':
            return
        if not self.net_k.visits.any():
            self.net_k.fill(self._estimate, rank, world)
        elif current_iter > options.start_iter and (current_iter - options.start_iter) % options.interval == 0:
            visit = (current_iter - options.start_iter) // options.interval - 1
            indices = turn(visit, len(self.lq_images), self.opt['manual_seed'], world)
            self.net_k.refresh(indices, self._estimate, rank, world)

    def _estimate(self, index: int) -> Tensor:
        """Estimate the kernel of an LR image."""
        name, pixels = list(self.lq_images.items())[index]
        generator = image_generator(self.opt['manual_seed'], name)
        lq = pixels.to(self.device)[None].float() / 255
        steps = self.train_options.bank.num_steps
        return estimate_kernel(
            self.estimator,
            lambda image: self.net_g_ema.intermediate(image, self.dtype),
            lq,
            self.degradation,
            generator,
            steps,
        )

    def _joint_losses(self, current_iter: int, generator: torch.Generator) -> dict[str, Tensor]:
        """The losses of an iteration; before the bank is there, those of S, and of N on random kernels."""
        has_bank = current_iter >= self.train_options.bank.start_iter
        num = len(self.exemplar)
        random = self.net_g.kernel_inside(self.family.render(self.family.sample(num, generator)).to(self.device))
        crop = self._place(self.exemplar.shape[-1], generator)
        exemplar = crop(self.exemplar)
        kernels = self.net_g.kernel_inside(self.net_k.draw(num, generator))
        judging = kernels if self.train_options.intermediate_kernels == 'bank' and has_bank else random
        losses = {}
        if 's' in self.train_options.parts:
            losses['l_intermediate'] = self._intermediate_loss(exemplar, judging, generator)
        if not has_bank:
            log_kernel, _ = self.net_g.estimate_inside(self._degrade(self.exemplar, random, generator), self.dtype)
            return losses | {'l_kernel': self.cri_kernel(log_kernel, random)}
        log_kernel, log_weights, loss = self._kernel_loss(kernels, random, generator)
        if 'n' in self.train_options.parts:
            losses['l_kernel'] = loss
        if 'r' not in self.train_options.parts:
            return losses
        lq = self._degrade(exemplar, kernels, generator)
        own, column = self._choose_kernels(kernels, log_kernel[:num], current_iter, generator)
        weight = log_weights[:num].gather(1, column.unsqueeze(1)).squeeze(1)
        x_bar, x_hat, features = self._refine(self.net_g, lq, own, weight)
        losses['l_exemplar'] = self.cri_pix(x_hat, exemplar) + VARIATIONAL_WEIGHT * self.cri_pix(x_bar, exemplar)
        if 'affinity' in self.optional:
            with torch.no_grad():
                weight = self.net_g_ema.estimate_inside(lq, self.dtype)[1][:, GIVEN]
                teacher = self._refine(self.net_g_ema, lq, kernels, weight)[2]
            losses['l_affinity'] = self.optional['affinity'](features, teacher)
        first = max(num, len(log_kernel) - len(self.lq))
        return losses | self._lq_losses(log_kernel[first:].detach().exp(), log_weights[first:, OWN], generator)

    def _intermediate_loss(self, exemplar: Tensor, kernels: Tensor, generator: torch.Generator) -> Tensor:
        image, _ = self.net_g.intermediate_inside(self._degrade(exemplar, kernels, generator), self.dtype)
        return self.cri_intermediate(image, exemplar)

    def _kernel_loss(
        self, kernels: Tensor, random: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """N on exemplars blurred by kernels of the bank, on some blurred by random ones, and on LR images."""
        if 'n' not in self.train_options.parts:
            log_kernel, log_weights = self.net_g.estimate_inside(
                self._degrade(self.exemplar, kernels, generator), self.dtype
            )
            found = (
                self.net_g.estimate_inside(self.lq, self.dtype) if self.optional else (log_kernel[:0], log_weights[:0])
            )
            return torch.cat([log_kernel, found[0]]), torch.cat([log_weights, found[1]]), log_kernel.new_zeros(())
        share = self.train_options.bank.share
        num_random = min(round(len(kernels) * (1 / share - 1)), len(kernels)) if share > 0 else len(kernels)
        target = torch.cat([kernels, random[:num_random]])
        exemplars = torch.cat([self.exemplar, self.exemplar[:num_random]])
        blurred = self._degrade(exemplars, target, generator)
        found = [
            self.net_g.estimate_inside(lq, self.dtype) for lq in (blurred, self.lq)
        ]  # their crops may differ in size
        log_kernel, log_weights = (torch.cat(part) for part in zip(*found, strict=True))
        if self.net_k.visits.any():
            target = torch.cat([target, self.net_g.kernel_inside(self.net_k.kernels[self.lq_index])])
        return log_kernel, log_weights, self.cri_kernel(log_kernel[: len(target)], target)

    def _choose_kernels(
        self, kernels: Tensor, log_kernel: Tensor, current_iter: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The kernels with which R restores, and the column of the weights: own, true or perturbed ones."""
        start, total = self.train_options.bank.start_iter, self.train_options.total_iter
        first, last = self.train_options.own_shares
        own_share = first + (last - first) * (current_iter - start) / max(1, total - start)
        is_own = torch.rand(len(kernels), generator=generator) < own_share
        is_exact = torch.rand(len(kernels), generator=generator) < 0.5
        outside = self.net_g.kernel_outside(kernels)
        perturbed = self.net_k.perturb(outside, self.train_options.perturbation, generator)
        chosen = torch.where(is_exact.view(-1, 1, 1, 1).to(self.device), kernels, self.net_g.kernel_inside(perturbed))
        chosen = torch.where(is_own.view(-1, 1, 1, 1).to(self.device), log_kernel.detach().exp(), chosen)
        return chosen, torch.where(is_own, OWN, GIVEN).to(self.device)

    def _lq_losses(self, own: Tensor, log_weights: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """The optional losses on crops of LR images, which leave out a frame: a crop is not periodic.

        Args:
            own: The kernel network's kernels, (B, 1, K, K) inside.
            log_weights: That go with them, (B,).
            generator: CPU generator.
        """
        losses = {}
        if not self.optional.keys() & {'distill', 'aux', 'data'}:
            return losses
        lq = self._place(self.lq.shape[-1], generator, self.train_options.image_crop)(self.lq)
        kernels = self.net_g.kernel_inside(self.net_k.kernels[self.lq_index])
        x_hat = self._refine(self.net_g, lq, own, log_weights)[1]
        if 'distill' in self.optional:
            with torch.no_grad():
                teacher_weight = self.net_g_ema.estimate_inside(self.lq, self.dtype)[1][:, GIVEN]
                teacher = self._refine(self.net_g_ema, lq, kernels, teacher_weight)[1]
            losses['l_distill'] = self.optional['distill'](self._interior(x_hat), self._interior(teacher))
        if 'data' in self.optional:
            again = self.net_g.inside.A(x_hat, kernels)
            losses['l_data'] = self.optional['data'](self._interior(again), self._interior(lq))
        if 'aux' in self.optional:
            small = self._degrade(self.lq, kernels, generator)
            weight = self.net_g.estimate_inside(small, self.dtype)[1][:, GIVEN]
            restored = self._refine(self.net_g, small, kernels, weight)[1]
            losses['l_aux'] = self.optional['aux'](self._interior(restored), self._interior(self.lq))
        return losses

    def _interior(self, image: Tensor) -> Tensor:
        """Leave out the frame in which the forward model does not hold, of an LR or an HR image."""
        scale = (
            1 if image.shape[-1] < self.train_options.image_crop * self.degradation.scale else self.degradation.scale
        )
        frame = scale * self.degradation.reach
        return image[..., frame:-frame, frame:-frame]

    def _refine(self, net: UnpairedSR, lq: Tensor, kernel: Tensor, weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """R on an intermediate image that gets no gradient."""
        with torch.no_grad():
            intermediate, features = net.intermediate_inside(lq, self.dtype)
        return net.refine_inside(lq, kernel, intermediate, features, weight)

    def _degrade(self, x: Tensor, kernels: Tensor, generator: torch.Generator) -> Tensor:
        """Blur, subsample, add noise where the LR images have some, and round to 8 bits."""
        with torch.no_grad():
            y = self.net_g.inside.A(x, kernels)
            if self.degradation.noise > 0:
                y = y + self.degradation.noise * torch.randn(y.shape, generator=generator).to(y)
            return round_to_levels(y)

    def _place(self, size: int, generator: torch.Generator, crop: int | None = None) -> Any:
        """A function that cuts the same random square out of images of ``size`` pixels."""
        crop = min(crop or self.train_options.image_crop * self.degradation.scale, size)
        top, left = torch.randint(size - crop + 1, (2,), generator=generator).tolist()
        return lambda image: image[..., top : top + crop, left : left + crop]

    def add_pictures(self, tb_logger: Any, current_iter: int) -> None:
        """Show the kernels of the bank, and what becomes of the corners of three LR images."""
        size = self.opt['datasets']['train']['lq_size']
        crops = [image[:, :size, :size].float() / 255 for image in list(self.lq_images.values())[:3]]
        tb_logger.add_image('kernels', kernel_sheet(self.net_k.kernels), current_iter)
        tb_logger.add_image('preview', preview(self.net_g_ema, torch.stack(crops).to(self.device)), current_iter)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save the network, its average, the bank and the state of the training; write the kernels as files."""
        super().save(epoch, current_iter)
        self.save_network(self.net_k, 'net_k', current_iter)
        if self.opt['rank'] == 0 and self.net_k.visits.any():
            folder = Path(self.opt['path']['experiments_root'], 'kernels')
            for name, kernel in zip(self.lq_images, self.net_k.kernels, strict=True):
                write_kernel(folder / f'{name}.mat', kernel[None], self.degradation.convention, self.degradation.scale)
