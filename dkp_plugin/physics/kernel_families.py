"""Families of random kernels.

A family maps points of the unit cube to kernels. A random generator can therefore sample every family, and a Markov
chain can propose neighbours in every family, without knowing what the coordinates mean.
"""

import abc
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dkp_plugin.physics.kernels import centre_of_mass, centred_in_grid, normalise, rasterise


@dataclass(frozen=True)
class KernelFamily(abc.ABC):
    """A set of kernels, parametrised by the unit cube.

    Args:
        scale: Subsampling factor s; it sets the default ranges.
        kernel_size: Odd K.
        centre: Index of the centre of mass.
    """

    scale: int
    kernel_size: int
    centre: float

    @property
    @abc.abstractmethod
    def num_params(self) -> int:
        """Number P of coordinates of a kernel."""

    @abc.abstractmethod
    def render(self, params: Tensor) -> Tensor:
        """Map points of the unit cube (N, P) to kernels (N, 1, K, K)."""

    def sample(self, num: int, generator: torch.Generator) -> Tensor:
        """Draw ``num`` points of the unit cube, (num, P) float32 on the generator's device."""
        return torch.rand(num, self.num_params, generator=generator, device=generator.device)


@dataclass(frozen=True)
class GaussianFamily(KernelFamily):
    """Anisotropic Gaussians with two variances and an angle as coordinates.

    Args:
        variance_range: Bounds of both variances, in squared HR pixels, drawn uniformly. The default is the range of
            the papers' test kernels, 0.175 s to min(2.5 s, 10). Angles are uniform in [0, pi].
    """

    variance_range: tuple[float, float] | None = None
    num_params: int = field(default=3, init=False)

    def __post_init__(self) -> None:
        default = 0.175 * self.scale, min(2.5 * self.scale, 10.0)
        object.__setattr__(self, 'variance_range', _positive_range('variance_range', self.variance_range or default))

    def render(self, params: Tensor) -> Tensor:
        low, high = self.variance_range
        precision = 1 / (low + (high - low) * params[:, :2])
        cos, sin = torch.cos(math.pi * params[:, 2]), torch.sin(math.pi * params[:, 2])
        yy = precision[:, 0] * cos**2 + precision[:, 1] * sin**2
        xx = precision[:, 0] * sin**2 + precision[:, 1] * cos**2
        xy = (precision[:, 0] - precision[:, 1]) * sin * cos
        yy, xx, xy = (entry.view(-1, 1, 1, 1) for entry in (yy, xx, xy))
        index = torch.arange(self.kernel_size).to(params)
        mean = torch.full_like(params[:, :2], self.centre)
        for _ in range(3):  # the grid truncates the Gaussian asymmetrically, so shift it until its mean is right
            y, x = (index - mean[:, :1]).view(-1, 1, self.kernel_size, 1), (index - mean[:, 1:])[:, None, None]
            kernel = normalise(torch.exp(-0.5 * (yy * y * y + xx * x * x + 2 * xy * x * y)))
            mean = mean + self.centre - centre_of_mass(kernel)
        return kernel


@dataclass(frozen=True)
class LineFamily(KernelFamily):
    """Straight uniform motion with length and angle as coordinates.

    Args:
        length_range: Bounds of the length in HR pixels, drawn uniformly; default s / 2 to 0.8 K. Lines that do not
            fit the grid are shortened. Angles are uniform in [0, pi].
        num_points: Points per line.
    """

    length_range: tuple[float, float] | None = None
    num_points: int = 64
    num_params: int = field(default=2, init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, 'length_range', _length_range(self))

    def render(self, params: Tensor) -> Tensor:
        low, high = self.length_range
        length, angle = low + (high - low) * params[:, :1], math.pi * params[:, 1:]
        position = length * torch.linspace(-0.5, 0.5, self.num_points).to(params)
        points = torch.stack([position * torch.sin(angle), position * torch.cos(angle)], dim=-1)
        return rasterise(centred_in_grid(points, self.kernel_size, self.centre), self.kernel_size)


