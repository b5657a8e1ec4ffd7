import pytest
import torch

from dkp_plugin.data.kernel_dataset import KernelDataset
from dkp_plugin.host.errors import OptionError
from dkp_plugin.physics.kernels import centre_of_mass


def build(**options):
    return KernelDataset({'name': 'k', 'type': 'KernelDataset', 'scale': 2, 'num_kernels': 30, **options})


@pytest.mark.parametrize('family', ['gaussian', 'motion', 'line'])
def test_kernels_are_normalised_and_centred_as_released(family):
    dataset = build(kernel_family=family)
    kernels = torch.stack([dataset[index]['kernel'] for index in range(len(dataset))])
    assert kernels.shape == (30, 1, 11, 11) and kernels.dtype == torch.float32 and kernels.min() >= 0
    assert kernels.sum((1, 2, 3)).numpy() == pytest.approx(1, abs=1e-5)
    assert (centre_of_mass(kernels) - 4.5).abs().max() < 0.05
    assert (kernels[0] - kernels[1]).abs().max() > 1e-3


def test_a_kernel_depends_on_seed_and_number_alone():
    some, other = build(noise=1e-3, seed=1), build(noise=1e-3, seed=2)
    batch = some.__getitems__([29, 3, 10**6])  # there is no last kernel
    for index, item in zip([29, 3, 10**6], batch, strict=True):
        assert (item['kernel'] - build(noise=1e-3, seed=1)[index]['kernel']).abs().max() < 1e-6
        assert (item['kernel'] - other[index]['kernel']).abs().max() > 1e-3


def test_noise_is_uniform_and_added():
    clean, noisy = build(), build(noise=1e-3)
    noise = torch.stack([noisy[index]['kernel'] - clean[index]['kernel'] for index in range(30)])
    assert noise.min() > -1e-7 and noise.max() < 1e-3 + 1e-7
    assert noise.mean().item() == pytest.approx(5e-4, rel=0.05)
    assert noise.std().item() == pytest.approx(1e-3 / 12**0.5, rel=0.05)


def test_ranges_and_size_reach_the_family():
    dataset = build(kernel_size=9, variance_range=[1.0, 1.0])
    kernels = [dataset[index]['kernel'] for index in (0, 1)]
    assert kernels[0].shape == (1, 9, 9) and torch.allclose(*kernels, atol=1e-6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'kernel_family': 'box'}, "datasets: k: kernel_family: 'box' is not one of gaussian, motion, line"),
        ({'kernel_size': 10}, 'datasets: k: kernel_size: 10 is not an odd number'),
        ({'kernel_family': 'line', 'variance_range': [1, 2]}, 'datasets: k: kernel_family line'),
        ({'noize': 1}, 'datasets: k: noize: unknown key, did you mean noise'),
        ({'num_kernels': 0}, 'datasets: k: num_kernels: 0 is not allowed'),
        ({'noise': -1}, 'datasets: k: noise: -1 is not allowed'),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(OptionError, match=message):
        build(**options)
