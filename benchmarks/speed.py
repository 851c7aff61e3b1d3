"""What every stage costs, as a ratio to something that everybody knows, run in turn on the same machine.

`make bench` runs it. Times are medians of five alternating runs on one core, unless a row says otherwise; memory is the peak of a fresh
process above what it held before. `--only WORD` runs the rows whose name holds the word and writes nothing.
Writes `mediscope/results/speed.json`.
"""
from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from bench import COMMIT, ROOT, write_json
from mediscope.data import Augment, Prep, Scan, Volumes, alike, find_scans, make_loader, prepare_scans, publish, read_scan, write_entry, write_nifti
from mediscope.dcg import DCG, dcg_loss, default_roi
from mediscope.diffusion import Config, MediScope
from mediscope.train import train_dcg, train_diffusion, versions
from scipy import ndimage

RUNS, SHAPE, BATCH = 5, (128, 128, 64), 4
ROWS = {}  # name → (function, what it is compared with, its target, how the ratio is read)


class Cost(NamedTuple):
    "Of ours and of theirs, in the same unit."
    ours: float
    theirs: float
    unit: str = 's'
    note: str = ''


def row(name, against, target, faster=True):
    "Register a row; `faster`: the ratio is theirs to ours, and at least the target, else ours to theirs, and at most."
    def register(function):
        ROWS[name] = function, against, target, faster
        return function
    return register


def seconds(run):
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turn(ours, theirs, runs=RUNS, note='')->Cost:
    "Median times of two functions that take turns, after one unmeasured call of each."
    ours(); theirs()
    times = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    return Cost(*map(median, zip(*times)), note=note)


def alone(code, **env):
    "What a fresh process prints that runs `code` in this folder, with one thread."
    env = os.environ | dict(OMP_NUM_THREADS='1', PYTHONWARNINGS='ignore', PYTHONPATH=os.pathsep.join([str(ROOT), str(Path(__file__).parent)])) | env
    return subprocess.run([sys.executable, '-c', code], env=env, capture_output=True, text=True, check=True).stdout


def peak_mb(before, code):
    "MB that a fresh process needs at most for `code`, beyond the most that it needed for `before` (Linux); large blocks go back to the system when they are freed."
    peak = "int(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])/1024"
    return float(alone(f'{before}\nmark = {peak}\n{code}\nprint({peak} - mark)', MALLOC_MMAP_THRESHOLD_='1000000').split()[-1])


# --- inputs ---

TEMPORARY = tempfile.TemporaryDirectory()  # removed at the end
def folder(): return Path(TEMPORARY.name)


@lru_cache(maxsize=None)
def chest():
    "A real CT of 512×512×64 voxels as `.nii.gz`."
    place = ROOT.parent/'shared/data/chest-ct'
    found = [p for p in sorted(place.glob('*.nii.gz')) if nib.load(p).shape == (512, 512, 64)]
    if not found: raise SystemExit(f'{place}: no CT of 512×512×64 voxels; put one there as .nii.gz.')
    return found[0]


@lru_cache(maxsize=None)
def chests(n=8):
    "A folder of copies of it that differ by a voxel, in two classes."
    scan = read_scan(chest())
    for i in range(n):
        hu = scan.hu.copy()
        hu[0,0,0] = i
        to = folder()/f'chests/{"ab"[i % 2]}/{i}.nii.gz'
        publish(to, lambda temporary: write_nifti(temporary, hu, scan))
    return folder()/'chests'


@lru_cache(maxsize=None)
def entries(n=32):
    "Prepared volumes of random voxels."
    rng = np.random.default_rng(0)
    paths = [folder()/f'entries/{i}.npy' for i in range(n)]
    for path in paths: publish(path, lambda to: write_entry(to, rng.random(SHAPE, np.float32).astype(np.float16), '0'*32))
    return paths


def volumes(n): return Volumes([entries()[i % len(entries())] for i in range(n)], np.arange(n) % 2, range(n))


@lru_cache(maxsize=None)
def batch(n=BATCH): return torch.rand(n, 1, *SHAPE, generator=torch.Generator().manual_seed(0))