@dataclass(frozen=True)
class MotionFamily(KernelFamily):
    """Random camera-shake trajectories (Boracchi & Foi 2012; Kupyn et al. 2018, algorithm 1).

    A point moves at constant speed. A Gaussian shake, a pull towards the origin and rare impulses that reverse it
    change its direction. The published constants apply to 2000 steps and a length of 60 pixels. They are expressed here
    per unit of time and length, so that the distribution of paths hardly depends on either: paths of 128 steps are
    about 4 % more compact than paths of 2000.

    Args:
        length_range: Bounds of the path length in HR pixels, drawn uniformly; default s / 2 to 0.8 K. Paths that do
            not fit the grid are shrunk.
        num_steps: Steps of the discretised path.
    """

    length_range: tuple[float, float] | None = None
    num_steps: int = 128

    def __post_init__(self) -> None:
        object.__setattr__(self, 'length_range', _length_range(self))

    @property
    def num_params(self) -> int:
        return 5 + 4 * self.num_steps

    def trajectory(self, params: Tensor) -> Tensor:
        """Map points of the unit cube (N, P) to paths of unit length, complex (N, num_steps + 1)."""
        published_steps, published_length, shake = 2000, 60, 0.005
        pull = 0.7 * params[:, 0] * shake * published_steps * published_length
        gaussian = 10 * params[:, 1] * shake * math.sqrt(published_steps)
        impulse_rate = 0.2 * params[:, 2] * shake * published_steps
        direction = torch.polar(torch.ones_like(params[:, 3]), 2 * math.pi * params[:, 3])

        step = 1 / self.num_steps
        impulse, impulse_angle, real, imag = params[:, 5:].unflatten(1, (4, self.num_steps)).unbind(1)
        noise = torch.complex(_standard_normal(real), _standard_normal(imag)) * (gaussian * step**0.5).unsqueeze(1)
        is_impulse = impulse < (impulse_rate * step).unsqueeze(1)
        turn = 2 * torch.polar(is_impulse.to(params), math.pi + impulse_angle - 0.5)

        points = [torch.zeros_like(direction)]
        for t in range(self.num_steps):
            direction = direction + turn[:, t] * direction + noise[:, t] - pull * step * points[-1]
            direction = direction / direction.abs().clamp_min(1e-12)
            points.append(points[-1] + direction * step)
        return torch.stack(points, dim=1)

    def render(self, params: Tensor) -> Tensor:
        low, high = self.length_range
        length = (low + (high - low) * params[:, 4]).view(-1, 1, 1)
        points = length * torch.view_as_real(self.trajectory(params))
        return rasterise(centred_in_grid(points, self.kernel_size, self.centre), self.kernel_size)


@dataclass(frozen=True)
class DiscFamily(KernelFamily):
    """Discs of an out-of-focus lens, with the radius and the width of the soft edge as coordinates.

    Args:
        radius_range: Bounds of the radius in HR pixels, drawn uniformly; default s / 4 to 0.35 K. Discs that do not fit
            the grid are made smaller.
        edge_range: Bounds of the width over which the edge falls from 1 to 0, in HR pixels, drawn uniformly.
    """

    radius_range: tuple[float, float] | None = None
    edge_range: tuple[float, float] = (1.0, 3.0)
    num_params: int = field(default=2, init=False)

    def __post_init__(self) -> None:
        default = self.scale / 4, 0.35 * self.kernel_size
        object.__setattr__(self, 'radius_range', _positive_range('radius_range', self.radius_range or default))
        object.__setattr__(self, 'edge_range', _positive_range('edge_range', self.edge_range))

    def render(self, params: Tensor) -> Tensor:
        (low, high), (sharp, soft) = self.radius_range, self.edge_range
        edge = (sharp + (soft - sharp) * params[:, 1]).view(-1, 1, 1, 1)
        room = min(self.centre, self.kernel_size - 1 - self.centre)
        radius = torch.minimum((low + (high - low) * params[:, 0]).view(-1, 1, 1, 1), room - edge / 2)
        offset = torch.arange(self.kernel_size).to(params) - self.centre
        distance = torch.hypot(offset.unsqueeze(1), offset)
        return normalise((0.5 + (radius - distance) / edge).clamp(0, 1))


