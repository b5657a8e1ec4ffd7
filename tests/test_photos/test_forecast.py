"""Expected time and memory: the arithmetic by hand, the measurement against a method of known cost."""

import math

import pytest
import torch

from dkp_plugin.engine.observer import Observer
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.estimators.evidence_dkp_estimator import EvidenceDKP
from dkp_plugin.photos import forecast as module
from dkp_plugin.photos.forecast import Costs, Forecast, Line, describe_forecast, make_forecast, measure
from dkp_plugin.photos.presets import Choices, make_options
from dkp_plugin.restorers.closed_form_restorer import ClosedForm
from dkp_plugin.restorers.dip_restorer import DIP

GIB = 2**30


def make_plan(tile='auto', scale=2, method='diff-dkp', **choices):
    options = make_options(Choices(scale=scale, method=method, convention='released', **choices))
    return Restoration(options, 'cpu', tile)


COSTS = Costs(start=Line(2.0, 0.0), kernel_step=Line(0.5, 3e-6), step=Line(0.1, 1e-6))


def test_a_line_through_two_points_has_no_negative_part():
    assert Line.through([10, 30], [5.0, 9.0]) == Line(3.0, 0.2)
    assert Line.through([10, 30], [9.0, 5.0]) == Line(9.0, 0.0)
    assert Line.through([10, 30], [1.0, 9.0]) == Line(0.0, 0.4)


@pytest.mark.usefixtures('with_tiny_prior')
def test_seconds_of_an_image_that_is_restored_whole():
    # 50 + 10 steps; the levels go from 1 to 0.02, and 16 of the 50 are at least 0.3: 0.02^(15/49) = 0.302
    forecast = Forecast(make_plan(), COSTS)
    pixels = 400 * 600
    expected = 2 + 16 * (0.5 + 3e-6 * pixels) + 44 * (0.1 + 1e-6 * pixels)
    assert forecast.seconds((200, 300)) == pytest.approx(expected)
    assert forecast.share((200, 300), 0) == 0 and forecast.share((200, 300), 60) == pytest.approx(1)
    at_change = (2 + 16 * (0.5 + 3e-6 * pixels)) / expected
    assert forecast.share((200, 300), 16) == pytest.approx(at_change)


@pytest.mark.usefixtures('with_tiny_prior')
def test_seconds_of_an_image_in_tiles():
    # The kernel comes from one tile of 256x256; then 60 steps on 2 x 3 tiles that overlap by 64 pixels.
    forecast = Forecast(make_plan(tile=256), COSTS)
    tile = (400 + 64) / 2 * (600 + 2 * 64) / 3
    expected = 2 + 16 * (0.5 + 3e-6 * 256**2) + 60 * (0.1 + 1e-6 * 6 * tile)
    assert forecast.seconds((200, 300)) == pytest.approx(expected, rel=0.03)  # whole pixels
    assert forecast.share((200, 300), 60) < 0.5 < forecast.share((200, 300), 100)
    assert forecast.share((200, 300), 120) == pytest.approx(1)


def test_seconds_of_tiles_that_are_restored_one_by_one():
    forecast = Forecast(make_plan(tile=256, method='dip-dkp', preset='fast'), COSTS)
    search, tile = 250 * (0.5 + 3e-6 * 256**2), 250 * (0.1 + 1e-6 * 256**2)
    assert forecast.seconds((200, 300)) == pytest.approx(2 + search + 2 * 3 * tile)


