"""What a GPU makes of it: scans a second in every precision, memory, waiting, a whole training, the same bits twice.

It needs a GPU and writes `mediscope/results/gpu.json`. `--device cpu` runs the same code on small volumes, to see that it
runs; what only a GPU can show stays empty, and so does the file, unless there are figures in it already.
A training step is that of `Fit`: augmentation, both ways, clipping, optimiser and averaging of weights.
"""
from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
import warnings
from pathlib import Path
from unittest.mock import patch

import torch
import torch.nn.functional as F
from bench import COMMIT, ROOT, write_json
from mediscope.data import Augment, Batch, Prep
from mediscope.dcg import DCG, dcg_loss, default_roi
from mediscope.diffusion import Config, MediScope, diffusion_loss
from mediscope.phantom import write_phantoms
from mediscope.train import Fit, batch_seeds, precision, train, versions
from speed import network
from torch.utils.flop_counter import FlopCounterMode

FILE = ROOT/'mediscope/results/gpu.json'
ROWS = {}  # name → (function of a `Machine`, unit, target)


def row(name, unit='scans/s', target=''):
    "Register a row: its function returns (value, note), of which None is a value that only a GPU has."
    def register(function):
        ROWS[name] = function, unit, target
        return function
    return register


class Machine:
    "A device, and sizes that suit it."
    def __init__(self, device):
        self.device, self.gpu = torch.device(device), device != 'cpu'
        self.shape, self.batch, self.steps = ((128, 128, 64), 8, 30) if self.gpu else ((32, 32, 16), 2, 2)
        self.scans, self.epochs, self.scale = (200, (50, 100), 1.) if self.gpu else (8, (1, 1), .25)

    def batches(self):
        volume = torch.rand(self.batch, 1, *self.shape, generator=torch.Generator().manual_seed(0))
        return [Batch(volume, torch.arange(self.batch) % 2, torch.arange(self.batch))]*self.steps

    def wait(self):
        if self.gpu: torch.cuda.synchronize()

    def model(self):
        torch.manual_seed(0)
        return MediScope(Config(roi=default_roi(self.shape)), Prep(self.shape), ('a', 'b'))

    def fit(self, net, loss, kind=None):
        "A `Fit` in a precision: 'no', 'fp16', 'bf16'; default: the one that a training takes."
        with patch('mediscope.train.precision', lambda device: kind or precision(device)): return Fit(net, loss, 3*self.steps, 1e-4, self.device)

    def rate(self, fit):
        "Scans a second of training, after an epoch that is not measured."
        fit.epoch(self.batches(), 1)
        self.wait()
        start = time.perf_counter()
        mean = fit.epoch(self.batches(), 2)
        self.wait()
        if mean != mean: raise ArithmeticError('the loss is not a number')
        return self.batch*self.steps/(time.perf_counter() - start)


def phase_1(net, batch, epoch): return dcg_loss(net(Augment()(batch.volume, batch_seeds(batch, 0, epoch))), batch.label)


def phase_2(model, batch, epoch):
    seeds = batch_seeds(batch, 0, epoch)
    return diffusion_loss(model, model.guide(Augment()(batch.volume, seeds)), batch.label, seeds)


@row('training step of phase 1')
def _(on):
    dcg = on.model().dcg
    rate = on.rate(on.fit(dcg, phase_1))
    volume, label = (v.to(on.device) for v in on.batches()[0][:2])
    with FlopCounterMode(display=False) as counter: dcg_loss(dcg(volume), label).backward()
    side, kind = (8192, torch.bfloat16 if precision(on.device) == 'bf16' else torch.half) if on.gpu else (512, torch.float)
    square = torch.rand(side, side, device=on.device, dtype=kind)
    square @ square
    on.wait()
    start = time.perf_counter()
    for _ in range(10): square @ square
    on.wait()
    peak = 20*side**3/(time.perf_counter() - start)
    return rate, f'{precision(on.device)}; {counter.get_total_flops()*rate/on.batch/peak:.1%} of the rate of a {side}×{side} matrix product ({peak/1e12:.3g} TFLOP/s)'


for kind, name in dict(no='plain floats', fp16='fp16 with loss scaling').items():
    @row(f'training step of phase 1, {name}')
    def _(on, kind=kind): return (None, '') if kind == 'fp16' and not on.gpu else (on.rate(on.fit(on.model().dcg, phase_1, kind)), '')


