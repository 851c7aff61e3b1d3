"""What the benchmarks share: the baselines, one run a seed, one table, one JSON file.

A benchmark trains with the package's own `train`, reads the test scans with `predict_run`, and writes
`mediscope/results/NAME.json`. What is finished is kept in `runs/benchmarks`, so a script that was
stopped goes on where it was. Every network is trained by the same loop on the same folds, with the
same augmentation, epochs and choice of the epoch; its learning rate is chosen on validation data.

A baseline is a function of the parts of a fold {role: Volumes} and the fold's mediscope model, and
returns probabilities (n, k) of the test part. It is made by a function of the run and a folder.
"""
import argparse
import json
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
from mediscope.data import Augment, digest, make_loader, publish
from mediscope.evaluate import BASELINES, Report, predict_run, protocol, summarise, without_nan
from mediscope.train import batch_seeds, fit, scores, train
from torch import nn

ROOT = Path(__file__).parents[1]
RATES = 3e-4, 1e-3, 3e-3  # learning rates to choose from, on the validation part of the first fold


class Head(nn.Module):
    "A perceptron on all that phase 2 knows about a scan; 400 thousand parameters, as phase 2 has."
    def __init__(self, model, width=256):
        super().__init__()
        self.guide, c, k = model.guide, model.config, len(model.classes)
        self.net = nn.Sequential(nn.Linear(3*k + (1 + c.regions)*c.embed + k*c.points**3, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, k))

    def forward(self, x):
        g = self.guide(x)
        opinions = [p.clamp(min=1e-6).log() for p in (g.p_global, g.p_local)]
        return self.net(torch.cat([g.logits, *opinions, g.tokens.flatten(1), g.saliency.flatten(1)], 1))


@torch.no_grad()
def answers(net, volumes):
    "Probabilities (n, k)."
    return torch.cat([net.eval()(b.volume).softmax(1) for b in make_loader(volumes, 8)])


def learn(net, parts, settings, lr):
    "Train a network as the DCG is trained; returns its lowest validation loss."
    train_part, val, epochs = parts['train'], parts['val'], settings['training']['epochs_dcg']
    augment = Augment(**{k: tuple(v) if isinstance(v, list) else v for k, v in settings['augment'].items()})
    label = torch.tensor([val[i].label for i in range(len(val))])
    loss = lambda m, b, epoch: F.cross_entropy(m(augment(b.volume, batch_seeds(b, 0, epoch))), b.label, label_smoothing=.1)
    history = fit(net, loss, lambda m: scores(answers(m, val), label), train_part, epochs, settings['training']['batch_size'], lr,
                  settle=.75, name=f'{type(net).__name__}, lr {lr:g}')
    return min(row['val_nll'] for row in history if row['epoch'] > .75*epochs)


def trained(name, make):
    "The baseline of a network that `make(model)` builds for every fold."
    def of_run(run, folder):
        def fresh(model):
            torch.manual_seed(0)
            return make(model)

        def rate(parts, model):
            file = folder/f'{name}-rates.json'
            if not file.exists():
                tried = {lr: learn(fresh(model), parts, run.config, lr) for lr in RATES}
                publish(file, lambda to: to.write_text(json.dumps(tried)))
            tried = json.loads(file.read_text())
            return float(min(tried, key=tried.get))

        def baseline(parts, model):
            file = folder/f'{name}-{digest(repr(parts["test"].index).encode())}.npy'
            if not file.exists():
                net = fresh(model)
                learn(net, parts, run.config, rate(parts, model))
                p = answers(net, parts['test']).double().numpy()
                publish(file, lambda to: np.save(to.open('wb'), p))
            return np.load(file)
        return {name: baseline}
    return of_run


def resnet18(model):
    from monai.networks.nets import resnet18
    return resnet18(spatial_dims=3, n_input_channels=1, num_classes=len(model.classes))


def densenet121(model):
    from monai.networks.nets import DenseNet121
    return DenseNet121(3, 1, len(model.classes))


MLP = trained('dcg_mlp', Head)
NETWORKS = [trained(make.__name__, make) for make in (resnet18, densenet121)]


def regression(name, features):
    "The baseline of a logistic regression on features(paths) (n, d) that need no image."
    def of_run(run, folder):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        x = features(run.split.path)
        def baseline(parts, model):
            known, new = parts['train'], parts['test']
            fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(x[known.index], known.labels[known.index])
            return fitted.predict_proba(x[new.index])
        return {name: baseline}
    return of_run


def header(root):
    "The shortcut: what a file tells before a voxel is read, its shape, spacing and extent in mm."
    def features(paths):
        images = [nib.load(root/p) for p in paths]
        return np.log([[*i.shape, *i.header.get_zooms(), *np.multiply(i.shape, i.header.get_zooms())] for i in images])
    return regression('header', features)


def commit():
    "The commit of the working tree, with a + where it has changes."
    git = lambda *a: subprocess.run(['git', *a], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git('rev-parse', '--short', 'HEAD') + ('+' if git('status', '--porcelain', '--', 'mediscope', 'benchmarks') else '')


def benchmark(name, args, baselines, **settings):
    "Train and evaluate once a seed, with the baselines once; print the table, write the JSON file."
    results, start = {}, time.time()
    for seed in args.seeds:
        out = ROOT/'runs/benchmarks'/f'{name}-{seed}'
        run = train(args.data, out, seed=seed, **settings)
        own = {} if results else {k: v for of_run in baselines for k, v in of_run(run, out/'state').items() if k not in args.without}
        table, classes = predict_run(run, baselines=BASELINES | own), run.config['classes']
        results[seed] = without_nan(dict(n=len(table), protocol=protocol(run, table), classes=classes, **summarise(table, classes)))
        print(f'{name}, seed {seed}\n{Report(out, results[seed])}\n', flush=True)
    facts = dict(benchmark=name, commit=commit(), versions=run.config['versions'], seconds=round(time.time() - start), training=run.config['training'], seeds=results)
    publish(ROOT/'mediscope/results'/f'{name}.json', lambda to: to.write_text(json.dumps(facts, indent=1)))


def arguments(text, seeds):
    "The command line of a benchmark."
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument('data', type=Path, help='the data set')
    parser.add_argument('--seeds', type=lambda s: tuple(map(int, s.split(','))), default=seeds, help='the baselines are trained with the first')
    parser.add_argument('--without', type=lambda s: s.split(','), default=(), metavar='NAME,NAME', help='baselines to leave out; resnet18 and densenet121 take hours without a GPU')
    return parser.parse_args()
