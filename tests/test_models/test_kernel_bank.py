import pytest
import torch

from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.models.kernel_bank import KernelBank, estimate_kernel, mix_kernels, turn
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.kernel_families import build_family


def gaussian(precision, size=25):
    """Of a precision matrix (2, 2), by its formula."""
    index = torch.arange(size, dtype=torch.float64) - size // 2
    points = torch.stack(torch.meshgrid(index, index, indexing='ij'), -1)
    kernel = torch.exp(-0.5 * torch.einsum('yxi,ij,yxj->yx', points, precision, points))
    return (kernel / kernel.sum())[None, None]


@pytest.mark.parametrize('share', [0.0, 0.3, 1.0])
def test_two_gaussians_mix_to_a_gaussian_of_the_mixed_precision(share):
    first = torch.tensor([[0.5, 0.1], [0.1, 0.2]], dtype=torch.float64)
    second = torch.tensor([[0.15, -0.05], [-0.05, 0.4]], dtype=torch.float64)
    mixed = mix_kernels(gaussian(first), gaussian(second), torch.tensor([share]))
    torch.testing.assert_close(mixed, gaussian((1 - share) * first + share * second), rtol=0, atol=1e-8)


def test_every_image_has_its_turn():
    for epoch in range(2):
        assert sorted(turn(visit, 7, 0)[0] for visit in range(7 * epoch, 7 * epoch + 7)) == list(range(7))
    assert [turn(visit, 7, 0) for visit in range(7)] != [turn(visit, 7, 1) for visit in range(7)]
    # Two processes go twice as fast through the same order.
    assert turn(0, 7, 0, num=2) == turn(0, 7, 0) + turn(1, 7, 0)


def test_refresh_counts_its_visits(rng):
    bank = KernelBank(torch.rand(3, 1, 5, 5, generator=rng), can_mix=False)
    before = bank.kernels.clone()
    bank.refresh([2], lambda index: torch.full((1, 1, 5, 5), float(index)), rank=0, world=1)
    assert bank.visits.tolist() == [0, 0, 1]
    assert torch.equal(bank.kernels[:2], before[:2]) and (bank.kernels[2] == 2).all()


def test_what_is_drawn_is_of_the_bank(rng):
    kernels = torch.softmax(torch.randn(4, 25, generator=rng), 1).view(4, 1, 5, 5)
    drawn = KernelBank(kernels, can_mix=False).draw(50, rng)
    assert all(any(torch.equal(kernel, other) for other in kernels) for kernel in drawn)
    mixed = KernelBank(kernels, can_mix=True).draw(200, rng)
    pure = [any(torch.allclose(kernel, other, atol=1e-6) for other in kernels) for kernel in mixed]
    assert 0.4 < sum(pure) / len(pure) < 0.8  # half, and mixtures of a kernel with itself
    torch.testing.assert_close(mixed.sum((1, 2, 3)), torch.ones(200))


@pytest.mark.parametrize('convention', ['aligned', 'released'])
def test_a_kernel_is_estimated_on_the_image_that_is_given(photo, convention):
    """With the true image in the place of the intermediate one, DKP finds the kernel."""
    degradation = Degradation(2, 11, convention)
    family = build_family('gaussian', 2, 11, degradation.centre, variance_range=(0.2, 8.0))
    kernel = family.render(torch.tensor([[0.3, 0.1, 0.2]]))
    lq = degradation.A(photo, kernel)

    def intermediate(image):
        margin = (image.shape[-1] - lq.shape[-1]) // 2
        rows = torch.cat([torch.arange(margin).flip(0), torch.arange(48), torch.arange(48 - margin, 48).flip(0)])
        assert torch.equal(image, lq[..., rows, :][..., rows])  # mirrored where the convention is not periodic
        assert (margin > 0) == (convention == 'aligned')
        return torch.nn.functional.pad(photo, (2 * margin,) * 4, mode='reflect')

    found = estimate_kernel(
        EvidenceDKP(num_samples=32, num_units=50), intermediate, lq, degradation,
        torch.Generator().manual_seed(0), 4,
    )  # fmt: skip
    assert found.shape == kernel.shape
    off = -20 * ((found - kernel).square().mean().sqrt()).log10()
    assert off > 40  # dB; a uniform kernel is at 34.6
