import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from dkp_plugin.archs.kernel_flow_arch import (
    Coupling,
    FlowBatchNorm,
    KernelFlow,
    inverse_logit_transform,
    logit_transform,
)
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import centre_of_mass

SCALES = (2, 3, 4)


@pytest.fixture
def flow(rng):
    """A small flow of 5x5 kernels in float64, every parameter and running statistic at random."""
    flow = KernelFlow(kernel_size=5, num_units=6, num_blocks=3, normalization=0.2).double().eval()
    for name, tensor in flow.state_dict().items():
        if name.endswith('running_var'):
            tensor.uniform_(0.3, 3, generator=rng)
        elif name.startswith('net') and not name.endswith('mask'):
            tensor.normal_(0, 0.4, generator=rng)
    return flow


def read_released(shared_data, scale):
    return torch.load(shared_data / f'weights/FKP_x{scale}.pt', map_location='cpu', weights_only=True)['model_state']


def load_released(shared_data, scale):
    state = read_released(shared_data, scale)
    flow = KernelFlow(4 * scale + 3, num_units=5 * (scale + 1)).eval()
    flow.load_state_dict(state, strict=True)
    return flow


def numpy_kernels(state, codes):
    """The generative direction of the flow in float64, written with NumPy straight from the released tensors."""
    w = {name: tensor.numpy().astype(np.float64) for name, tensor in state.items()}
    v = codes.numpy().astype(np.float64)

    def mlp(x, name, activation):
        for layer in (0, 2, 4):
            x = x @ w[f'{name}.{layer}.weight'].T + w[f'{name}.{layer}.bias']
            x = activation(x) if layer < 4 else x
        return x

    for index in range(8, -1, -2):
        coupling, norm = f'net.{index}', f'net.{index + 1}'
        v = (v - w[f'{norm}.beta']) / np.exp(w[f'{norm}.log_gamma'])
        v = v * np.sqrt(w[f'{norm}.running_var'] + 1e-5) + w[f'{norm}.running_mean']
        mask = w[f'{coupling}.mask']
        log_scale = mlp(mask * v, f'{coupling}.s_net', np.tanh)
        shift = mlp(mask * v, f'{coupling}.t_net', lambda x: np.maximum(x, 0))
        v = np.where(mask == 1, v, v * np.exp(log_scale) + shift)
    pixels = (1 / (1 + np.exp(-v)) - w['alpha']) / (1 - 2 * w['alpha'])
    side = int(w['kernel_size'][0])
    pixels = np.maximum(pixels, 0).reshape(-1, 1, side, side)
    return pixels / pixels.sum((-2, -1), keepdims=True)


@pytest.mark.parametrize('scale', SCALES)
def test_released_weights_give_the_kernels_of_an_evaluation_in_float64(shared_data, rng, scale):
    flow = load_released(shared_data, scale)
    codes = torch.randn(20, (4 * scale + 3) ** 2, generator=rng)
    expected = numpy_kernels(read_released(shared_data, scale), codes)
    assert np.abs(flow.decode(codes).detach().numpy() - expected).max() < 1e-6
    assert np.abs(flow.double().decode(codes.double()).detach().numpy() - expected).max() < 1e-12


@pytest.mark.parametrize('scale', SCALES)
def test_released_kernels_are_centred_gaussians(shared_data, rng, scale):
    side = 4 * scale + 3
    kernels = load_released(shared_data, scale).decode(torch.randn(50, side**2, generator=rng)).detach()
    assert kernels.min() >= 0
    assert kernels.sum((1, 2, 3)).numpy() == pytest.approx(1, abs=1e-5)
    # The noise of the training leaves a floor, which pulls the mean from (K - s) / 2 a little towards (K - 1) / 2.
    distance = (centre_of_mass(kernels) - (side - scale) / 2).abs()
    assert distance.median() < 0.1 and distance.max() < 0.5
    # The logarithm of a Gaussian is a quadratic function; most samples have one above the floor, a few are failures.
    index = torch.arange(side).float() - (side - scale) / 2
    y, x = torch.meshgrid(index, index, indexing='ij')
    basis = torch.stack([x**2, x * y, y**2, x, y, torch.ones_like(x)], dim=-1)
    explained = []
    for kernel in kernels[:, 0]:
        high = kernel > 0.1 * kernel.max()
        target = kernel[high].log()
        fit = basis[high] @ torch.linalg.lstsq(basis[high], target.unsqueeze(1)).solution
        explained.append(1 - (fit[:, 0] - target).square().mean().item() / target.var().item())
    assert np.median(explained) > 0.95


@pytest.mark.parametrize('scale', SCALES)
def test_released_normalization_is_the_peak_of_the_narrowest_kernel(shared_data, scale):
    side = 4 * scale + 3
    narrowest = build_family('gaussian', scale, side, (side - scale) / 2).render(torch.zeros(1, 3))
    released = read_released(shared_data, scale)['normalization'].item()
    assert released == pytest.approx(narrowest.max().item() + 0.01, abs=1e-5)


