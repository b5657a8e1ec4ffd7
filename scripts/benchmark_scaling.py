"""Images per second for 1, 2, ... single-threaded processes, and seconds and memory for several image sizes.

    python scripts/benchmark_scaling.py options/test/DiffDKP_real_x4.yml --out scaling

The option file sets the method; its data sets are not used. The images are a photograph from scikit-image, extended by
mirroring. The processes share the images in the same way as in a test. Start-up time is excluded: each process restores
one image to warm up, then waits for the others. Sizes are megapixels of the result; each runs in a separate process,
because the peak memory is measured per process. Writes scaling.json and, if matplotlib is installed, scaling.png.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from multiprocessing.context import SpawnContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
import torch
import torch.multiprocessing as multiprocessing

from dkp_plugin.engine.restoration import Restoration
from dkp_plugin.evaluation.records import peak_memory
from dkp_plugin.host.errors import UserError
from dkp_plugin.host.imports import import_custom
from dkp_plugin.host.option_files import read_option_file
from dkp_plugin.host.sharding import share
from dkp_plugin.io.files import write_json

Options = dict[str, Any]


def make_lq(megapixels: float, scale: int) -> torch.Tensor:
    """An LR image whose restoration has this many megapixels, (1, 3, h, w), 4:3."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4) / scale)
    photo = torch.from_numpy(skimage.data.astronaut() / np.float32(255)).permute(2, 0, 1)
    indices = [torch.arange(side) % 1024 for side in (height, round(height * 4 / 3))]
    rows, columns = (torch.minimum(index, 1023 - index) for index in indices)
    return photo[:, rows][:, :, columns].unsqueeze(0)


def restore(opt: Options, lq: torch.Tensor, name: str) -> float:
    """Restore an image; return the seconds it took."""
    import_custom(opt)  # in this process
    restoration = Restoration(opt, 'cpu')
    start = time.perf_counter()
    restoration(lq, name)
    return time.perf_counter() - start


def work(opt: Options, megapixels: float, images: int, rank: int, world: int, barrier: Barrier, queue: Any) -> None:
    """A process of the first measurement: warm up, wait for the others, restore its share."""
    torch.set_num_threads(1)
    lq = make_lq(megapixels, opt['scale'])
    restore(opt, lq, 'warm-up')
    barrier.wait()
    start = time.perf_counter()
    for index in share([lq.numel()] * images, rank, world):
        restore(opt, lq, f'image {index}')
    barrier.wait()  # for the slowest
    queue.put(time.perf_counter() - start)


def measure_size(opt: Options, megapixels: float, queue: Any) -> None:
    """A process of the second measurement."""
    torch.set_num_threads(1)
    seconds = restore(opt, make_lq(megapixels, opt['scale']), 'size')
    queue.put({'megapixels': megapixels, 'seconds': seconds, 'peak_memory_mib': peak_memory(torch.device('cpu'))})


def in_processes(context: SpawnContext, target: Any, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run a function in processes of its own and return what they put into the queue, their last argument."""
    queue = context.SimpleQueue()
    processes = [context.Process(target=target, args=(*row, queue)) for row in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise SystemExit('a process has failed, see above')
    return [queue.get() for _ in processes]


def draw(result: dict[str, Any], path: Path) -> None:
    """Draw both measurements, if matplotlib is installed."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        print('no plot: matplotlib is not installed', file=sys.stderr)
        return
    figure = Figure(figsize=(12, 4), layout='constrained')
    FigureCanvasAgg(figure)
    speed, seconds, memory = figure.subplots(1, 3)
    processes = [row['processes'] for row in result['throughput']]
    speed.plot(processes, [row['images_per_second'] for row in result['throughput']], 'o-', label='measured')
    speed.plot(processes, [result['throughput'][0]['images_per_second'] * n / processes[0] for n in processes], 'k:')
    speed.set(xlabel='processes', ylabel='images per second (dotted: proportional)', xticks=processes, ylim=0)
    sizes = [row['megapixels'] for row in result['sizes']]
    for axes, key, label in ((seconds, 'seconds', 'seconds'), (memory, 'peak_memory_mib', 'peak memory, MiB')):
        axes.plot(sizes, [row[key] for row in result['sizes']], 'o-')
        axes.set(xlabel='megapixels of the result', ylabel=label, xlim=0, ylim=0)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('file', type=Path, help='option file')
    parser.add_argument('--out', type=Path, default=Path('scaling'), metavar='DIR')
    parser.add_argument('--processes', type=int, nargs='+', default=[1, 2])
    parser.add_argument('--images', type=int, default=8, help='number of images that the processes share')
    parser.add_argument('--size', type=float, default=0.25, help='megapixels of the result of each shared image')
    parser.add_argument('--sizes', type=float, nargs='*', default=[0.1, 0.25, 0.5, 1, 2, 4], help='megapixels')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY:SUB=VALUE')
    arguments = parser.parse_args(argv)
    try:
        file = read_option_file(arguments.file)
        file.force(arguments.force_yml)
        opt = file.options | {'num_gpu': 0}
        with file.naming_places():
            import_custom(opt)
            Restoration(opt, 'cpu')
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    context = multiprocessing.get_context('spawn')
    throughput = []
    for world in arguments.processes:
        barrier = context.Barrier(world)
        rows = [(opt, arguments.size, arguments.images, rank, world, barrier) for rank in range(world)]
        rate = arguments.images / max(in_processes(context, work, rows))
        speed_up = rate / throughput[0]['images_per_second'] if throughput else 1.0
        throughput.append({'processes': world, 'images_per_second': rate, 'speed_up': speed_up})
        print(f'{world} processes: {rate:.4g} images per second, {speed_up:.2f} times as many', flush=True)
    sizes = []
    for megapixels in arguments.sizes:
        sizes += in_processes(context, measure_size, [(opt, megapixels)])
        row = sizes[-1]
        print(f'{megapixels} megapixels: {row["seconds"]:.1f} s, {row["peak_memory_mib"]:.0f} MiB', flush=True)
    result = {'options': opt, 'throughput': throughput, 'sizes': sizes}
    write_json(arguments.out / 'scaling.json', result)
    draw(result, arguments.out / 'scaling.png')
    return 0


if __name__ == '__main__':
    sys.exit(main())
