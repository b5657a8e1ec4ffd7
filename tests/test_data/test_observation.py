import torch

from dkp_plugin.data.observation import Observation


def test_shares_and_levels(rng):
    """A half is rounded only; of the rest a third has noise, a third is JPEGs, a third is both."""
    observe = Observation(clean_share=0.5, noise_range=(10, 20), quality_range=(50, 60))
    y = torch.rand(600, 3, 1, 1, generator=rng).expand(-1, -1, 16, 16)  # flat, so that noise can be measured
    seen, noise = observe(y, rng)
    assert seen.shape == y.shape and torch.equal(seen * 255, (seen * 255).round())
    has_noise, has_jpeg = seen.std((2, 3)).mean(1) > 3 / 255, noise.levels[:, 1] > 0
    is_clean = ((seen - y).abs() <= 0.5 / 255 + 1e-6).all((1, 2, 3)) & ~has_jpeg
    assert 0.42 < is_clean.float().mean() < 0.58
    assert 0.1 < (has_jpeg & has_noise).float().mean() < 0.24  # so strong that JPEG keeps some of it
    assert 0.25 < has_jpeg.float().mean() < 0.42
    white_only = (noise.levels[:, 0] > 0) & ~has_jpeg
    assert 0.1 < white_only.float().mean() < 0.24 and has_noise[white_only].all()
    inner = white_only & (y[:, :, 0, 0].amin(1) > 0.3) & (y[:, :, 0, 0].amax(1) < 0.7)  # not clipped
    measured = (seen - y)[inner].square().mean((1, 2, 3)).sqrt()
    torch.testing.assert_close(measured, noise.levels[inner, 0], rtol=0.15, atol=0)
    assert noise.levels[white_only, 0].min() >= 10 / 255 and noise.levels[white_only, 0].max() <= 20 / 255


def test_the_generator_alone_decides(photo):
    observe = Observation(clean_share=0.0)
    first, again, other = (observe(photo.expand(4, -1, -1, -1), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first[0], again[0]) and torch.equal(first[1].spectrum, again[1].spectrum)
    assert not torch.equal(first[0], other[0])


def test_without_noise_images_are_rounded_alone(photo, rng):
    y = photo + 0.3 / 255
    seen, noise = Observation()(y, rng)
    assert noise is None and torch.equal(seen, photo)