@pytest.mark.parametrize('scale', SCALES)
def test_released_flow_knows_gaussian_kernels_from_others(shared_data, rng, scale):
    flow, side = load_released(shared_data, scale), 4 * scale + 3
    for name, is_known in (('gaussian', True), ('motion', False)):
        family = build_family(name, scale, side, (side - scale) / 2)
        noise = flow.normalization / 720 * torch.rand(100, 1, side, side, generator=rng)
        x = flow.to_logits(family.render(family.sample(100, rng)) + noise)
        nll = -flow.log_prob(x).mean().item() / side**2
        assert (nll < 1) == is_known


def test_directions_invert_each_other(flow, rng):
    x = torch.randn(7, 25, generator=rng, dtype=torch.float64)
    u, log_det = flow(x)
    back, log_det_back = flow.inverse(u)
    assert (back - x).abs().max() < 1e-12
    assert (log_det + log_det_back).abs().max() < 1e-12
    assert (flow(flow.inverse(x)[0])[0] - x).abs().max() < 1e-12


@pytest.mark.parametrize('direction', ['forward', 'inverse'])
def test_log_determinant_is_that_of_the_jacobian(flow, rng, direction):
    function = getattr(flow, direction)
    point = torch.randn(1, 25, generator=rng, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda v: function(v)[0], point)[0, :, 0]
    assert function(point)[1].item() == pytest.approx(torch.linalg.slogdet(jacobian).logabsdet.item(), abs=1e-10)


def test_log_prob_is_the_density_of_the_code_times_the_change_of_volume(flow, rng):
    x = torch.randn(3, 25, generator=rng, dtype=torch.float64)
    jacobians = [torch.autograd.functional.jacobian(lambda v: flow(v)[0], row[None])[0, :, 0] for row in x]
    expected = Normal(0, 1).log_prob(flow(x)[0]).sum(1) + torch.stack([torch.linalg.slogdet(j)[1] for j in jacobians])
    assert flow.log_prob(x).tolist() == pytest.approx(expected.tolist(), rel=1e-10)


def test_coupling_by_hand():
    coupling = Coupling(torch.tensor([1.0, 0.0]), num_units=1)
    for parameter in coupling.parameters():
        torch.nn.init.zeros_(parameter)
    coupling.s_net[4].bias.data = torch.tensor([5.0, math.log(2)])  # 5 is masked
    coupling.t_net[4].bias.data = torch.tensor([7.0, 3.0])
    x, log_det = coupling.inverse(torch.tensor([[10.0, 4.0]]))
    assert x.tolist() == [[10.0, pytest.approx(4 * 2 + 3)]]
    assert log_det.item() == pytest.approx(math.log(2))


def test_batch_norm_by_hand():
    layer = FlowBatchNorm(1)
    layer.log_gamma.data.fill_(math.log(3))
    layer.beta.data.fill_(5)
    u, log_det = layer(torch.tensor([[1.0], [3.0], [5.0]]))  # mean 3, variance 4
    assert u.flatten().tolist() == pytest.approx([2, 5, 8], abs=1e-4)
    assert log_det.tolist() == pytest.approx([math.log(3 / 2)] * 3, abs=1e-4)
    assert layer.running_mean.item() == pytest.approx(0.01 * 3)
    assert layer.running_var.item() == pytest.approx(0.99 + 0.01 * 4)
    layer.eval()
    u, log_det = layer(torch.tensor([[0.03 + math.sqrt(1.03)]]))
    assert u.item() == pytest.approx(8, abs=1e-4)
    assert log_det.item() == pytest.approx(math.log(3 / math.sqrt(1.03)), abs=1e-4)
    assert layer.running_mean.item() == pytest.approx(0.01 * 3)


def test_a_new_flow_passes_the_data_on():
    x = torch.linspace(-3, 3, 49).view(1, 49)
    u, log_det = KernelFlow(7).eval()(x)
    assert (u - x).abs().max() < 1e-4  # but for the 1e-5 that is added to variances
    assert abs(log_det.item()) < 1e-2


def test_logits_by_hand_and_back():
    flow = KernelFlow(3, normalization=0.4)
    kernel = torch.tensor([[0.2, 0.1, 0.0], [0.1, 0.2, 0.1], [0.05, 0.05, 0.2]]).view(1, 1, 3, 3)
    x = flow.to_logits(kernel)
    assert x[0, 0].item() == pytest.approx(0, abs=1e-5)  # a half
    assert x[0, 1].item() == pytest.approx(math.log(1 / 3), abs=1e-5)  # a quarter
    assert x[0, 2].item() == pytest.approx(math.log(1e-6 / (1 - 1e-6)), abs=1e-3)
    assert (flow.to_kernel(x) - kernel).abs().max() < 1e-6
    assert flow.to_logits(2 * kernel).isfinite().all()  # 0.4 is 1, its end of the range


def test_logit_transform_inverts(rng):
    share = torch.rand(100, generator=rng, dtype=torch.float64)
    assert (inverse_logit_transform(logit_transform(share, 1e-6), 1e-6) - share).abs().max() < 1e-14


def test_even_kernel_size():
    with pytest.raises(ValueError, match='kernel_size: 8 is not an odd number'):
        KernelFlow(8)
