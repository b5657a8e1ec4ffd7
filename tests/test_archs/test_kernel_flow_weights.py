import os

import pytest
import torch

from dkp_plugin.archs.kernel_flow_arch import KernelFlow
from dkp_plugin.archs.kernel_flow_weights import SHIPPED, load_kernel_flow, shipped_names
from dkp_plugin.host.errors import UserError
from dkp_plugin.io.weight_files import read_weights, write_safetensors
from dkp_plugin.physics.kernels import default_kernel_size


def save_as_released(flow, path):
    torch.save({'model_state': flow.state_dict()}, path)


def save_as_state_dict(flow, path):
    torch.save(flow.state_dict(), path)


def save_as_basicsr(flow, path):
    torch.save({'params': flow.state_dict()}, path)


def save_as_basicsr_with_average(flow, path):
    other = {name: torch.zeros_like(tensor) for name, tensor in flow.state_dict().items()}
    torch.save({'params': other, 'params_ema': flow.state_dict()}, path)


def save_as_safetensors(flow, path):
    write_safetensors(path, flow.state_dict(), {})


@pytest.mark.parametrize(
    ('save', 'suffix'),
    [
        (save_as_released, '.pt'),
        (save_as_state_dict, '.pth'),
        (save_as_basicsr, '.pth'),
        (save_as_basicsr_with_average, '.pth'),
        (save_as_safetensors, '.safetensors'),
    ],
)
def test_every_kind_of_file_holds_the_same_flow(flow, tmp_path, rng, save, suffix):
    path = tmp_path / f'x{suffix}'
    save(flow, path)
    code = torch.randn(3, 49, generator=rng)
    loaded = load_kernel_flow(path)
    assert torch.equal(loaded.decode(code), flow.decode(code))
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())


def test_sizes_and_buffers_come_from_the_file(tmp_path, rng):
    torch.save(KernelFlow(5, num_units=3, num_blocks=4, normalization=0.25, alpha=1e-4).state_dict(), tmp_path / 'x.pt')
    flow = load_kernel_flow(tmp_path / 'x.pt')
    assert int(flow.kernel_size) == 5 and len(flow.net) == 8  # a coupling and a batch norm per block
    assert flow.net[0].s_net[0].weight.shape == (3, 25)
    assert flow.normalization.item() == 0.25 and flow.alpha.item() == pytest.approx(1e-4)
    assert flow.decode(torch.randn(2, 25, generator=rng)).shape == (2, 1, 5, 5)


@pytest.mark.parametrize('name', shipped_names())
def test_shipped_flows_have_the_kernel_size_of_their_scale(name):
    scale = int(name.rpartition('_x')[2])
    assert int(load_kernel_flow(SHIPPED / f'{name}.safetensors').kernel_size) == default_kernel_size(scale)


@pytest.mark.parametrize('name', shipped_names())
def test_shipped_weights_are_small_and_say_where_they_come_from(name):
    path = SHIPPED / f'{name}.safetensors'
    assert path.stat().st_size < 1e6
    assert read_weights(path)[1].keys() >= {'license', 'data', 'steps'}


def test_weights_for_all_option_files_are_shipped():
    assert {'gaussian_x2', 'gaussian_x3', 'gaussian_x4', 'motion_x4'} <= set(shipped_names())


def without_a_layer(state):
    del state['net.1.beta']
    return 'net.1.beta: found none, expected shape [49]'


def with_a_layer_too_many(state):
    state['net.7.beta'] = torch.zeros(49)
    return 'net.7.beta: found shape [49], expected none'


def with_a_wrong_shape(state):
    state['net.0.t_net.2.weight'] = torch.zeros(5, 4)
    return 'net.0.t_net.2.weight: found shape [5, 4], expected shape [4, 4]'


def of_something_else(state):
    state.clear()
    state['conv_first.weight'] = torch.zeros(3, 3)
    return 'found conv_first.weight, expected base_dist_mean among them'


def of_no_square(state):
    state['base_dist_mean'] = torch.zeros(50)
    return 'found a flow of 50 dimensions, expected the square of an odd kernel size'


def not_finite(state):
    state['net.1.beta'][3] = torch.nan
    return 'found weights that are not finite'


@pytest.mark.parametrize(
    'damage', [without_a_layer, with_a_layer_too_many, with_a_wrong_shape, of_something_else, of_no_square, not_finite]
)
def test_wrong_weights_are_one_line(flow, tmp_path, damage):
    state = flow.state_dict()
    message = damage(state)
    torch.save({'params': state}, tmp_path / 'wrong.pth')
    with pytest.raises(UserError) as caught:
        load_kernel_flow(tmp_path / 'wrong.pth')
    assert str(caught.value).startswith(str(tmp_path / 'wrong.pth')) and message in str(caught.value)
    assert '\n' not in str(caught.value)


def test_weights_that_are_no_dictionary(tmp_path):
    torch.save(torch.zeros(3), tmp_path / 'x.pt')
    with pytest.raises(UserError, match='found a Tensor, expected a dictionary of weights'):
        load_kernel_flow(tmp_path / 'x.pt')


def test_a_malicious_pickle_is_refused(tmp_path):
    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / 'harm'),)

    torch.save({'model_state': Malicious()}, tmp_path / 'evil.pt')
    with pytest.raises(UserError, match=r'evil\.pt: refused'):
        load_kernel_flow(tmp_path / 'evil.pt')
    assert not (tmp_path / 'harm').exists()


def test_a_truncated_file(flow, tmp_path):
    path = tmp_path / 'flow.pt'
    save_as_released(flow, path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match=r'flow\.pt: not a readable file of weights'):
        load_kernel_flow(path)