WIDE_VARIANCES = 0.1, 4.0  # of Gaussians where the kernel is unknown, in squared HR pixels, divided by the scale


@dataclass(frozen=True)
class MixtureFamily(KernelFamily):
    """Kernels of several families; the first coordinate chooses the family.

    Args:
        shares: Of each family, by its name in ``KERNEL_FAMILIES``; default: half Gaussians, from narrow to wide, and a
            sixth each of discs, lines and motion paths.
        variance_range: See :class:`GaussianFamily`; default ``WIDE_VARIANCES`` times the scale.
        length_range: Of lines and motion paths; see :class:`LineFamily`.
    """

    shares: dict[str, float] | None = None
    variance_range: tuple[float, float] | None = None
    length_range: tuple[float, float] | None = None
    families: dict[str, KernelFamily] = field(init=False)

    def __post_init__(self) -> None:
        shares = self.shares or {'gaussian': 3, 'disc': 1, 'line': 1, 'motion': 1}
        variances = self.variance_range or tuple(self.scale * bound for bound in WIDE_VARIANCES)
        options = {'gaussian': {'variance_range': variances}}
        options |= {name: {'length_range': self.length_range} for name in ('line', 'motion')}
        families = {
            name: build_family(name, self.scale, self.kernel_size, self.centre, **options.get(name, {}))
            for name in shares
        }
        object.__setattr__(self, 'shares', {name: share / sum(shares.values()) for name, share in shares.items()})
        object.__setattr__(self, 'families', families)

    @property
    def num_params(self) -> int:
        return 1 + max(family.num_params for family in self.families.values())

    def choose(self, params: Tensor) -> Tensor:
        """The family of each point of the unit cube, (N, P) to indices (N,) into ``families``."""
        bounds = torch.tensor(list(self.shares.values())).cumsum(0)[:-1].to(params)
        return torch.bucketize(params[:, 0].contiguous(), bounds, right=True)

    def render(self, params: Tensor) -> Tensor:
        kernels = params.new_empty(len(params), 1, self.kernel_size, self.kernel_size)
        chosen = self.choose(params)
        for index, family in enumerate(self.families.values()):
            is_of = chosen == index
            if is_of.any():
                kernels[is_of] = family.render(params[is_of, 1 : 1 + family.num_params])
        return kernels


def _length_range(family: LineFamily | MotionFamily) -> tuple[float, float]:
    return _positive_range('length_range', family.length_range or (family.scale / 2, 0.8 * family.kernel_size))


def _positive_range(name: str, bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not 0 < low <= high:
        raise ValueError(f'{name}: [{low}, {high}] is not a range of positive numbers')
    return float(low), float(high)


def _standard_normal(uniform: Tensor) -> Tensor:
    return torch.special.ndtri(uniform.clamp(1e-6, 1 - 1e-6))


KERNEL_FAMILIES: dict[str, type[KernelFamily]] = {
    'gaussian': GaussianFamily,
    'motion': MotionFamily,
    'line': LineFamily,
    'disc': DiscFamily,
    'auto': MixtureFamily,
}


def build_family(name: str, scale: int, kernel_size: int, centre: float, **options: object) -> KernelFamily:
    """Build a kernel family by name.

    Args:
        name: A key of ``KERNEL_FAMILIES``.
        scale: Subsampling factor s.
        kernel_size: Odd K.
        centre: Index of the centre of mass.
        **options: Arguments of the family; None selects the family's default.

    Raises:
        ValueError: for an unknown name or an argument that the family does not accept.
    """
    if name not in KERNEL_FAMILIES:
        raise ValueError(f'kernel_family: {name!r} is not one of {", ".join(KERNEL_FAMILIES)}')
    options = {key: value for key, value in options.items() if value is not None}
    try:
        return KERNEL_FAMILIES[name](scale, kernel_size, centre, **options)
    except TypeError as error:
        raise ValueError(f'kernel_family {name}: {error}') from None
