"""Every way to spoil an option file: one line with file, line, key, the value and what is allowed, and no work done."""

import re
from pathlib import Path

import basicsr.test
import pytest

from dkp_plugin.models.pipelines import run_pipeline

GOOD = """\
name: tiny
model_type: BlindSRModel
scale: 2
num_gpu: 0
manual_seed: 3

datasets:
  test_1:
    name: Tiny
    type: BlindSRDataset
    dataroot_lq: data/LR
    dataroot_gt: data/HR
    io_backend:
      type: disk

degradation:
  convention: aligned
  kernel_size: auto
  noise: auto

network_k:
  type: DKP
  weighting: softmax
  warmup_iters: 2

network_g:
  type: DIP
  num_feat: 4
  lr: !!float 5e-3

alternation:
  num_iter: 12

early_stopping:
  method: emv

path:
  pretrain_network_g: ~

val:
  save_img: true
  suffix: ~
  metrics:
    psnr:
      type: calculate_psnr
      crop_border: 2
      test_y_channel: true
"""

# What stands in the file, what stands there instead, and the message; {file} is its path.
BROKEN = [
    ('name: tiny\n', '', '{file}: name: missing'),
    ('name: tiny', 'name: ../tiny', "{file}:1: name: '../tiny' is not allowed; allowed: a folder name without / "),
    ('name: tiny', 'name: 7', '{file}:1: name: 7 is not allowed; allowed: a folder name'),
    ('name: tiny', 'name: tiny\nname: twice', '{file}:2: name: duplicate key, first in {file}:1'),
    ('BlindSRModel', 'BlindSRModle', '{file}:2: model_type: type: BlindSRModle is unknown, did you mean BlindSRModel?'),
    ('scale: 2', 'scale: 5', '{file}:3: scale: 5 is not allowed: input should be 1, 2, 3, 4 or 8'),
    ('scale: 2\n', '', '{file}: scale: missing'),
    ('scale: 2', 'scael: 2', '{file}:3: scael: unknown key, did you mean scale?'),
    ('num_gpu: 0', 'num_gpu: -1', '{file}:4: num_gpu: -1 is not allowed'),
    ('num_gpu: 0', 'num_gpu: 64', '{file}:4: num_gpu: 64 is not allowed, this machine has '),
    ('seed: 3', 'seed: many', "{file}:5: manual_seed: 'many' is not allowed: input should be a valid integer"),
    ('datasets:', 'datasets: 3\nothers:', '{file}:7: datasets: 3 is not a block of options'),
    ('  test_1:', '  test_1: x\n  test_2:', "{file}:8: datasets: test_1: 'x' is not a block of options"),
    ('test_1', 'tset_1', '{file}:8: datasets: tset_1: not the key of a data set for a test; allowed: test, test_1'),
    ('    name: Tiny\n', '', '{file}:8: datasets: test_1: missing key name'),
    ('name: Tiny', 'name: a/b', "{file}:9: datasets: test_1: name: 'a/b' is not allowed; allowed: a folder name"),
    ('BlindSRDataset', 'BlindSRData', '{file}:10: datasets: test_1: type: BlindSRData is unknown, did you mean Blind'),
    ('_lq: data', '_lr: data', '{file}:11: datasets: test_1: dataroot_lr: unknown key, did you mean dataroot_lq?'),
    ('data/LR', 'data/no', '{file}:11: datasets: test_1: dataroot_lq: data/no is not a folder'),
    ('type: disk', 'type: tape', "{file}:14: datasets: test_1: io_backend:type: 'tape' is not allowed: "),
    (
        'degradation:',
        '  test_2: {{name: Tiny, type: BlindSRDataset, dataroot_lq: data/LR}}\ndegradation:',
        '{file}:16: datasets: test_2: name: Tiny is also the name of test_1',
    ),
    ('degradation:', 'degredation:', '{file}:16: degredation: unknown key, did you mean degradation?'),
    ('aligned', 'released', '{file}:8: datasets: test_1: convention: aligned differs from degradation: convention: '),
    ('kernel_size: auto', 'kernel_size: 12', '{file}:18: degradation: kernel_size: 12 is not an odd number of at '),
    (
        'noise: auto',
        'noise: -2',
        '{file}:19: degradation:noise: -2 is not allowed: input should be greater than or equal to 0',
    ),
    ('type: DKP', 'typ: DKP', '{file}:21: network_k: missing key type'),
    ('type: DKP', 'type: DPK', '{file}:22: network_k: type: DPK is unknown, did you mean DKP?'),
    (
        'softmax',
        'soft',
        "{file}:23: network_k: weighting: 'soft' is not allowed: input should be 'inverse', 'focal' or 'softmax'",
    ),
    ('warmup_iters', 'warm_iters', '{file}:24: network_k: warm_iters: unknown key of DKP, did you mean warmup_iters?'),
    ('num_feat: 4', 'num_feat: four', "{file}:28: network_g: num_feat: 'four' is not allowed: input should be a valid"),
    ('5e-3', '-5e-3', '{file}:29: network_g: lr: -0.005 is not allowed: input should be greater than 0'),
    ('alternation:\n  num_iter: 12\n', '', '{file}: alternation: num_iter: None is not allowed: DIP needs a number of'),
    ('num_iter: 12', 'num_iter: 0', '{file}:32: alternation:num_iter: 0 is not allowed: input should be greater than'),
    ('method: emv', 'method: vme', "{file}:35: early_stopping:method: 'vme' is not allowed: input should be 'off', "),
    ('network_g: ~', 'network_g: x', '{file}:38: path: pretrain_network_g: x is not allowed: DIP has no weights'),
    ('pretrain_network_g', 'pretrain_g', '{file}:38: path:pretrain_g: unknown key, did you mean pretrain_network_g?'),
    (
        'save_img: true',
        'save_img: perhaps',
        "{file}:41: val:save_img: 'perhaps' is not allowed: input should be a valid",
    ),
    ('suffix: ~', 'suffix: /x', "{file}:42: val:suffix: '/x' is not allowed: "),
    ('_psnr', '_pnsr', '{file}:45: val: metrics: psnr: type: calculate_pnsr is unknown, did you mean calculate_psnr?'),
    ('crop_border', 'crop_boder', '{file}:46: val: metrics: psnr: crop_boder: unknown key of calculate_psnr, did you '),
    ('      crop_border: 2\n', '', '{file}:44: val: metrics: psnr: missing key crop_border'),
    ('border: 2', 'border: -2', '{file}:46: val: metrics: psnr: crop_border: -2 is not allowed: input should be '),
    ('channel: true', 'channel: y es', "{file}:47: val: metrics: psnr: test_y_channel: 'y es' is not allowed: "),
    ('num_iter: 12', '\tnum_iter: 12', "{file}:32: while scanning for the next token, found character '\\t' that "),
    ('num_iter: 12', 'num_iter: [12', '{file}:34: while parsing a flow sequence, '),
    ('noise: auto', 'noise: !!python/object/apply:os.getcwd []', '{file}:19: could not determine a constructor for '),
    (GOOD, '', '{file}: not a BasicSR option file: it holds no keys'),
    (GOOD, '- a\n- b', '{file}: not a BasicSR option file: it holds no keys'),
    (GOOD, 'a: \x07', '{file}: unacceptable character #x0007: special characters are not allowed'),
]


