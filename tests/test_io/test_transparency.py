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
    for image in (colour, colour[:, :1], torch.cat([colour, alpha], 1), torch.cat([colour[:, :1], alpha], 1)):
        apart = split_alpha(image)
        assert apart[0].shape == (1, 3, 6, 5) and (apart[1] is None) == (image.shape[1] in (1, 3))
        torch.testing.assert_close(join_alpha(*apart) if apart[1] is not None else apart[0], image)
