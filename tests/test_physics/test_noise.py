import pytest
import skimage.data
import torch

from dkp_plugin.physics.noise import estimate_noise


@pytest.mark.parametrize('std', [5, 15, 40])
@pytest.mark.parametrize('channels', [1, 3])
def test_white_noise_on_a_flat_image_is_measured(std, channels, rng):
    image = 0.5 + std / 255 * torch.randn(1, channels, 128, 128, generator=rng)
    # Of 126 * 126 independent values, the median deviation has a relative standard error of 1 %; these share pixels.
    assert estimate_noise(image) == pytest.approx(std / 255, rel=0.05)


def test_channels_are_averaged(rng):
    levels = torch.tensor([4.0, 8.0, 12.0]).view(1, 3, 1, 1) / 255
    assert estimate_noise(levels * torch.randn(1, 3, 200, 200, generator=rng)) == pytest.approx(8 / 255, rel=0.03)


def test_planes_curves_and_edges_are_no_noise(rng):
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing='ij')
    for image in (0.3 * x + 0.7 * y, 0.5 + 0.5 * torch.sin(9 * x) * y, (x > 0.5) * 1.0, (x + y > 1) * 1.0):
        assert estimate_noise(image[None, None]) == 0
        noisy = image + 10 / 255 * torch.randn(image.shape, generator=rng)
        assert estimate_noise(noisy[None, None]) == pytest.approx(10 / 255, rel=0.15)  # 62 * 62 pixels, some on edges


@pytest.mark.parametrize('std', [10, 25])
def test_photograph_with_noise(std, rng):
    image = torch.from_numpy(skimage.data.astronaut()).permute(2, 0, 1)[None] / 255
    noisy = image + std / 255 * torch.randn(image.shape, generator=rng)
    assert estimate_noise(noisy) == pytest.approx(std / 255, rel=0.25)
    assert estimate_noise(noisy) >= 0.98 * std / 255  # texture adds to it


def test_rounding_to_8_bits_is_taken_for_none(rng):
    image = torch.linspace(0.2, 0.8, 100).expand(1, 1, 100, 100) + 0.3 * torch.linspace(0, 1, 100).view(1, 1, -1, 1)
    assert estimate_noise((image * 255).round() / 255) == 0


def test_smallest_image():
    image = torch.zeros(1, 1, 3, 3)
    image[..., 1, 1] = 0.3
    # One response: 4 * 0.3, over the length 6 of the mask, times 1.4826.
    assert estimate_noise(image) == pytest.approx(0.2 * 1.4826)