@pytest.fixture
def test_file(benchmark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write an option file and start the test pipeline with it; returns the exit status."""
    monkeypatch.chdir(tmp_path)

    def run(text: str, *arguments: str) -> int:
        Path('é options.yml').write_text(text, encoding='utf-8')
        monkeypatch.setattr('sys.argv', ['dkp_plugin.test', '-opt', 'é options.yml', *arguments])
        return run_pipeline(basicsr.test, is_train=False)

    return run


@pytest.mark.parametrize(('old', 'new', 'message'), BROKEN, ids=[message.split(': ', 1)[1] for _, _, message in BROKEN])
def test_broken_option_file(test_file, capsys, old, new, message):
    assert GOOD.count(old) >= 1
    assert test_file(GOOD.replace(old, new.replace('{{', '{').replace('}}', '}'), 1)) == 2
    output = capsys.readouterr()
    (line,) = output.err.splitlines()
    assert line.startswith('error: ' + message.replace('{file}', 'é options.yml'))
    assert output.out == '' and not Path('results').exists()


@pytest.mark.parametrize(
    ('entry', 'message'),
    [
        ('network_k:type=DPK', '--force_yml network_k:type=DPK: network_k: type: DPK is unknown, did you mean DKP?'),
        ('network_k:smples=5', '--force_yml network_k:smples=5: network_k: smples: unknown key of DKP'),
        ('newtork_k:type=DKP', '--force_yml newtork_k:type=DKP: there is no block newtork_k in é options.yml'),
        ('scale:x=1', '--force_yml scale:x=1: there is no block scale in é options.yml'),
        ('scale', '--force_yml scale: not of the form key:sub=value'),
        ('network_k:=5', '--force_yml network_k:=5: not of the form key:sub=value'),
        ('scale=[2', "--force_yml scale=[2: '[2' is not a YAML value"),
        ('scale=!!python/name:os.system', "--force_yml scale=!!python/name:os.system: '!!python/name:os.system' is no"),
        ('scale=__import__("os")', """--force_yml scale=__import__("os"): scale: '__import__("os")' is not allowed"""),
        ('network_k={type: DPK}', '--force_yml network_k={type: DPK}: network_k: type: DPK is unknown'),
    ],
)
def test_broken_command_line(test_file, capsys, entry, message):
    assert test_file(GOOD, '--force_yml', entry) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: ' + message)


def test_the_file_that_is_spoilt_here_is_good(test_file, monkeypatch):
    monkeypatch.setattr('basicsr.test.test_pipeline', lambda root: None)
    assert test_file(GOOD) == 0


TWO = GOOD.replace(
    'degradation:', '  test_2: {name: Gone, type: BlindSRDataset, dataroot_lq: data/gone}\ndegradation:', 1
)


def test_a_data_set_that_is_not_there_is_skipped(test_file, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr('basicsr.test.test_pipeline', lambda root: seen.append(basicsr.test.parse_options('')[0]))
    assert test_file(TWO) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line == 'é options.yml:16: datasets: test_2: dataroot_lq: data/gone does not exist; Gone is skipped'
    assert list(seen[0]['datasets']) == ['test_1']


def test_the_log_says_which_data_sets_are_skipped(test_file, monkeypatch):
    logged = []
    monkeypatch.setattr('basicsr.test.test_pipeline', lambda root: logged.append(basicsr.test.dict2str({'a': 1})))
    assert test_file(TWO) == 0
    assert '  a: 1\n' in logged[0] and logged[0].splitlines()[-1].endswith('data/gone does not exist; Gone is skipped')


@pytest.mark.parametrize(
    ('text', 'arguments', 'message'),
    [
        (TWO, ['--only', 'Gone'], '{file}:16: datasets: test_2: dataroot_lq: data/gone is not a folder'),
        (TWO, ['--only', 'Tinny'], '{file}: --only Tinny: no data set of this name, did you mean Tiny?'),
        (
            TWO,
            ['--force_yml', 'datasets:test_1=~'],
            '{file}:16: datasets: test_2: dataroot_lq: data/gone is not a folder',
        ),
        (GOOD, ['--force_yml', 'datasets:test_1=~'], '{file}:7: datasets: no data set is left'),
    ],
)
def test_data_sets_that_are_needed_and_not_there(test_file, capsys, text, arguments, message):
    assert test_file(text, *arguments) == 2
    assert capsys.readouterr().err == f'error: {message.replace("{file}", "é options.yml")}\n'
    assert not Path('results').exists()


def test_a_data_set_is_chosen_by_name(test_file, capsys, monkeypatch):
    seen = []
    monkeypatch.setattr('basicsr.test.test_pipeline', lambda root: seen.append(basicsr.test.parse_options('')[0]))
    assert test_file(TWO.replace('data/gone', 'data/LR'), '--only', 'Gone') == 0
    assert list(seen[0]['datasets']) == ['test_2'] and capsys.readouterr().err == ''


@pytest.mark.parametrize('num_gpu', ['99', '-1', 'two'])
def test_gpus_that_a_stock_model_cannot_have(test_file, capsys, num_gpu):
    text = f"""
name: stock
model_type: SRModel
scale: 2
num_gpu: {num_gpu}
datasets:
  test_1: {{name: Tiny, type: SingleImageDataset, dataroot_lq: data/LR, io_backend: {{type: disk}}}}
network_g: {{type: MSRResNet, num_feat: 4, num_block: 1, upscale: 2}}
"""
    assert test_file(text) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(rf"error: é options.yml:5: num_gpu: '?{num_gpu}'? is not allowed, this machine has \d+ CUDA", line)
    assert not Path('results').exists()