def fresh(**config):
    torch.manual_seed(0)
    return MediScope(Config(**config), Prep(SHAPE), ('a', 'b'))


# --- what it is compared with ---

def recipe(path):
    "The common way from a file to a volume; `zoom` picks voxels without looking at those between them."
    hu = np.clip(nib.load(path).get_fdata(), -1000, 400)
    return ndimage.zoom((hu + 1000)/1400, np.divide(SHAPE, hu.shape), order=1)


def with_scipy(volume, rng):
    "The changes of `Augment` for one volume (x, y, z)."
    a, b, c = rng.uniform(-1, 1, 3)*np.pi/18
    turn = (np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]]) @ np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
            @ np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]]))*rng.uniform(.9, 1.1)
    middle = (np.array(volume.shape) - 1)/2
    if rng.random() < .5: volume = volume[::-1]
    volume = ndimage.affine_transform(volume, turn, middle - turn @ middle + rng.uniform(-.05, .05, 3)*volume.shape, order=1)
    volume = volume + rng.normal(0, rng.uniform(0, .02), volume.shape).astype(np.float32)
    return np.clip(volume*rng.uniform(.95, 1.05) + rng.uniform(-.02, .02), 0, 1)


def network(name):
    from monai.networks.nets import DenseNet121, resnet18
    torch.manual_seed(0)
    return DenseNet121(3, 1, 2) if name == 'densenet121' else resnet18(spatial_dims=3, n_input_channels=1, num_classes=2, conv1_t_stride=2)


# --- rows ---

@row('read and prepare', 'get_fdata, clip, scipy.ndimage.zoom', 4)
def _(): return in_turn(lambda: Prep(SHAPE)(read_scan(chest())), lambda: recipe(chest()))


@row('read and prepare, beside unpacking', 'igzip alone', 1.6, faster=False)
def _():
    from isal import igzip
    def unpack():
        with igzip.open(chest()) as f:
            while f.read(2**20): pass  # the fastest way: its checksum looks at bytes that are still in the cache
    return in_turn(lambda: Prep(SHAPE)(read_scan(chest())), unpack)


@row('memory of read and prepare', 'the voxels of the file, 2 bytes each', 2.5, faster=False)
def _():
    warm = f'import numpy as np, torch; from mediscope.data import *; Prep({SHAPE})(Scan(np.zeros((64, 64, 8), np.int16), np.eye(4)))'
    return Cost(peak_mb(warm, f'Prep({SHAPE})(read_scan({str(chest())!r}))'), 512*512*64*2/2**20, 'MB')


@row('prepare a folder, two workers', 'one worker', 1.8)
def _():
    cohort, turn = find_scans(chests(24)), iter(range(99))
    prepare = lambda jobs: lambda: prepare_scans(cohort, Prep(SHAPE), folder()/f'cache-{next(turn)}', jobs)
    return in_turn(prepare(2), prepare(1), note='24 scans of 512×512×64')


@row('read a batch from the cache', 'the training step that uses it', 10)
def _():
    loader = make_loader(volumes(BATCH), BATCH)
    return in_turn(lambda: list(loader), training_step(DCG(2)))


@row('memory of the loader, 2,000 scans', '100 scans', 1.1, faster=False)
def _():
    need = lambda n: peak_mb('import speed; speed.torch.set_num_threads(1); speed.entries()', f'for b in speed.make_loader(speed.volumes({n}), {BATCH}): pass')
    return Cost(need(2000), need(100), 'MB')


@row('augment a batch', 'the same with scipy, one scan at a time', 5)
def _():
    rng, seeds = np.random.default_rng(0), range(BATCH)
    return in_turn(lambda: Augment()(batch(), seeds), lambda: [with_scipy(v, rng) for v in batch()[:,0].numpy()])


def training_step(net, loss=dcg_loss):
    "Forwards and backwards on a batch."
    label = torch.arange(BATCH) % 2
    net.train()
    def step():
        net.zero_grad()
        loss(net(batch()), label).backward()
    return step


