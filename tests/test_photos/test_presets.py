"""What can be chosen becomes an option file; what of an option file is of use for photographs is taken."""

import copy
from pathlib import Path

import pytest
import yaml
from pydantic import ValidationError

from dkp_plugin.archs.package_weights import FOLDER
from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.host.errors import OptionError
from dkp_plugin.photos.presets import METHODS, PRESETS, Choices, make_options, take_options
from dkp_plugin.physics.degradation import SCALES
from dkp_plugin.restorers.one_pass_restorer import OnePass


def test_motion_kernels_are_sought_to_lower_noise_levels_in_every_preset():
    for preset in METHODS['diff-dkp'].presets:
        choices = [Choices(method='diff-dkp', kernel=kernel, preset=preset) for kernel in ('motion', 'gaussian')]
        blocks = [make_options(choice)['network_g'] for choice in choices]
        assert blocks[0] == blocks[1] | {'freeze_sigma': 0.06} and 'freeze_sigma' not in blocks[1]


def test_preset_paper_is_the_option_file_of_the_best_figures():
    opt = yaml.safe_load((Path(__file__).parents[2] / 'options/test/DiffDKP_best_gaussian_x4.yml').read_text('utf-8'))
    defaults = {'prior': 'compact', 'precision': 'auto'}
    assert opt['network_g'] == defaults | make_options(Choices(method='diff-dkp', preset='paper'))['network_g']


@pytest.mark.usefixtures('with_tiny_prior')
@pytest.mark.parametrize('method', METHODS)
def test_presets_and_families_are_valid_option_files(method):
    for preset in METHODS[method].presets:
        Restoration(make_options(Choices(method=method, preset=preset)))
    for family in METHODS[method].families:
        Restoration(make_options(Choices(method=method, kernel=family)))


@pytest.mark.parametrize(
    ('method', 'preset', 'allowed'),
    [('fast-dkp', 'paper', 'fast, balanced, best'), ('diff-dkp', 'best', 'fast, balanced, paper')],
)
def test_a_preset_of_other_methods_is_refused(method, preset, allowed):
    with pytest.raises(OptionError) as error:
        make_options(Choices(method=method, preset=preset))
    assert str(error.value) == f'preset: {preset} is not possible with {method}; allowed: {allowed}'


@pytest.mark.parametrize('scale', SCALES)
def test_the_default_method_is_one_pass_where_the_package_has_weights(scale):
    opt = make_options(Choices(scale=scale))
    has_weights = scale in OnePass.scales
    assert opt == make_options(Choices(scale=scale, method='fast-dkp' if has_weights else 'diff-dkp'))
    assert opt['network_g']['type'] == ('OnePass' if has_weights else 'Diffusion')
    assert has_weights == (FOLDER / f'one_pass_x{scale}.safetensors').exists()


def test_with_a_kernel_file_the_final_restorer_is_the_only_one():
    for preset, block in (('balanced', {'type': 'Unfolded'}), ('best', {'type': 'Unfolded', 'ensemble': 8})):
        opt = make_options(Choices(kernel='k.npy', preset=preset))
        assert opt['network_g'] == block and 'restorer' not in opt


def test_own_weights_of_fast_dkp_are_of_the_whole_network():
    opt = make_options(Choices(weights='net.pth'))
    assert opt['network_g'] == {'type': 'OnePass', 'kernel_iters': 4} and 'restorer' not in opt
    assert opt['network_k']['proposal'] == opt['path']['pretrain_network_g'] == 'net.pth'


def test_presets_are_known_names():
    assert all(set(method.presets) <= set(PRESETS) for method in METHODS.values())


def test_choices_arrive_in_the_option_file():
    choices = Choices(scale=3, noise=2.5, seed=7, convention='released', method='dip-dkp', kernel='free', preset='fast')
    opt = make_options(choices)
    assert (opt['scale'], opt['manual_seed'], opt['model_type']) == (3, 7, 'BlindSRModel')
    assert opt['degradation'] == {'convention': 'released', 'noise': 2.5}
    assert opt['network_k'] == {'type': 'DKP', 'kernel_family': 'free'}
    assert opt['network_g'] == {'type': 'DIP'} and opt['alternation'] == {'num_iter': 250, 'averaging': 0.95}


