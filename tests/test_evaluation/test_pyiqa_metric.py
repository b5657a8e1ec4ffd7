"""Metrics of pyiqa: a stand-in with its interface, and the package itself where it is installed."""

import math
import sys
import types

import numpy as np
import pytest
import torch
import yaml
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import METRIC_REGISTRY

from dkp_plugin.evaluation.checks import check_metrics
from dkp_plugin.evaluation.evaluate import evaluate
from dkp_plugin.evaluation.pyiqa_metric import build_metric
from dkp_plugin.host.errors import OptionError


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """Metrics are registered and built for the time of a test."""
    monkeypatch.setattr(METRIC_REGISTRY, '_obj_map', dict(METRIC_REGISTRY._obj_map))
    build_metric.cache_clear()
    yield
    build_metric.cache_clear()


class MeanOfRed(torch.nn.Module):
    """Without a reference: the mean of the red channel times ``factor``; counts how often it is built."""

    built = 0

    def __init__(self, factor=1.0):
        super().__init__()
        MeanOfRed.built += 1
        self.factor = factor

    def forward(self, target):
        return self.factor * target[:, :1].mean().view(1, 1)


class Difference(torch.nn.Module):
    """With a reference: the mean absolute difference."""

    def forward(self, target, reference):
        return (target - reference).abs().mean().view(1, 1)


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType('pyiqa')
    metrics = {'red': MeanOfRed, 'difference': Difference}
    module.list_models = lambda mode=None: sorted({'FR': ['difference'], 'NR': ['red'], None: metrics}[mode])
    module.create_metric = lambda name, **options: metrics[name](**options)
    monkeypatch.setitem(sys.modules, 'pyiqa', module)


METRICS = yaml.safe_load("""
red: {type: pyiqa:red, better: lower}
twice: {type: pyiqa:red, factor: 2.0}
difference: {type: pyiqa:difference}
""")


def test_values_are_those_of_the_package(stand_in):
    MeanOfRed.built = 0
    check_metrics(METRICS)
    img = np.zeros((4, 6, 3), np.uint8)
    img[..., 2] = 51  # BGR: a fifth of red
    for _ in range(2):
        values, skipped = evaluate(METRICS, {'img': img, 'img2': np.zeros_like(img), 'scale': 4})
        assert values == pytest.approx({'red': 0.2, 'twice': 0.4, 'difference': 0.2 / 3}) and not skipped
    assert MeanOfRed.built == 2  # once for each set of options
    values, skipped = evaluate(METRICS, {'img': img, 'scale': 4})
    assert values.keys() == {'red', 'twice'} and skipped == {'difference': 'no img2'}


@pytest.mark.parametrize(
    ('metric', 'message'),
    [
        ({'type': 'pyiqa:read'}, 'type: pyiqa:read is unknown, did you mean pyiqa:red?'),
        ({'type': 'pyiqa:red', 'better': 'more'}, "better: 'more' is not allowed"),
        ({'type': 'pyiqa:red', 'faktor': 2}, 'pyiqa:red: TypeError: MeanOfRed.__init__() got an unexpected keyword'),
    ],
)
def test_mistakes_are_one_line(stand_in, metric, message):
    with pytest.raises(OptionError) as error:
        check_metrics({'m': metric})
    assert str(error.value).startswith('val: metrics: m: ') and message in str(error.value)
    assert '\n' not in str(error.value)


def test_without_the_package_there_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)  # as if it were not installed
    with pytest.raises(OptionError, match=r'^val: metrics: m: type: pyiqa:niqe needs pyiqa \(.*\): pip install pyiqa$'):
        check_metrics({'m': {'type': 'pyiqa:niqe', 'better': 'lower'}})


@pytest.mark.filterwarnings('ignore')  # of the packages that it imports
def test_psnr_of_the_package_itself(rng):
    pytest.importorskip('pyiqa', reason='pyiqa is not installed')
    metrics = {'psnr': {'type': 'pyiqa:psnr', 'crop_border': 4}}
    metrics['y'] = metrics['psnr'] | {'test_y_channel': True}
    check_metrics(metrics)
    img, img2 = (torch.randint(256, (40, 50, 3), generator=rng).numpy().astype(np.uint8) for _ in range(2))
    values, _ = evaluate(metrics, {'img': img, 'img2': img2})
    assert values['psnr'] == pytest.approx(calculate_psnr(img, img2, crop_border=4), abs=1e-4)
    full_range = 20 * math.log10(219 / 255)  # BasicSR's Y goes from 16 to 235, that of pyiqa from 0 to 255
    y = calculate_psnr(img, img2, crop_border=4, test_y_channel=True)
    assert values['y'] == pytest.approx(y + full_range, abs=0.01)