@row('training step of the DCG', 'the same network, channels first', 2)
def _():
    from torch.utils.flop_counter import FlopCounterMode
    ours = training_step(DCG(2))
    cost = in_turn(ours, training_step(DCG(2).to(memory_format=torch.contiguous_format)))
    with FlopCounterMode(display=False) as counter: ours()
    square = torch.rand(2048, 2048)
    rate = 2*2048**3/median([seconds(lambda: square @ square) for _ in range(RUNS)])
    return cost._replace(note=f'{counter.get_total_flops()/cost.ours/rate:.0%} of the rate of a 2048×2048 matrix product ({rate/1e9:.0f} GFLOP/s), {counter.get_total_flops()/1e9:.0f} GFLOP a step')


@row('epoch of phase 2, no augmentation', 'the DCG at every step', 3)
def _():
    class Unsaid(Augment):
        "No change, which does not say so."
        still = False
        def __call__(self, x, seeds): return x
    train, val = volumes(16), volumes(4)
    def phase(augment): return lambda epochs: train_diffusion(fresh(), train, val, augment, 0, torch.device('cpu'), epochs=epochs, batch_size=BATCH)
    def epoch(phase, n): return (seconds(lambda: phase(n + 1)) - seconds(lambda: phase(1)))/n  # without what is done once
    ours, theirs = phase(Augment(0, 0, 0, (), 0, 0, 0)), phase(Unsaid())
    return Cost(*map(median, zip(*[(epoch(ours, 10), epoch(theirs, 2)) for _ in range(RUNS)])))


def prediction(draws):
    model = fresh().eval()
    return lambda: model.sample(model.guide(batch()[:1]), steps=10, draws=draws), lambda: model.guide(batch()[:1])


@row('prediction, 10 steps, 1 draw', 'one pass of the DCG', 1.3, faster=False)
def _(): return in_turn(*prediction(1), runs=15)


@row('prediction, 10 steps, 16 draws', 'one pass of the DCG', 2, faster=False)
def _(): return in_turn(*prediction(16), runs=15)


for name in ('resnet18', 'densenet121'):
    @row(f'training step, beside {name}', f'{name} of MONAI', 1)
    def _(name=name): return in_turn(training_step(DCG(2)), training_step(network(name), torch.nn.functional.cross_entropy))

    @row(f'prediction, beside {name}', f'{name} of MONAI', 1)
    def _(name=name):
        net = network(name).eval()
        @torch.no_grad()
        def theirs(): net(batch()[:1])
        return in_turn(prediction(8)[0], theirs)

    @row(f'memory of a training step, beside {name}', f'{name} of MONAI', 1)
    def _(name=name):
        need = lambda net, loss: peak_mb('import speed; import torch.nn.functional as F; speed.torch.set_num_threads(1); speed.batch()', f'speed.training_step({net}, {loss})()')
        return Cost(need('speed.DCG(2)', 'speed.dcg_loss'), need(f'speed.network({name!r})', 'F.cross_entropy'), 'MB')


@row('import mediscope.train', 'import torch', 1.3, faster=False)
def _(): return in_turn(lambda: alone('import mediscope.train'), lambda: alone('import torch'))


# --- growth ---

def training_of(side):
    "A training step of the DCG on one cube."
    net, x, label = DCG(2).train(), torch.rand(1, 1, side, side, side), torch.tensor([1])
    def step():
        net.zero_grad()
        dcg_loss(net(x), label).backward()
    return step


@lru_cache(maxsize=None)
def many(n):
    "A cohort of n scans of 32³ voxels, which differ by a voxel."
    scan, place = Scan(np.zeros((32, 32, 32), np.int16), np.diag([8., 8, 8, 1])), folder()/f'many-{n}'
    for c in 'ab': (place/c).mkdir(parents=True)
    for i in range(n):
        hu = scan.hu.copy()
        hu[0,0,0] = i
        write_nifti(place/f'{"ab"[i % 2]}/{i}.nii.gz', hu, scan)
    return find_scans(place)


def preparing(n):
    "The preparation of n such scans."
    turn = iter(range(99))
    return lambda: prepare_scans(many(n), Prep((32, 32, 32)), folder()/f'cache-{n}-{next(turn)}', 1)