def test_presets_are_not_changed_by_what_is_made_of_them():
    before = copy.deepcopy(METHODS)
    opt = make_options(Choices(method='diff-dkp', kernel='motion'))
    opt['network_g']['num_steps'] = opt['network_k']['num_samples'] = 1
    assert before == METHODS


@pytest.mark.parametrize('name', ['blur.mat', 'blur.NPY', 'a folder/k.npy'])
@pytest.mark.parametrize('method', METHODS)
def test_a_kernel_file_is_taken_by_every_method(method, name):
    network_k = make_options(Choices(method=method, kernel=name))['network_k']
    assert network_k == {'type': 'FixedKernel', 'source': name}


@pytest.mark.parametrize(
    ('method', 'kernel', 'allowed'),
    [
        ('diff-dkp', 'box', 'gaussian, disc, line, motion, free, or a file .mat or .npy'),
        ('dip-fkp', 'free', 'gaussian, motion, or a file .mat or .npy'),
        ('kernelgan-zssr', 'gaussian', 'free, or a file .mat or .npy'),
        ('bsrdm', 'k.png', 'gaussian, or a file .mat or .npy'),
    ],
)
def test_a_kernel_that_the_method_does_not_know_is_refused(method, kernel, allowed):
    with pytest.raises(OptionError) as error:
        make_options(Choices(method=method, kernel=kernel))
    assert str(error.value) == f'kernel: {kernel} is not possible with {method}; allowed: {allowed}'


@pytest.mark.parametrize(
    'choice', [{'scale': 5}, {'method': 'dkp'}, {'noise': -1}, {'noise': 'much'}, {'preset': 'slow'}, {'sclae': 2}]
)
def test_choices_that_there_are_not(choice):
    with pytest.raises(ValidationError):
        Choices(**choice)


FILE = {
    'name': 'x',
    'model_type': 'BlindSRModel',
    'scale': 4,
    'num_gpu': 2,
    'manual_seed': 3,
    'datasets': {'test_1': {'name': 'Set5'}},
    'degradation': {'noise': 1, 'border': 'periodic'},
    'network_k': {'type': 'DKP'},
    'network_g': {'type': 'DIP'},
    'path': {'pretrain_network_g': 'w.pth', 'results_root': '/elsewhere'},
    'val': {'save_img': False, 'suffix': 'x', 'checkpoint_freq': 9, 'metrics': {}},
}


def test_what_is_of_no_use_for_photographs_is_left_out():
    before = copy.deepcopy(FILE)
    taken = take_options(FILE, {})
    assert taken == {
        'name': 'photographs',
        'model_type': 'BlindSRModel',
        'scale': 4,
        'num_gpu': 0,
        'manual_seed': 3,
        'datasets': {},
        'degradation': {'noise': 1, 'border': 'periodic'},
        'network_k': {'type': 'DKP'},
        'network_g': {'type': 'DIP'},
        'path': {'pretrain_network_g': 'w.pth'},
        'val': {'checkpoint_freq': 9},
    }
    assert before == FILE


def test_choices_beside_a_file_change_it():
    taken = take_options(FILE, {'scale': 2, 'seed': 5, 'noise': 0, 'convention': 'released'})
    assert (taken['scale'], taken['manual_seed']) == (2, 5)
    assert taken['degradation'] == {'noise': 0, 'border': 'periodic', 'convention': 'released'}
    bare = take_options({'scale': 2}, {})
    assert bare['degradation'] == bare['path'] == bare['val'] == {} and bare['manual_seed'] == 0


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'sclae': 2}, 'sclae: unknown key, did you mean scale?'),
        ({'degradation': 'none'}, "degradation: 'none' is not a block of options"),
        ({'val': [1]}, r'val: [1] is not a block of options'),
        ({'custom_imports': ['absent_module']}, 'custom_imports:0: absent_module cannot be imported'),
    ],
)
def test_files_that_cannot_be_used(changes, message):
    with pytest.raises(OptionError) as error:
        take_options(FILE | changes, {})
    assert str(error.value).startswith(message)