@row('training step of phase 1, compiled')
def _(on):
    if not on.gpu: return None, ''
    dcg = on.model().dcg.to(on.device)
    fast = torch.compile(dcg)
    start = time.perf_counter()
    fast(on.batches()[0].volume.to(on.device))
    return on.rate(on.fit(dcg, lambda net, batch, epoch: phase_1(fast, batch, epoch))), f'the first call took {time.perf_counter() - start:.0f} s'


@row('training step of phase 2')
def _(on): return on.rate(on.fit(on.model().freeze_dcg(), phase_2)), ''


for name in ('resnet18', 'densenet121'):
    @row(f'training step of {name}')
    def _(on, name=name):
        if not on.gpu and name == 'densenet121': return None, 'no volume of that size fits it'
        return on.rate(on.fit(network(name), lambda net, batch, epoch: F.cross_entropy(net(Augment()(batch.volume, batch_seeds(batch, 0, epoch))), batch.label))), ''


@row('prediction, 10 steps, 8 draws')
@torch.no_grad()
def _(on):
    model, volume = on.model().to(on.device).eval(), on.batches()[0].volume.to(on.device)
    def ask(): return model.sample(model.guide(volume)).probability.cpu()
    ask()
    start = time.perf_counter()
    for _ in range(on.steps): ask()
    return on.batch*on.steps/(time.perf_counter() - start), f'{on.batch} at a time'


@row('memory of phase 1, a batch of 8', 'GB', '≤ 8')
def _(on):
    if not on.gpu: return None, ''
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    on.rate(on.fit(on.model().dcg, phase_1))
    return torch.cuda.max_memory_reserved()/1e9, 'reserved, at its peak'


@row('times that a step of phase 1 waits', '', '0')
def _(on): return waits(on, on.model().dcg, phase_1)


@row('times that a step of phase 2 waits', '', '0')
def _(on): return waits(on, on.model().freeze_dcg(), phase_2)


def waits(on, net, loss):
    "How often a step makes the processor wait for the GPU, as torch warns of it; an epoch waits once more at its end, for its mean loss."
    if not on.gpu: return None, ''
    fit = on.fit(net, loss)
    fit.epoch(on.batches(), 1)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try: fit.epoch(on.batches(), 2)
        finally: torch.cuda.set_sync_debug_mode('default')
    places = {f'{Path(w.filename).name}:{w.lineno}' for w in seen if 'synchroniz' in str(w.message)}
    return (sum('synchroniz' in str(w.message) for w in seen) - 1)/on.steps, ', '.join(sorted(places))


@row('a training of 200 scans, 50 + 100 epochs', 'minutes', '≤ 10')
def _(on):
    with tempfile.TemporaryDirectory() as place:
        data = write_phantoms(Path(place)/'data', n=on.scans, scale=on.scale)
        start = time.perf_counter()
        run = train(data, Path(place)/'run', device=str(on.device), shape=on.shape, folds=1, epochs_dcg=on.epochs[0], epochs_diffusion=on.epochs[1])
        return (time.perf_counter() - start)/60, f'preparing included; {(run.history.epoch > 0).sum()} epochs before both phases stopped'


@row('two trainings in deterministic mode that differ', 'weights', '0')
def _(on):
    def weights():
        torch.manual_seed(0)
        model = on.model()
        on.rate(on.fit(model.dcg, phase_1))
        on.rate(on.fit(model.freeze_dcg(), phase_2))
        return model.state_dict()
    torch.use_deterministic_algorithms(True)
    try: one, two = weights(), weights()
    finally: torch.use_deterministic_algorithms(False)
    return sum(int((one[k] != two[k]).sum()) for k in one), ''


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--device', default='cuda', choices=('cuda', 'cpu'))
    device = parser.parse_args().device
    if device == 'cuda' and not torch.cuda.is_available(): raise SystemExit('torch finds no GPU; --device cpu shows that the script runs.')
    os.environ.setdefault('CUBLAS_WORKSPACE_CONFIG', ':4096:8')  # what cuBLAS needs to be deterministic, read at its first use
    on, rows = Machine(device), []
    for name, (measure, unit, target) in ROWS.items():
        value, note = measure(on)
        rows.append(dict(name=name, unit=unit, target=target, value=value if on.gpu else None, note=note if on.gpu else ''))
        print(f'{name:50} {"–" if value is None else f"{value:.3g} {unit}"} {target and f"(target {target})"} {note}', flush=True)
    if on.gpu or not FILE.exists() or not json.loads(FILE.read_text())['device']:
        write_json(dict(benchmark='gpu', commit=COMMIT, versions=versions(), device=torch.cuda.get_device_name() if on.gpu else None, batch=8, shape=(128, 128, 64), rows=rows), FILE)


if __name__ == '__main__': main()
