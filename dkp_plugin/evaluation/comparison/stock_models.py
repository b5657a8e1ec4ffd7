"""BasicSR's own models in a comparison; they need no ``network_k`` and save images but no metrics."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from dkp_plugin.evaluation.checks import check_metrics
from dkp_plugin.evaluation.evaluate import evaluate, metric_data, required_arguments
from dkp_plugin.evaluation.provenance import Provenance
from dkp_plugin.evaluation.records import Records
from dkp_plugin.evaluation.stock import load_item
from dkp_plugin.evaluation.stock_network import build_stock_network, check_stock_weights
from dkp_plugin.host.errors import ImageError, OptionError, UserError
from dkp_plugin.io.images import decode_image


def check_stock_model(opt: Mapping[str, Any]) -> None:
    """Check an option file of one of BasicSR's models: network, weights and metrics.

    Args:
        opt: The options, completed as BasicSR's ``parse_options`` does.

    Raises:
        OptionError: for the first invalid option.
    """
    for key in ('scale', 'network_g'):
        if opt.get(key) is None:
            raise OptionError(f'{key}: missing')
    build_stock_network(opt['network_g'])
    check_stock_weights(opt)
    if not opt['val']['save_img']:
        raise OptionError(
            f'val: save_img: {opt["val"]["save_img"]} is not allowed in a comparison, which measures the saved images '
            f'of {opt["model_type"]}'
        )
    metrics = opt['val'].get('metrics') or {}
    check_metrics(metrics)
    for name, metric in metrics.items():
        missing = [key for key in required_arguments(metric['type']) if key not in ('img', 'img2', *metric)]
        if missing:
            raise OptionError(
                f'val: metrics: {name}: {metric["type"]} needs {", ".join(missing)}, which {opt["model_type"]} does '
                'not have'
            )


def measure_saved_images(records: Records, dataset: Dataset, scale: int, suffix: str) -> None:
    """Measure the images that a model saved, and write their records.

    Args:
        records: Records of the data set; the records of saved images are added to them.
        dataset: The data set, whose item n belongs to image n of the records.
        scale: Scale factor.
        suffix: Suffix of the image name in the file name.
    """
    provenance = Provenance(records.opt)
    for index, name in enumerate(records.image_names):
        path = records.results_root / 'visualization' / records.dataset_name / f'{Path(name).name}_{suffix}.png'
        if not path.is_file():
            continue
        try:
            item = load_item(dataset, index)
            values = _measure(path, item, records.metric_options, scale)
        except UserError as error:
            records.add({'image': name, 'error': str(error)}, {})
            continue
        records.add({'image': name, **values, 'seed': records.opt.get('manual_seed')}, provenance.of(item))
    records.write_summary()


def _measure(
    path: Path, item: Mapping[str, Any], metrics: Mapping[str, Mapping[str, Any]], scale: int
) -> dict[str, float]:
    """Compute the metrics of a saved image.

    Raises:
        ImageError: if the image cannot be read or has an unexpected size.
    """
    result = decode_image(path.read_bytes(), str(path))[None]
    width, height = (scale * side for side in (item['lq'].shape[-1], item['lq'].shape[-2]))
    if result.shape[-2:] != (height, width):
        raise ImageError(
            f'{path}: {result.shape[-1]}x{result.shape[-2]} pixels, but the LR image at scale {scale} needs '
            f'{width}x{height}'
        )
    truth = {} if item.get('gt') is None else {'gt': item['gt'][None]}
    return evaluate(metrics, metric_data({'lq': item['lq'][None], 'result': result, **truth}, scale))[0]
