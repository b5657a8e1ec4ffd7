"""The contrastive loss by hand, and the queue as a ring."""

import math

import pytest
import torch

from dkp_plugin.archs.dasr_arch import DegradationEncoder
from dkp_plugin.archs.momentum_contrast_arch import MomentumContrast


class Keys(torch.nn.Module):
    """Stands in for the following encoder: its keys are given."""

    def __init__(self, keys):
        super().__init__()
        self.keys = keys

    def forward(self, image):
        return None, self.keys


def test_loss_by_hand():
    """Two images in a plane: keys and queue are unit vectors at known angles to the projections."""
    contrast = MomentumContrast(num_feat=1, num_keys=2, temperature=0.5)
    unit = lambda angle: torch.tensor([math.cos(angle), math.sin(angle), 0, 0])  # noqa: E731
    projection = torch.stack([unit(0.0), unit(0.3)])
    contrast.encoder_k = Keys(torch.stack([unit(0.1), unit(0.8)]))
    contrast.queue.copy_(torch.stack([unit(2.0), unit(-1.0)]))
    expected = 0
    for own, key in ((0.0, 0.1), (0.3, 0.8)):
        terms = [math.exp(math.cos(own - angle) / 0.5) for angle in (key, 2.0, -1.0)]
        expected -= math.log(terms[0] / sum(terms)) / 2
    assert contrast(projection, torch.zeros(2, 3, 8, 8)).item() == pytest.approx(expected, rel=1e-6)


def test_new_keys_replace_the_oldest():
    contrast = MomentumContrast(num_feat=1, num_keys=5)
    old = contrast.queue.clone()
    torch.testing.assert_close(old.norm(dim=1), torch.ones(5))
    first, second = torch.eye(4)[:3], -torch.eye(4)[:3]
    for keys in (first, second):
        contrast.encoder_k = Keys(keys)
        contrast(torch.eye(4)[:3], torch.zeros(3, 3, 8, 8))
    assert torch.equal(contrast.queue, torch.stack([second[2], first[1], first[2], second[0], second[1]]))
    assert contrast.position == 1


def test_the_encoder_follows(rng):
    contrast, encoder = MomentumContrast(num_feat=2, momentum=0.75), DegradationEncoder(2)
    before = [parameter.clone() for parameter in contrast.encoder_k.parameters()]
    contrast.follow(encoder)
    for own, old, new in zip(contrast.encoder_k.parameters(), before, encoder.parameters(), strict=True):
        torch.testing.assert_close(own, 0.75 * old + 0.25 * new)
        assert not own.requires_grad
    contrast.follow(encoder, momentum=0)
    for own, new in zip(contrast.encoder_k.parameters(), encoder.parameters(), strict=True):
        torch.testing.assert_close(own, new)


def test_only_the_projection_gets_a_gradient(rng):
    contrast = MomentumContrast(num_feat=2, num_keys=4)
    projection = torch.nn.functional.normalize(torch.randn(2, 8, generator=rng), dim=1).requires_grad_()
    contrast(projection, 255 * torch.rand(2, 3, 8, 8, generator=rng)).backward()
    assert projection.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in contrast.parameters())


def test_momentum_outside_its_range():
    with pytest.raises(ValueError, match=r'momentum: 1.5 is not in \[0, 1\]'):
        MomentumContrast(momentum=1.5)