def test_a_measurement_finds_the_cost_of_each_step(monkeypatch):
    """With a clock that counts pixels, a step of DIP costs one unit for each, and its start none."""
    clock, original = [0.0], DIP.step

    def step(self, kernel):
        clock[0] += 7 + 2e-3 * math.prod(self.size)
        return original(self, kernel)

    monkeypatch.setattr(DIP, 'step', step)
    plan = make_plan(method='double-dip', preset='fast')
    plan.restorer.network_options |= {'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)}
    costs = measure(plan, lambda: clock[0]).costs
    for line in (costs.kernel_step, costs.step):
        assert (line.fixed, line.per_pixel) == (pytest.approx(7), pytest.approx(2e-3))
    assert costs.start(100_000) == pytest.approx(0, abs=1e-9)


def test_the_last_step_of_a_short_method_is_measured(monkeypatch):
    """Four steps, of which the last one costs all: each step of the forecast costs a quarter."""
    clock, original = [0.0], ClosedForm.step

    def step(self, kernel):
        clock[0] += 1e-3 * self.x.shape[-1] ** 2 if count[0] % 4 == 3 else 0
        count[0] += 1
        return original(self, kernel)

    count = [0]
    monkeypatch.setattr(ClosedForm, 'step', step)
    monkeypatch.setattr(ClosedForm, 'num_iter', 4)
    blocks = {'network_k': {'type': 'FixedKernel', 'source': 'delta'}, 'network_g': {'type': 'ClosedForm'}}
    plan = Restoration(make_options(Choices(scale=2, method='diff-dkp')) | blocks, 'cpu')
    assert measure(plan, lambda: clock[0]).costs.step.per_pixel == pytest.approx(0.25e-3)


class Steps(Observer):
    """Notes the steps that an observer sees."""

    def __init__(self):
        self.seen = []

    def stepped(self, done, total):
        self.seen.append(done)


@pytest.mark.usefixtures('with_tiny_prior')
@pytest.mark.parametrize(('tile', 'part'), [('auto', 1024), (128, 1024), (160, 1024), ('auto', 96)])  # 160: one tile
@pytest.mark.parametrize('method', ['diff-dkp', 'double-dip'])
def test_the_stages_are_those_of_the_engine(method, tile, part, monkeypatch):
    monkeypatch.setattr(EvidenceDKP, 'search_side', part)
    plan = make_plan(tile=tile, method=method, preset='fast')
    if method == 'double-dip':
        plan.num_iter = 3
        plan.restorer.network_options |= {'num_feat': 4, 'num_skip': 2, 'num_scales': 2, 'non_local_scales': (2,)}
    lq, steps = torch.rand(1, 3, 40, 80), Steps()
    plan(lq, 'a', observer=steps)
    stages = Forecast(plan, COSTS).stages((40, 80))
    assert steps.seen == [stage.begin + index + 1 for stage in stages for index in range(stage.num)]


def test_no_trial_for_little_work_or_for_methods_that_train_first(monkeypatch):
    monkeypatch.setattr(module, 'measure', lambda plan, sides: 1 / 0)
    assert make_forecast(make_plan(method='dip-dkp'), [(100, 100)]) is None  # 40,000 pixels
    monkeypatch.undo()
    assert measure(make_plan(method='kernelgan-zssr')) is None


@pytest.mark.parametrize(
    ('num_iter', 'sizes', 'sides'),
    [  # 1000 x 1000 pixels of a result at x2 are not yet large
        (700, [(1000, 1000), (2000, 2000)], module.TRIAL_SIDES),
        (5, [(500, 500), (500, 500)], module.TRIAL_SIDES),
        (5, [(10, 10), (500, 501)], module.LARGE_TRIAL_SIDES),
    ],
)
def test_large_results_of_few_steps_have_a_large_trial(monkeypatch, num_iter, sizes, sides):
    plan = make_plan(method='dip-dkp')
    plan.num_iter = num_iter
    monkeypatch.setattr(module, 'measure', lambda plan, sides: sides)
    assert make_forecast(plan, sizes) == sides


def test_a_large_result_of_few_steps_leaves_the_cache():
    """2000 x 4000 pixels in tiles of 256 x 256, each with a step of 0.1 s and a microsecond for each pixel."""
    plan = make_plan(tile=256, method='dip-dkp')
    many = Forecast(plan, COSTS).stages((1000, 2000))[-1]
    plan.num_iter = 5
    few = Forecast(plan, COSTS).stages((1000, 2000))[-1]
    assert few.seconds == pytest.approx(2 * many.seconds) and few.seconds == pytest.approx(2 * (0.1 + 1e-6 * 256**2))


def test_a_method_that_fails_in_the_trial_has_no_forecast(monkeypatch):
    monkeypatch.setattr(module, 'measure', lambda plan, sides: 1 / 0)
    assert make_forecast(make_plan(method='dip-dkp'), [(1000, 1000)]) is None


@pytest.mark.usefixtures('with_tiny_prior')
def test_lines_say_size_time_and_memory_and_what_to_change(monkeypatch):
    monkeypatch.setattr(module, 'used_memory', lambda device: GIB)
    monkeypatch.setattr(module, 'MEMORY', {'Diffusion': (2**10, 2**8)})
    costs = Costs(Line(0, 0), Line(0, 1e-6), Line(0, 1e-6))
    forecast = Forecast(make_plan(scale=4), costs)
    # 1024 x 1024 pixels: 60 steps of 1.05 s; 1 GiB, 1 KiB for each pixel of the tile and 256 bytes for each
    (line,) = describe_forecast(forecast, [(256, 256)], available=8 * GIB)
    assert line == 'expected: 1024x1024 pixels, at most about 63 s and 2.2 GiB'
    (line,) = describe_forecast(forecast, [(256, 256), (64, 32)], available=8 * GIB)
    assert line == 'expected: up to 1024x1024 pixels, at most about 65 s and 2.2 GiB'
    (line,) = describe_forecast(forecast, [(256, 256)] * 3, available=8 * GIB, jobs=2)  # 1.25 GiB and the process's
    assert line == 'expected: up to 1024x1024 pixels, at most about 2 min and 4.5 GiB'
    _, advice = describe_forecast(forecast, [(3000, 4000)], available=8 * GIB)
    assert advice.startswith('more than 15 min and more than the free memory, 8.0 GiB; --scale 1 takes about ')
    *_, advice = describe_forecast(Forecast(make_plan(scale=4, method='unpaired'), costs), [(3000, 4000)], 8 * GIB)
    assert advice.startswith('more than') and '--scale' not in advice  # it has weights for x4 only
    # 768 x 768 pixels: 60 steps of 0.59 s, 1.7 GiB
    _, advice = describe_forecast(forecast, [(256, 256)], available=1.9 * GIB)
    assert advice == 'more than the free memory, 1.9 GiB; --scale 3 takes about 35 s, --tile 512 needs less memory'
