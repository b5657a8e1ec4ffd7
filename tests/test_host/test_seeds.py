"""Generators of images."""

import hashlib

import torch

from dkp_plugin.host.seeds import image_generator


def test_the_seed_is_the_head_of_a_digest():
    expected = int(hashlib.sha256(b'5/baby \xc3\xa9/1').hexdigest()[:14], 16)
    assert image_generator(5, 'baby é', 1).initial_seed() == expected
    assert torch.rand(3, generator=image_generator(5, 'baby é', 1)).equal(
        torch.rand(3, generator=torch.Generator().manual_seed(expected))
    )


def test_seed_name_and_attempt_count():
    seeds = [image_generator(*arguments).initial_seed() for arguments in ((0, 'a'), (1, 'a'), (0, 'b'), (0, 'a', 1))]
    assert len(set(seeds)) == 4


def test_the_generator_is_one_of_its_own():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    torch.rand(2, generator=image_generator(0, 'a'))
    assert torch.rand(1).equal(expected)
