import pytest
import torch

from dkp_plugin.archs.kernel_flow_weights import shipped_names
from dkp_plugin.estimators.fkp_estimator import FKP, project_to_sphere
from dkp_plugin.host.errors import UserError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family
from dkp_plugin.physics.kernels import centre_of_mass

DEGRADATION = Degradation(scale=2, kernel_size=7, convention='released')


@pytest.fixture
def weights(flow, tmp_path):
    """Its file, as the released program writes one."""
    path = tmp_path / 'flow.pt'
    torch.save({'model_state': flow.state_dict()}, path)
    return path


@pytest.fixture
def scene(rng):
    """An image, a kernel and the LR image at scale 2."""
    degradation = Degradation(scale=2, kernel_size=11, convention='released')
    x = torch.rand(1, 3, 48, 40, generator=rng)
    kernel = build_family('gaussian', 2, 11, degradation.centre).render(torch.tensor([[0.8, 0.2, 0.3]]))
    return degradation, x, kernel, degradation.A(x, kernel)


def estimate(estimator, degradation, x, lq, steps):
    estimator.reset(lq, degradation, torch.Generator().manual_seed(1))
    for _ in range(steps):
        estimator.step(x)
    return estimator()


def test_the_code_starts_at_random_and_stays_on_the_sphere(weights, rng):
    estimator = FKP(pretrained=str(weights), freeze_iters=0, ssim_iters=0)
    x, lq = torch.rand(1, 3, 24, 20, generator=rng), torch.rand(1, 3, 12, 10, generator=rng)
    codes = []
    for seed in (0, 1):
        estimator.reset(lq, DEGRADATION, torch.Generator().manual_seed(seed))
        codes.append(estimator.code.detach().clone())
        for _ in range(5):
            estimator.step(x)
            assert estimator.code.norm().item() == pytest.approx(6, rel=1e-5)
        assert not torch.equal(codes[-1], estimator.code)
    assert not torch.equal(*codes)


def test_projection_by_hand():
    assert project_to_sphere(torch.tensor([[3.0, 4.0]]), 10).tolist() == [[6, 8]]


def test_the_kernel_is_frozen_at_first(weights, rng):
    estimator = FKP(pretrained=str(weights), freeze_iters=3, ssim_iters=0)
    x, lq = torch.rand(1, 3, 24, 20, generator=rng), torch.rand(1, 3, 12, 10, generator=rng)
    estimator.reset(lq, DEGRADATION, rng)
    start = estimator()
    moved = []
    for _ in range(4):
        estimator.step(x)
        moved.append(not torch.equal(start, estimator()))
    assert moved == [False, False, False, True]
    assert FKP().freeze_iters == 75


def test_the_first_update_is_a_step_of_adam_put_back_on_the_sphere(weights, flow, rng):
    estimator = FKP(pretrained=str(weights), lr=0.5, freeze_iters=0, ssim_iters=0)
    x, lq = torch.rand(1, 3, 24, 20, generator=rng), torch.rand(1, 3, 12, 10, generator=rng)
    estimator.reset(lq, DEGRADATION, rng)
    code = estimator.code.detach().clone().requires_grad_()
    (DEGRADATION.A(x, flow.decode(code)) - lq).square().mean().backward()
    moved = (code - 0.5 * code.grad / (code.grad.abs() + 1e-8)).detach()  # Adam's first step
    estimator.step(x)
    assert (estimator.code - 6 * moved / moved.norm()).abs().max() < 1e-4


def test_the_aligned_kernel_is_the_released_one_turned(weights, rng):
    estimator, kernels = FKP(pretrained=str(weights)), {}
    for convention in ('released', 'aligned'):
        degradation = Degradation(scale=2, kernel_size=7, convention=convention)
        estimator.reset(torch.zeros(1, 3, 12, 10), degradation, torch.Generator().manual_seed(0))
        kernels[convention] = estimator()
    assert torch.equal(kernels['aligned'], kernels['released'].rot90(2, (-2, -1)))


@pytest.mark.parametrize('name', shipped_names())
@pytest.mark.parametrize('convention', ['released', 'aligned'])
def test_shipped_kernels_are_centred(name, convention):
    family, _, scale = name.rpartition('_x')
    degradation = Degradation(int(scale), 4 * int(scale) + 3, convention)
    estimator, generator = FKP(kernel_family=family), torch.Generator().manual_seed(0)
    distances = []
    for _ in range(20):
        estimator.reset(torch.zeros(1, 3, 16, 16), degradation, generator)
        distances.append((centre_of_mass(estimator()) - degradation.centre).abs().max().item())
    assert sorted(distances)[10] < 0.3 and max(distances) < 1


def test_given_the_true_image_the_kernel_approaches_the_true_one(scene):
    degradation, x, kernel, lq = scene
    estimator = FKP(freeze_iters=0, ssim_iters=0)
    start = (estimate(estimator, degradation, x, lq, 0) - kernel).square().mean()
    end = (estimate(estimator, degradation, x, lq, 300) - kernel).square().mean()
    assert end < 0.05 * start


def test_released_weights_find_the_kernel_too(scene, shared_data):
    degradation, x, kernel, lq = scene
    estimator = FKP(pretrained=str(shared_data / 'weights/FKP_x2.pt'), freeze_iters=0, ssim_iters=0)
    assert (estimate(estimator, degradation, x, lq, 300) - kernel).abs().max() < 0.15 * kernel.max()


def test_shipped_weights_serve_another_kernel_size(rng):
    estimator = FKP()
    for size in (7, 15):
        degradation = Degradation(scale=2, kernel_size=size)
        estimator.reset(torch.zeros(1, 3, 12, 12), degradation, rng)
        assert estimator().shape == (1, 1, size, size)
        assert (centre_of_mass(estimator()) - degradation.centre).abs().max() < 1


def test_weights_of_another_kernel_size(weights, rng):
    estimator = FKP(pretrained=str(weights))
    with pytest.raises(UserError, match=r'flow.pt: found a flow of kernel size 7, expected 19 for scale 4'):
        estimator.reset(torch.zeros(1, 3, 16, 16), Degradation(scale=4, kernel_size=19), rng)


def test_no_shipped_weights_for_the_scale(rng):
    with pytest.raises(UserError, match='auto: found no weights gaussian_x8, expected one of gaussian_x2, '):
        FKP().reset(torch.zeros(1, 3, 16, 16), Degradation(scale=8, kernel_size=21), rng)


def test_unknown_family():
    with pytest.raises(ValueError, match="kernel_family: 'line' is not one of gaussian, motion"):
        FKP(kernel_family='line')
