import benchmark_scaling
import yaml

OPTIONS = """\
name: x
model_type: BlindSRModel
scale: 2
num_gpu: auto
manual_seed: 0
datasets: {}
network_k: {type: FixedKernel, source: bicubic}
network_g: {type: Bicubic}
"""


def test_the_result_has_the_size_that_was_asked_for():
    lq = benchmark_scaling.make_lq(megapixels=0.48, scale=4)  # 600x800
    assert lq.shape == (1, 3, 150, 200) and 0 <= lq.min() < lq.max() <= 1


def test_an_image_is_timed():
    opt = yaml.safe_load(OPTIONS) | {'num_gpu': 0}
    assert 0 < benchmark_scaling.restore(opt, benchmark_scaling.make_lq(0.002, 2), 'a') < 60


def test_mistakes_are_one_line(tmp_path, capsys):
    file = tmp_path / 'x.yml'
    file.write_text(OPTIONS)
    assert benchmark_scaling.main([str(file), '--force_yml', 'network_g:type=Bicubik']) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith('error: --force_yml network_g:type=Bicubik: network_g: type: Bicubik is unknown, did you')
