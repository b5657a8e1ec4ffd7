"""Random noise and compression of LR images for the training of networks that know both."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dkp_plugin.data.synthesis import compress
from dkp_plugin.physics.coding_noise import CodingNoise, NoiseModel, estimate_coding_noise
from dkp_plugin.physics.degradation import round_to_levels
from dkp_plugin.physics.jpeg_coding import JpegCoding
from dkp_plugin.physics.noise import estimate_noise


@dataclass(frozen=True)
class Observation:
    """What happens to an LR image before it is seen: white noise, JPEG, rounding to 8 bits.

    Args:
        clean_share: Share of the images that are rounded only. Of the others, a third have noise, a third are JPEGs,
            and a third are both.
        noise_range: Standard deviations of the noise, out of 255, drawn uniformly.
        quality_range: Of the JPEGs, drawn uniformly.
    """

    clean_share: float = 1.0
    noise_range: tuple[float, float] = (0.0, 25.0)
    quality_range: tuple[int, int] = (30, 100)

    def __call__(self, y: Tensor, generator: torch.Generator) -> tuple[Tensor, NoiseModel | None]:
        """Observe images.

        Args:
            y: (B, 3, h, w), about in [0, 1], on the CPU.
            generator: CPU generator.

        Returns:
            What is seen, (B, 3, h, w) in [0, 1], and its noise as far as a method would know it: the strength of white
            noise, which is estimated from the image where JPEG has changed it, and what the image tells of its coding
            error. None if all images are clean by choice.
        """
        if self.clean_share == 1:
            return round_to_levels(y), None
        seen, white, coding = zip(*(self._observe(image, generator) for image in y), strict=True)
        return torch.stack(seen), NoiseModel.of(tuple(y.shape[-2:]), list(white), list(coding))

    def _observe(self, y: Tensor, generator: torch.Generator) -> tuple[Tensor, float, CodingNoise | None]:
        kind, strength, quality = torch.rand(3, generator=generator).tolist()
        kind = 3 * (kind - self.clean_share) / (1 - self.clean_share)  # below 0: clean; thirds: noise, both, JPEG
        has_noise, has_jpeg = 0 < kind < 2, kind > 1
        low, high = self.noise_range
        sigma = (low + (high - low) * strength) / 255 if has_noise else 0.0
        seen = round_to_levels(y + sigma * torch.randn(y.shape, generator=generator))
        if not has_jpeg:
            return seen, sigma, None
        worst, best = self.quality_range
        quality = round(worst + (best - worst) * quality)
        seen = compress(seen, quality).expand(3, -1, -1)
        white = estimate_noise(seen.unsqueeze(0)) if has_noise else 0.0
        return seen, white, estimate_coding_noise(seen.unsqueeze(0), JpegCoding.standard(quality), white)
