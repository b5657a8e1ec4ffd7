import pytest
import torch

from dkp_plugin.archs import precision
from dkp_plugin.archs.precision import check_precision, compute_dtype, has_fast_bf16

CPU, CUDA = torch.device('cpu'), torch.device('cuda')


@pytest.mark.parametrize('is_fast', [False, True])
def test_auto_follows_the_hardware_and_the_others_do_not(is_fast, monkeypatch):
    monkeypatch.setattr(precision, 'has_fast_bf16', lambda device: is_fast)
    assert compute_dtype('auto', CPU) == (torch.bfloat16 if is_fast else torch.float32)
    assert compute_dtype('float32', CPU) == torch.float32
    assert compute_dtype('bf16', CPU) == torch.bfloat16


@pytest.mark.parametrize('is_supported', [False, True])
def test_each_kind_of_device_is_asked_in_its_own_way(is_supported, monkeypatch):
    monkeypatch.setattr(torch.cpu, '_is_amx_tile_supported', lambda: is_supported)
    assert has_fast_bf16(CPU) == is_supported
    monkeypatch.setattr(
        torch.cuda, 'is_bf16_supported', lambda including_emulation: is_supported and not including_emulation
    )
    assert has_fast_bf16(CUDA) == is_supported
    assert not has_fast_bf16(torch.device('mps'))


def test_this_machine_has_an_answer():
    assert compute_dtype('auto', CPU) in (torch.float32, torch.bfloat16)


@pytest.mark.parametrize('name', ['fp16', 'BF16', '', None])
def test_unknown_precision_is_refused(name):
    for check in (check_precision, lambda value: compute_dtype(value, CPU)):
        with pytest.raises(ValueError, match=f'^precision: {name!r} is not one of auto, float32, bf16$'):
            check(name)
