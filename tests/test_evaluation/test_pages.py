import base64
import sys

import jinja2
import numpy as np
import pytest

from dkp_plugin.evaluation.pages import check_template_engine, make_curves, png_uri, render_page
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.images import decode_image


def test_pages_escape_texts_and_miss_no_name(tmp_path):
    template = tmp_path / 'page.j2'
    template.write_text('{% if shown %}\n<p>{{ double(name) }}</p>\n{% endif %}\n')
    page = render_page(template, {'shown': True, 'name': '<é>', 'double': lambda text: text * 2})
    assert page.decode() == '<p>&lt;é&gt;&lt;é&gt;</p>\n'
    with pytest.raises(jinja2.UndefinedError, match='name'):
        render_page(template, {'shown': True, 'double': str})


def test_missing_template_engine(monkeypatch):
    check_template_engine()
    monkeypatch.setitem(sys.modules, 'jinja2', None)
    with pytest.raises(UserError, match='needs the package jinja2'):
        check_template_engine()


def test_images_become_text():
    bgr = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    head, content = png_uri(bgr).split(',')
    assert head == 'data:image/png;base64'
    rgb = decode_image(base64.b64decode(content), 'png') * 255  # (C, H, W)
    assert np.array_equal(rgb.round().numpy().transpose(1, 2, 0)[..., ::-1], bgr)


def test_curves_span_all_iterations_and_take_logarithms_of_positive_losses():
    rows = [
        {'iteration': 10, 'l_x': 1.0, 'l_k': -1.0, 'once': 1.0},
        {'iteration': 20, 'l_x': 0.1, 'l_k': -3.0},
        {'iteration': 40, 'l_x': 0.01, 'l_k': None},
    ]
    l_x, l_k = make_curves(rows)
    # 120 x 32: 10, 20 and 40 of 40 iterations; powers of ten are equally far apart, the largest is at the top.
    assert l_x.points == '30.0,0.0 60.0,16.0 120.0,32.0' and l_x.is_logarithmic
    assert l_k.points == '30.0,0.0 60.0,32.0' and not l_k.is_logarithmic
    assert (l_k.name, l_k.first, l_k.last, l_k.num_iter) == ('l_k', -1.0, -3.0, 20)


@pytest.mark.parametrize('rows', [[], [{'iteration': 1, 'l': 1.0}], [{'iteration': 1, 'l': None}] * 3])
def test_curves_need_two_values(rows):
    assert make_curves(rows) == []


def test_a_constant_loss_has_a_curve():
    (curve,) = make_curves([{'iteration': 1, 'l': 2.0}, {'iteration': 2, 'l': 2.0}])
    assert curve.points == '60.0,32.0 120.0,32.0'
