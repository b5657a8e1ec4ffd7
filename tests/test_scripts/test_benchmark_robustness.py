"""The table and the plot of rows that stand in a file."""

import pytest
from PIL import Image

HEAD = 'image,quality,noise,family,bicubic,result,kernel_psnr,is_doubted\n'
ROWS = 'a,0,0,gaussian,25.0,26.0,60,False\nb,0,0,gaussian,27.0,27.5,50,True\na,70,0,gaussian,24.0,23.9,48,True\n'


def test_rows_of_an_earlier_run_are_described_and_drawn(run_script, tmp_path):
    (tmp_path / 'rows.csv').write_text(HEAD + ROWS)
    _, out, _ = run_script('benchmark_robustness', '--csv', tmp_path / 'rows.csv', '--plot', tmp_path / 'plot.png')
    assert out.splitlines()[2:] == [
        '| none | 0 | gaussian | 26.00 | 26.75 | +0.75 | +0.50 | 55.0 |',
        '| 70 | 0 | gaussian | 24.00 | 23.90 | -0.10 | -0.10 | 48.0 |',
    ]
    with Image.open(tmp_path / 'plot.png') as picture:
        assert min(picture.size) > 200


def test_something_must_be_named(run_script, capsys):
    with pytest.raises(SystemExit, match='2'):
        run_script('benchmark_robustness')
    assert 'name a folder of PHOTOGRAPHS' in capsys.readouterr().err
