import math
import signal

import pytest
import torch

from dkp_plugin.engine.alternation import alternate
from dkp_plugin.engine.early_stopping import EarlyStopping
from dkp_plugin.estimators.base import KernelEstimator
from dkp_plugin.host.errors import DivergenceError
from dkp_plugin.host.interruption import Interrupted, stopping_gently
from dkp_plugin.host.seeds import image_generator
from dkp_plugin.physics.degradation import Degradation
from dkp_plugin.restorers.base import Restorer

LQ, DEGRADATION = torch.zeros(1, 1, 4, 4), Degradation(2, 3)


class CountingEstimator(KernelEstimator):
    """Its kernel is the number of steps taken."""

    def reset(self, lq, degradation, generator):
        self.steps, self.seen = 0, []

    def forward(self):
        return torch.full((1, 1, 3, 3), float(self.steps))

    def step(self, x):
        self.seen.append(x.mean().item())
        self.steps += 1
        return {'l_k_steps': torch.tensor(float(self.steps))}


class SequenceRestorer(Restorer):
    """Its image after t steps is the t-th value of a sequence."""

    def __init__(self, values, num_kernel_updates=math.inf):
        super().__init__()
        self.values, self.num_kernel_updates = values, num_kernel_updates

    @property
    def updates_kernel(self):
        return self.steps < self.num_kernel_updates

    def reset(self, lq, degradation, generator):
        self.steps, self.seen = 0, []

    def forward(self):
        return torch.full((1, 1, 8, 8), float(self.values[self.steps]))

    def step(self, kernel):
        self.seen.append(kernel.mean().item())
        self.steps += 1
        return {'l_x_value': torch.tensor(float(self.values[self.steps]))}


def run(values, num_iter, num_kernel_updates=math.inf, **options):
    estimator, restorer = CountingEstimator(), SequenceRestorer(values, num_kernel_updates)
    result = alternate(estimator, restorer, LQ, DEGRADATION, torch.Generator(), num_iter, **options)
    return result, estimator, restorer


def test_each_side_is_given_what_the_other_has_just_made():
    _, estimator, restorer = run([0.1, 0.2, 0.3, 0.4], 3)
    assert estimator.seen == pytest.approx([0.1, 0.2, 0.3])
    assert restorer.seen == pytest.approx([1, 2, 3])


def test_result_is_the_last_image_by_default():
    result, _, _ = run([0, 1, 2, 4], 3)
    assert result.x.unique().tolist() == [4] and result.kernel.unique().tolist() == [3]
    assert (result.num_iter, result.best_iter) == (3, 3)


@pytest.mark.parametrize(('kernel_only', 'num_iter'), [(True, 7), (False, 23)])
def test_the_kernel_alone_needs_no_steps_after_its_last_update(kernel_only, num_iter):
    result, estimator, restorer = run(range(24), 23, num_kernel_updates=7, kernel_only=kernel_only)
    assert result.num_iter == result.curve[-1]['iteration'] == restorer.steps == num_iter
    assert estimator.steps == 7 and result.kernel.unique().tolist() == [7]


def test_a_loop_that_saves_nothing_stops_after_the_iteration_in_work():
    seen = []

    def signal_in_the_third(iteration):
        seen.append(iteration)
        if iteration == 3:
            signal.raise_signal(signal.SIGTERM)

    with stopping_gently('all'), pytest.raises(Interrupted):
        run(range(24), 23, on_iteration=signal_in_the_third)
    assert seen == [1, 2, 3]


def test_averaging_is_the_weighted_mean_of_the_images_after_each_step():
    result, _, _ = run([9, 1, 2, 4], 3, averaging=0.5)
    assert result.x.unique().item() == pytest.approx((0.25 * 1 + 0.5 * 2 + 1 * 4) / 1.75)


def test_early_stopping_returns_the_calmest_iteration():
    # The image moves less and less until iteration 50, then more and more.
    values = torch.cumsum(torch.tensor([abs(t - 50) / 50 + 0.01 for t in range(301)]), 0).tolist()
    stopping = EarlyStopping('wmv', window=3, patience=40, min_iter=10)
    result, estimator, _ = run(values, 300, early_stopping=stopping)
    assert result.best_iter == 50 and result.kernel.unique().item() == 50
    assert result.num_iter == 91 == estimator.steps
    assert result.curve[4]['iteration'] == 50 and result.curve[4]['variance'] == min(
        row.get('variance', math.inf) for row in result.curve
    )


def test_a_run_too_short_for_early_stopping_returns_its_last_image():
    stopping = EarlyStopping('emv', window=3, min_iter=500)
    result, _, _ = run(list(range(31)), 30, early_stopping=stopping)
    assert result.best_iter == 30 and result.x.unique().tolist() == [30]


def test_a_loss_that_is_not_finite_ends_the_run():
    with pytest.raises(DivergenceError, match=r'not finite at iteration 10: .*l_x_value.: nan'):
        run([0.0] * 10 + [math.nan] * 90, 99)


def test_callback_hears_of_every_iteration():
    heard = []
    run([0, 1, 2, 3], 3, on_iteration=heard.append)
    assert heard == [1, 2, 3]


def test_generators_differ_by_seed_name_and_attempt_only():
    def draw(*arguments):
        return torch.rand(1, generator=image_generator(*arguments)).item()

    assert draw(0, 'a') == draw(0, 'a', 0)
    assert len({draw(0, 'a'), draw(1, 'a'), draw(0, 'b'), draw(0, 'a', 1)}) == 4
