"""The option file with the released values against plain loops with the schedule and losses of the released program."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
import yaml

from dkp_plugin.estimators.dkp_estimator import DKP
from dkp_plugin.physics.data_loss import data_loss
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.dip_restorer import DIP

OPTIONS = Path(__file__).parents[2] / 'options/test/DIPDKP_released_gaussian_x4.yml'
DEGRADATION = Degradation(scale=4, kernel_size=19, convention='released')
SSIM_ROUNDS, ROUNDS, SAMPLES = 2, 4, 5


@pytest.fixture
def options() -> dict:
    return yaml.safe_load(OPTIONS.read_text())


@pytest.fixture
def lq(photo) -> torch.Tensor:
    return DEGRADATION.A(photo[..., :64, :64].double(), torch.full((1, 1, 19, 19), 1 / 361, dtype=torch.float64))


def distance(x, kernel, lq, use_ssim):
    return data_loss(DEGRADATION.A(x, kernel), lq, use_ssim, 'zeros')


def test_the_kernel_follows_the_schedule_of_the_released_program(options, lq, photo, rng):
    network_k = options['network_k'] | {'warmup_iters': 0, 'ssim_iters': 5 * SSIM_ROUNDS, 'num_units': 50}
    assert network_k.pop('type') == 'DKP'
    estimator = DKP(**network_k)
    estimator.reset(lq, DEGRADATION, rng)
    network = estimator.network.double()
    network.code = network.code.double()
    estimator.optimizer = torch.optim.Adam(network.parameters(), lr=estimator.lr)
    reference = copy.deepcopy(network)
    adam = torch.optim.Adam(reference.parameters(), lr=1e-4)

    random = torch.rand(ROUNDS, SAMPLES, 1, 19, 19, generator=rng).double() ** 8
    random /= random.sum((-2, -1), keepdim=True)
    images = photo[..., :64, :64] + 0.05 * torch.rand(5 * ROUNDS, 1, 3, 64, 64, generator=rng)
    images = images.clamp(0, 1).double()

    rounds = iter(random)
    estimator.family = SimpleNamespace(render=lambda samples: next(rounds))  # given kernels instead of random ones
    for i, kernels in enumerate(random):
        # RKS: one step towards the kernels, with focal weights
        losses = torch.stack([distance(images[5 * i], kernel[None], lq, False) for kernel in kernels])
        share = (losses - losses.min()) / (1e-5 + (losses - losses.min()).sum())
        weights = -((1 - share) ** 2) * (share + 1e-3).log()
        squares = torch.stack([(reference.kernel() - kernel).square().mean() for kernel in kernels])
        adam.zero_grad()
        (weights * squares).sum().backward()
        adam.step()

        # PKE: the losses of up to three images of the round; a step at every third image of the run
        total = 0
        for n in range(5 * i, 5 * i + 5):
            total = total + distance(images[n], reference.kernel(), lq, i < SSIM_ROUNDS)
            if (n + 1) % 3 == 0:
                adam.zero_grad()
                total.backward()
                adam.step()
                total = 0
            estimator.step(images[n])
        torch.testing.assert_close(estimator(), reference.kernel().detach(), rtol=1e-9, atol=0)


def test_the_image_descends_the_loss_of_the_released_program(options, lq, rng, monkeypatch):
    network_g = options['network_g'] | {'ssim_iters': 3, 'num_feat': 8, 'num_skip': 2, 'num_scales': 3}
    assert network_g.pop('type') == 'DIP'
    kernel = torch.rand(1, 1, 19, 19, generator=rng).double()
    kernel /= kernel.sum()
    restorer = DIP(**network_g)
    restorer.reset(lq, DEGRADATION, rng)
    monkeypatch.setattr(torch.Tensor, 'float', lambda x: x)  # SkipNet returns float32
    net, noise = restorer.net.double(), restorer.noise.double()
    restorer.noise = noise
    restorer.optimizer = torch.optim.Adam(net.parameters(), lr=restorer.lr)
    reference = copy.deepcopy(net)
    adam = torch.optim.Adam(reference.parameters(), lr=5e-3)
    above, above_left, left, below_left = (0, 1), (0, 0), (1, 0), (2, 0)

    for n in range(6):
        x = reference(noise)
        padded = F.pad(x, [1] * 4, mode='reflect')
        differences = [x - padded[..., i : i + 64, j : j + 64] for i, j in (above, above_left, left, below_left)]
        prior = 1e-3 * 0.2 * sum((d.abs() + 1e-8).pow(0.67).sum() for d in differences) / lq.numel()
        loss = distance(x, kernel, lq, n < 3) + prior
        adam.zero_grad()
        loss.backward()
        adam.step()
        restorer.step(kernel)
        torch.testing.assert_close(restorer(), reference(noise).detach(), rtol=0, atol=1e-9)
