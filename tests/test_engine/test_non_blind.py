import pytest
import torch

from dkp_plugin.engine.non_blind import restore_with_kernel
from dkp_plugin.host.errors import DivergenceError
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer
from dkp_plugin.restorers.closed_form_restorer import ClosedForm


class Counter(Restorer):
    """Its image is the number of steps."""

    def reset(self, lq, degradation, generator):
        self.x = torch.zeros(1, 1, 2, 2)

    def forward(self):
        return self.x

    def step(self, kernel):
        self.x = self.x + kernel.sum()
        return {}


def test_steps_are_the_restorers_own_or_else_those_given():
    restorer = Counter()
    arguments = torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1), Degradation(2, 3), torch.Generator()
    assert restore_with_kernel(restorer, *arguments, num_iter=4).mean() == 4
    restorer.num_iter = 2
    assert restore_with_kernel(restorer, *arguments).mean() == 2


def test_a_result_that_is_not_finite_is_an_error():
    lq = torch.full((1, 1, 4, 4), float('nan'))
    with pytest.raises(DivergenceError, match='ClosedForm is not finite'):
        restore_with_kernel(ClosedForm(), lq, torch.full((1, 1, 3, 3), 1 / 9), Degradation(2, 3), torch.Generator())
