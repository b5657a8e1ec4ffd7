"""Hidden pixels do not bleed into visible ones."""

import torch

from dkp_plugin.io.transparency import fill_hidden, join_alpha, split_alpha


def test_hidden_pixels_get_the_mean_of_what_is_visible_around_them():
    colour = torch.zeros(1, 1, 4, 4)
    alpha = torch.zeros(1, 1, 4, 4)
    colour[..., 0, 0], alpha[..., 0, 0] = 0.75, 1.0
    torch.testing.assert_close(fill_hidden(colour, alpha), torch.full((1, 1, 4, 4), 0.75))
    torch.testing.assert_close(fill_hidden(colour, torch.zeros_like(alpha)), torch.full((1, 1, 4, 4), 0.5))
    half = torch.full_like(alpha, 0.5)
    torch.testing.assert_close(fill_hidden(torch.full_like(colour, 0.3), half), torch.full((1, 1, 4, 4), 0.3))


def test_colour_and_alpha_come_apart_and_together_again(rng):
    colour, alpha = torch.rand(1, 3, 6, 5, generator=rng), torch.ones(1, 1, 6, 5)
    for image in (colour, colour[:, :1]):
        assert split_alpha(image) == (image, None)
        apart = split_alpha(torch.cat([image, alpha], 1))
        assert torch.equal(apart[0], image) and torch.equal(apart[1], alpha)
        torch.testing.assert_close(join_alpha(*apart), torch.cat([image, alpha], 1))