def comparing(n):
    "The search for scans that are nearly the same, among n of them."
    rng, place = np.random.default_rng(0), folder()/f'to-compare-{n}'
    place.mkdir()
    paths = [place/f'{i}.npy' for i in range(n)]
    for path in paths: write_entry(path, ndimage.zoom(rng.random((4, 4, 2), np.float32), 8, order=1).astype(np.float16), '0'*32)
    table = pd.DataFrame(dict(path=[p.name for p in paths], entry=paths))
    return lambda: alike(table, Prep.window)


def epoch_of(n):
    "An epoch of phase 1 on n scans of 32³ voxels, validation of sixteen included."
    table, _ = prepare_scans(many(n), Prep((32, 32, 32)), folder()/f'cache-{n}', 1)
    part = lambda size: Volumes(table.entry.tolist(), np.arange(n) % 2, range(size))
    model = lambda: MediScope(Config(roi=default_roi((32, 32, 32))), Prep((32, 32, 32)), ('a', 'b'))
    return lambda: train_dcg(model(), part(n), part(16), Augment(), 0, torch.device('cpu'), epochs=1, batch_size=BATCH)


def asking(steps=10, draws=8, **config):
    "A prediction."
    model = fresh(**config).eval()
    return lambda: model.sample(model.guide(batch()[:1]), steps=steps, draws=draws)


GROWTH = {  # what grows → (a task of that size, sizes)
    'voxels, training step of the DCG': (lambda n: training_of(round(n**(1/3))), [s**3 for s in (64, 96, 128, 192, 256)]),
    'scans, prepared': (preparing, (50, 200, 800, 5000)),
    'scans, epoch of phase 1': (epoch_of, (50, 200, 800, 5000)),
    'scans, compared by a check': (comparing, (50, 200, 800, 5000)),
    'DDIM steps, prediction': (lambda n: asking(steps=n), (5, 10, 20, 50, 100)),
    'draws, prediction': (lambda n: asking(draws=n), (1, 4, 16, 64, 256)),
    'regions, prediction': (lambda n: asking(regions=n), (1, 3, 8, 16)),
    'grid points, prediction': (lambda n: asking(points=round(n**(1/3))), (1, 8, 64, 512)),
}


def growth(task, sizes):
    "Seconds for every size: the median of three after one that is not measured, or that one where it takes longer than half a minute."
    found = []
    for n in sizes:
        run = task(n)
        first = seconds(run)
        found.append(first if first > 30 else median(seconds(run) for _ in range(3)))
    return dict(sizes=list(sizes), seconds=found)


def power(sizes, seconds):
    "With which power of the size the time grows over the last three sizes."
    return float(np.log(seconds[-1]/seconds[-3])/np.log(sizes[-1]/sizes[-3]))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--only', default='', metavar='WORD', help='rows whose name holds it')
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    for name, (measure, against, target, faster) in ROWS.items():
        if args.only not in name: continue
        cost = measure()
        ratio = cost.theirs/cost.ours if faster else cost.ours/cost.theirs
        met = ratio >= target if faster else ratio <= target
        found.append(dict(stage=name, against=against, target=target, faster=faster, ratio=ratio, met=met, **cost._asdict()))
        print(f"{name:42} {ratio:6.2f} times {'the cost of' if not faster else 'as fast as' if cost.unit == 's' else 'less than'} {against} ({'at least' if faster else 'at most'} {target}{'' if met else ': missed'}; "
              f"{cost.ours:.3g} and {cost.theirs:.3g} {cost.unit}) {cost.note}", flush=True)
    grown = {name: growth(*g) for name, g in GROWTH.items() if args.only in name}
    for name, g in grown.items(): print(f"{name:42} grows with the power {power(**g):.2f} at its end: {', '.join(f'{n:,}: {t:.3g} s' for n, t in zip(g['sizes'], g['seconds']))}")
    if not args.only: write_json(dict(benchmark='speed', commit=COMMIT, versions=versions(), cores=os.cpu_count(), rows=found, growth=grown), ROOT/'mediscope/results/speed.json')


if __name__ == '__main__': main()
