import math

import pytest
import torch

from dkp_plugin.physics.error_spectrum import power_law

ROWS, COLUMNS = (torch.fft.fftfreq(side, dtype=torch.float64) for side in (12, 9))


@pytest.mark.parametrize('size', [(12, 8), (7, 9)])
def test_spectra_have_mean_one_and_the_slope_of_their_exponent(size):
    exponents = torch.tensor([0.0, 1.0, 2.0])
    spectra = power_law(*(torch.fft.fftfreq(side) for side in size), exponents)
    assert spectra.shape == (3, *size) and spectra.dtype == torch.float32
    assert spectra.mean((1, 2)).tolist() == pytest.approx([1] * 3)
    assert torch.equal(spectra[0], torch.ones(size))
    one, three = 1 / size[0], 3 / size[1]  # frequencies of row 1 and column 3
    for exponent, spectrum in zip(exponents.tolist(), spectra, strict=True):
        ratio = (spectrum[1, 0] / spectrum[0, 3]).item()
        assert ratio == pytest.approx((three / one) ** exponent, rel=1e-2)  # 1e-5 beside f^2 > 6e-3
        assert torch.equal(spectrum[1], spectrum[-1]) and torch.equal(spectrum[:, 1], spectrum[:, -1])


def test_stretch_is_the_matrix_exponential():
    generator = torch.Generator().manual_seed(0)
    stretches = torch.cat([torch.zeros(1, 2), 3 * torch.rand(4, 2, generator=generator) - 1.5]).double()
    spectra = power_law(ROWS, COLUMNS, torch.full((5,), 1.7, dtype=torch.float64), stretches)
    frequencies = torch.stack(torch.meshgrid(ROWS, COLUMNS, indexing='ij'), dim=-1)
    for (a, b), spectrum in zip(stretches.tolist(), spectra, strict=True):
        matrix = torch.linalg.matrix_exp(torch.tensor([[a, b], [b, -a]]).double())
        expected = (torch.einsum('hwi,ij,hwj->hw', frequencies, matrix, frequencies) + 1e-5) ** -0.85
        torch.testing.assert_close(spectrum, expected / expected.mean(), rtol=1e-10, atol=0)


def test_stretch_along_the_axes_by_hand():
    """exp(diag(a, -a)) = diag(e^a, e^-a): at p = 2 power at f = 1/3 is e^2a times as large across as along."""
    (spectrum,) = power_law(ROWS, COLUMNS, torch.tensor([2.0]).double(), torch.tensor([[0.5, 0.0]]))
    assert (spectrum[0, 3] / spectrum[4, 0]).item() == pytest.approx(math.e, rel=1e-3)
