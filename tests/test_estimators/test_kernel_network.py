import pytest
import torch

from dkp_plugin.estimators.kernel_network import KernelNetwork, warm_up
from dkp_plugin.physics.kernel_families import build_family

CPU = torch.device('cpu')


def test_parameters_by_hand_and_the_noise_is_not_among_them(rng):
    network = KernelNetwork(5, num_layers=2, num_units=7, generator=rng, device=CPU)
    # 200 numbers to 7, to 7, to 25, each layer with a bias
    assert sum(parameter.numel() for parameter in network.parameters()) == 201 * 7 + 8 * 7 + 8 * 25
    assert network.code.shape == (1, 200) and not network.code.requires_grad


def test_the_kernel_is_a_function_of_the_generator_alone(rng):
    kernels = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(kernels))  # the global generator must not matter
        network = KernelNetwork(5, 1, 7, torch.Generator().manual_seed(seed), CPU)
        kernels.append(network.kernel())
        assert torch.equal(kernels[-1], network.kernel())  # the noise stays the same
    assert torch.equal(kernels[0], kernels[1]) and not torch.equal(kernels[0], kernels[2])
    assert kernels[0].shape == (1, 1, 5, 5) and kernels[0].min() >= 0 and kernels[0].requires_grad
    assert kernels[0].sum().item() == pytest.approx(1, abs=1e-6)


def warmed_up(num_iter, generator, warmup='mean', optimizer=torch.optim.Adam, lr=1e-3):
    network = KernelNetwork(9, 1, 50, torch.Generator().manual_seed(0), CPU)
    family = build_family('line', 2, 9, 4.5)
    warm_up(network, optimizer(network.parameters(), lr=lr), family, 8, num_iter, generator, warmup)
    return network.kernel().detach()


def test_warm_up_approaches_the_mean_of_the_family():
    family = build_family('line', 2, 9, 4.5)
    # the mean over length and angle, by a grid of midpoints
    grid = (torch.arange(64) + 0.5) / 64
    mean = family.render(torch.cartesian_prod(grid, grid)).mean(0)
    start, end = (warmed_up(num, torch.Generator().manual_seed(1)) for num in (0, 400))
    assert (end - mean).square().sum() < 0.02 * (start - mean).square().sum()


def test_single_warm_up_is_one_plain_step_on_the_mean_square():
    generator = torch.Generator().manual_seed(1)
    warm = warmed_up(1, generator, 'single', torch.optim.SGD, lr=10.0)
    network = KernelNetwork(9, 1, 50, torch.Generator().manual_seed(0), CPU)
    target = build_family('line', 2, 9, 4.5).render(torch.rand(1, 2, generator=torch.Generator().manual_seed(1)))
    torch.nn.functional.mse_loss(network.kernel(), target).backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter -= 10 * parameter.grad
    torch.testing.assert_close(warm, network.kernel())


@pytest.mark.parametrize('num_iter', [0, 3])
@pytest.mark.parametrize(('warmup', 'num_samples'), [('mean', 8), ('single', 1)])
def test_warm_up_draws_what_its_kernels_need_and_no_more(num_iter, warmup, num_samples):
    """Results of fixed seeds hang on it."""
    generator, twin = (torch.Generator().manual_seed(1) for _ in range(2))
    warmed_up(num_iter, generator, warmup)
    for _ in range(num_iter):
        torch.rand(num_samples, 2, generator=twin)  # length and angle
    assert torch.equal(generator.get_state(), twin.get_state())
