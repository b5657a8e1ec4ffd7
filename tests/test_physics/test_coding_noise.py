"""The JPEG error as noise: against Pillow's tables, SciPy's DCT and integrals, and errors of real files."""

import io
import math

import numpy as np
import pytest
import scipy.fft
import scipy.integrate
import skimage.data
import torch
from PIL import Image

from dkp_plugin.physics.coding_noise import (
    UNSEEN_VARIANCE,
    CodingNoise,
    NoiseModel,
    block_coefficients,
    block_spectrum,
    coding_variances,
    dct_matrix,
    estimate_coding_noise,
    rgb_to_ycc,
    ycc_to_rgb,
)
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.physics.jpeg_coding import JpegCoding


def saved(image, **options):
    """An image (h, w, 3) as it comes back from a JPEG file."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, 'JPEG', **options)
    with Image.open(buffer) as opened:
        return np.array(opened)


def to_tensor(image):
    return torch.from_numpy(image.copy()).permute(2, 0, 1).unsqueeze(0).float() / 255


def test_colours_are_those_of_jpeg(rng):
    levels = torch.randint(256, (1, 3, 5, 7), generator=rng)
    pixels = levels[0].permute(1, 2, 0).byte().numpy()
    expected = np.asarray(Image.fromarray(pixels).convert('YCbCr'), dtype=float)
    ycc = rgb_to_ycc(levels.double())[0].permute(1, 2, 0).numpy() + np.array([0, 128, 128])
    np.testing.assert_allclose(ycc, expected, atol=1)  # Pillow rounds
    torch.testing.assert_close(ycc_to_rgb(rgb_to_ycc(levels.double())), levels.double(), rtol=0, atol=1e-4)


def test_coefficients_are_those_of_scipy(rng):
    channel = torch.rand(19, 26, generator=rng)
    blocks = block_coefficients(channel)
    assert blocks.shape == (6, 8, 8)
    expected = scipy.fft.dctn(channel[8:16, 16:24].numpy(), norm='ortho')
    np.testing.assert_allclose(blocks[5], expected, atol=1e-5)
    np.testing.assert_allclose(dct_matrix() @ dct_matrix().T, np.eye(8), atol=1e-6)


@pytest.mark.parametrize('factors', [(1, 1), (2, 2), (1, 2), (2, 1)])
def test_equal_variances_are_white_noise(factors):
    rows, columns = 24, 40
    spectrum = block_spectrum(torch.full((2, 8, 8), 0.3), (rows, columns), factors)
    assert spectrum.shape == (2, 24, 40)
    held = spectrum[:, : rows // 2 // factors[0], : columns // 2 // factors[1]]  # below half the sampling rate
    torch.testing.assert_close(held, torch.full_like(held, 0.3 * factors[0] * factors[1]))
    above = spectrum[:, rows // 2, columns // 2]  # half the sampling rate of the image
    expected = 0.3 if factors == (1, 1) else UNSEEN_VARIANCE
    torch.testing.assert_close(above, torch.full_like(above, expected))


def test_the_mean_of_the_spectrum_is_the_mean_of_the_variances(rng):
    variances = torch.rand(3, 8, 8, generator=rng)
    spectrum = block_spectrum(variances, (32, 48))
    torch.testing.assert_close(spectrum.mean((1, 2)), variances.mean((1, 2)))


def test_the_spectrum_is_that_of_random_blocks(rng):
    """The periodogram of independent coefficients of known variances, averaged over many images."""
    variances = torch.rand(8, 8, generator=rng).square()
    coefficients = variances.sqrt() * torch.randn(4000, 2, 3, 8, 8, generator=rng)
    blocks = dct_matrix().T @ coefficients @ dct_matrix()
    images = blocks.transpose(2, 3).reshape(4000, 16, 24)
    power = torch.fft.fft2(images, norm='ortho').abs().square().mean(0)
    expected = block_spectrum(variances[None], (16, 24))[0]
    np.testing.assert_allclose(power, expected, rtol=0.15)
    assert expected.max() > 2 * expected.min()


@pytest.mark.parametrize('scale', [0.2, 1.0, 5.0])
def test_the_error_of_laplacian_coefficients(scale):
    """Error inside the zero bin, and q^2 / 12 outside, by numerical integration of the distribution."""
    step, num = 1.5, 100_000
    quantiles = (np.arange(num) + 0.5) / num
    values = -scale * np.sign(quantiles - 0.5) * np.log1p(-2 * np.abs(quantiles - 0.5))
    decoded = torch.from_numpy(np.round(values / step) * step).float().view(-1, 1, 1).expand(-1, 8, 8)
    found = coding_variances(decoded, torch.full((8, 8), step))

    def density(x):
        return np.exp(-abs(x) / scale) / (2 * scale)

    inside = scipy.integrate.quad(lambda x: x * x * density(x), -step / 2, step / 2)[0]
    outside = 1 - scipy.integrate.quad(density, -step / 2, step / 2)[0]
    np.testing.assert_allclose(found, inside + outside * step**2 / 12, rtol=0.02)


@pytest.mark.parametrize('quality', [40, 70, 90])
@pytest.mark.parametrize('name', ['astronaut', 'coffee', 'chelsea'])
def test_the_error_of_a_file_is_known_from_the_file(name, quality):
    image = getattr(skimage.data, name)()[:256, :256, :3]
    decoded = saved(image, quality=quality)
    error = rgb_to_ycc(to_tensor(decoded) - to_tensor(image))[0]
    power = torch.fft.fft2(error, norm='ortho').abs().square()
    spectrum = estimate_coding_noise(to_tensor(decoded), JpegCoding.standard(quality)).spectrum((256, 256))
    assert 0.65 < power[0].mean().sqrt() / spectrum[0].mean().sqrt() < 1.35  # real coefficients have heavier tails
    low = slice(4, 32), slice(4, 32)
    assert 0.5 < power[0][low].mean() / spectrum[0][low].mean() < 2


FLAT_TABLE, STEEP_TABLE = [24] * 64, [4 + 3 * (row + column) for row in range(8) for column in range(8)]


@pytest.mark.parametrize(('subsampling', 'factors'), [(0, (1, 1)), (1, (1, 2)), (2, (2, 2))])
def test_the_error_of_other_tables_and_chroma_is_known(subsampling, factors):
    """Root of the mean power, and that of low frequencies, of luma and both chroma channels; within a factor."""
    image = skimage.data.astronaut()[:256, :256]
    decoded = saved(image, qtables=[STEEP_TABLE, FLAT_TABLE], subsampling=subsampling)
    jpeg = JpegCoding((tuple(STEEP_TABLE), tuple(FLAT_TABLE), tuple(FLAT_TABLE)), factors)
    spectrum = estimate_coding_noise(to_tensor(decoded), jpeg).spectrum((256, 256))
    power = torch.fft.fft2(rgb_to_ycc(to_tensor(decoded) - to_tensor(image))[0], norm='ortho').abs().square()
    low = slice(4, 48), slice(4, 48)
    for channel in range(3):
        ratio = power[channel][low].mean() / spectrum[channel][low].mean()
        assert 0.35 < ratio < 1.6, channel  # of chroma, few coefficients are not zero
    assert 0.7 < power[0].mean().sqrt() / spectrum[0].mean().sqrt() < 1.2
    is_known = spectrum[1] != UNSEEN_VARIANCE
    assert is_known.float().mean() == pytest.approx(1 / math.prod(factors), abs=0.01)


def test_the_blocks_may_begin_anywhere():
    decoded = to_tensor(saved(skimage.data.astronaut()[:96, :96], quality=50))
    expected = estimate_coding_noise(decoded[..., 16:, 16:], JpegCoding.standard(50)).variances
    found = estimate_coding_noise(decoded[..., 5:, 3:], JpegCoding.standard(50, origin=(11, 13))).variances
    torch.testing.assert_close(found, expected)
    tiny = estimate_coding_noise(decoded[..., :16, :16], JpegCoding.standard(50, origin=(15, 15)))
    assert tiny.variances.isfinite().all() and (tiny.variances > 0).all()


def test_chroma_smaller_than_a_block_has_the_error_of_its_steps():
    table = tuple(FLAT_TABLE)
    coding = estimate_coding_noise(torch.full((1, 3, 16, 16), 0.5), JpegCoding((table,) * 3, (1, 4)))
    torch.testing.assert_close(coding.variances[1:], torch.full((2, 8, 8), (24 / 255) ** 2 / 12))


def test_noise_of_a_batch(rng):
    code = CodingNoise(torch.rand(3, 8, 8, generator=rng) * 1e-4, white=0.02)
    noise = NoiseModel.of((16, 24), [0.1, 0.02], [None, code])
    assert noise.spectrum.shape == (2, 3, 16, 24)
    luma_of_white = 0.01 * (0.299**2 + 0.587**2 + 0.114**2)
    torch.testing.assert_close(noise.spectrum[0, 0], torch.full((16, 24), luma_of_white))
    added = noise.spectrum[1] - (0.02 / 0.1) ** 2 * noise.spectrum[0]
    torch.testing.assert_close(added, code.spectrum((16, 24)), rtol=1e-4, atol=1e-7)
    expected = [0.02, code.variances[0].mean().sqrt().item(), code.variances[1:].mean().sqrt().item()]
    torch.testing.assert_close(noise.levels, torch.tensor([[0.1, 0.0, 0.0], expected]))
    degradation, lq = Degradation(2, 11, noise=0.05, coding=code), torch.zeros(1, 3, 16, 24)
    torch.testing.assert_close(degradation.noise_model(lq).spectrum[0], noise.spectrum[1])
    assert Degradation(2, 11).noise_model(lq) is None


def test_channels_with_one_weight_need_no_colour_space(rng):
    degradation = Degradation(2, 11)
    z, y = torch.rand(1, 3, 16, 20, generator=rng).double(), torch.rand(1, 3, 8, 10, generator=rng).double()
    kernel = torch.rand(1, 1, 11, 11, generator=rng).double()
    kernel = kernel / kernel.sum()
    same = degradation.data_step_by_channel(z, y, kernel, torch.full((1, 3, 8, 10), 0.01).double())
    torch.testing.assert_close(same, degradation.data_step(z, y, kernel, 0.01), rtol=0, atol=1e-6)
