"""What the benchmarks share: the models to compare, what they answered, one table, one JSON file.

A benchmark plans a run for every seed, trains mediscope and the baselines on its folds, and keeps what
each answered for the test scans in `benchmarks/predictions/NAME-SEED.csv`, with commit, time and versions
beside it. What is there is not trained again, so a benchmark can be made in several sittings and on
several machines; `--again MODEL` renews an answer. From all the answers it writes `mediscope/results/NAME.json`.

A network is trained by the loop of the package on the same folds, with the same preprocessing, augmentation,
averaging of weights and choice of the epoch; its learning rate is chosen on the validation part of the first fold.

A model is a function of a run and its table (the split with the cache entries) that returns what to store:
a table with `path` and the columns of the model, and the facts about how they came about.
"""
from __future__ import annotations

import argparse
import json
import subprocess
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from mediscope.data import Augment, make_loader, publish
from mediscope.diffusion import MediScope
from mediscope.evaluate import Report, predict_run, protocol, summarise, without_nan
from mediscope.train import batch_seeds, fit, load_state, parts_of, pick_device, plan, read_csv, save_state, scores, train, versions, write_csv
from torch import nn

ROOT = Path(__file__).parents[1]
STORE = ROOT/'benchmarks/predictions'
RATES = 3e-4, 1e-3, 3e-3  # learning rates to choose from


def git(*args): return subprocess.run(['git', *args], cwd=ROOT, capture_output=True, text=True).stdout.strip()


COMMIT = git('rev-parse', '--short', 'HEAD') + ('+' if git('status', '--porcelain', '--', 'mediscope/*.py', 'benchmarks/*.py') else '')


# --- models ---

def mediscope(run, table):
    "mediscope, its DCG with and without temperature, and the baselines of the package."
    train(run.data, run.folder, **settings_of(run))
    return predict_run(run).drop(columns=['group', 'label']), {}


def settings_of(run):
    "The arguments of `plan` that a run was made with, as far as a benchmark sets them."
    c = run.config
    return dict(classes=c['classes'], shape=c['prep']['shape'], spacing=c['prep']['spacing'], about=c['about'], **c['training'])


def tests(run, table):
    "(fold, its parts {role: Volumes}) for every fold with test scans."
    for fold in run.folds():
        if (table[f'role_{fold}'] == 'test').any(): yield fold, parts_of(table, fold, run.config['classes'])


def columns(name, run, table, answers):
    "Answers {fold: (n, k)} as a table."
    found = [pd.DataFrame(p, columns=[f'{name}_prob_{c}' for c in run.config['classes']]).assign(path=table.path.iloc[parts['test'].index].to_numpy())
             for (fold, parts), p in zip(tests(run, table), answers.values())]
    return pd.concat(found, ignore_index=True)


@torch.no_grad()
def answers_of(net, volumes):
    "Probabilities (n, k), on the CPU."
    device = next(net.parameters()).device
    return torch.cat([net.eval()(b.volume.to(device)).float().softmax(1).cpu() for b in make_loader(volumes, 8)])


def learned(net, parts, config, lr, epochs, device, file):
    "Train a network as the DCG is trained, or load it; returns the lowest validation loss and the network."
    if not file.exists():
        augment, val, device = Augment(**config['augment']), parts['val'], torch.device(device)
        label = torch.tensor([int(val[i].label) for i in range(len(val))])
        loss = lambda m, b, epoch: F.cross_entropy(m(augment(b.volume, batch_seeds(b, 0, epoch))), b.label, label_smoothing=.1)
        fit(net, loss, lambda m: scores(answers_of(m, val), label), parts['train'], epochs, config['training']['batch_size'], lr, device=device,
            settle=.75, state=file.with_suffix('.part'), name=file.stem)
        save_state(file, dict(net=net.state_dict()), scores(answers_of(net, val), label))
        file.with_suffix('.part').unlink()
    weights, facts = load_state(file)
    net.load_state_dict(weights['net'])
    return facts['val_nll'], net


def network(name, make, epochs):
    "The baseline of a network that `make(run, fold)` builds."
    def model(run, table):
        device, config, answers, rates, losses = pick_device(), run.config, {}, RATES, {}
        for fold, parts in tests(run, table):
            tried = {}
            for rate in rates:
                torch.manual_seed(0)
                net = make(run, fold).to(device)
                tried[rate] = learned(net, parts, config, rate, epochs, device, run.folder/f'state/{name}-{fold}-{rate:g}.safetensors')
            best = min(tried, key=lambda rate: tried[rate][0])
            answers[fold], rates = answers_of(tried[best][1], parts['test']).double().numpy(), (best,)
            losses = losses or {f'{rate:g}': loss for rate, (loss, _) in tried.items()}  # of the first fold
        return columns(name, run, table, answers), dict(epochs=epochs, rate=best, validation_loss_by_rate=losses)
    return {name: model}


class Head(nn.Module):
    "A perceptron on all that phase 2 knows about a scan; 400 thousand parameters, as phase 2 has."
    def __init__(self, model, width=256):
        super().__init__()
        self.frozen, c, k = [model.eval()], model.config, len(model.classes)  # in a list: not trained, not saved
        self.net = nn.Sequential(nn.Linear(3*k + (1 + c.regions)*c.embed + k*c.points**3, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, k))

    def forward(self, x):
        g = self.frozen[0].to(x.device).guide(x)
        opinions = [p.clamp(min=1e-6).log() for p in (g.p_global, g.p_local)]
        return self.net(torch.cat([g.logits, *opinions, g.tokens.flatten(1), g.saliency.flatten(1)], 1))


def resnet18(run, fold):
    from monai.networks.nets import resnet18
    return resnet18(spatial_dims=3, n_input_channels=1, num_classes=len(run.config['classes']), conv1_t_stride=2)  # the stem of He et al.


def densenet121(run, fold):
    from monai.networks.nets import DenseNet121
    return DenseNet121(3, 1, len(run.config['classes']))


def head(run, fold): return Head(MediScope.from_pretrained(run.fold_folder(fold)/'model'))


def networks(epochs, of_phase_2=20):
    "A perceptron on the frozen features for as many epochs as phase 2 has, and two networks of MONAI for `epochs`."
    return network('dcg_mlp', head, of_phase_2) | network('densenet121', densenet121, epochs) | network('resnet18', resnet18, epochs)


def regression(name, features):
    "The baseline of a logistic regression on features(paths) (n, d) that need no image."
    def model(run, table):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        x = features(table.path)
        def answer(parts):
            known, new = parts['train'], parts['test']
            return make_pipeline(StandardScaler(), LogisticRegression()).fit(x[known.index], known.labels[known.index]).predict_proba(x[new.index])
        return columns(name, run, table, {fold: answer(parts) for fold, parts in tests(run, table)}), {}
    return {name: model}


def header(root):
    "The shortcut: what a file tells before a voxel is read, its shape, spacing and extent in mm."
    def features(paths):
        images = [nib.load(root/p) for p in paths]
        return np.log([[*i.shape, *i.header.get_zooms(), *np.multiply(i.shape, i.header.get_zooms())] for i in images])
    return regression('header', features)


# --- one benchmark ---

def stored(name, seed):
    "What the models answered, and how that came about: (table or None, {model: facts})."
    file = STORE/f'{name}-{seed}.csv'
    return (read_csv(file), json.loads(file.with_suffix('.json').read_text())) if file.exists() else (None, {})


def store(name, seed, table, made):
    file = STORE/f'{name}-{seed}.csv'
    write_csv(table.round(6), file)
    publish(file.with_suffix('.json'), lambda to: to.write_text(json.dumps(made, indent=1)))


def merged(table, new, run):
    "A table of predictions with new columns in place of old ones."
    if table is None: return new.merge(run.split[['path', 'group', 'label']], on='path')
    return table.drop(columns=[c for c in new if c in table and c != 'path']).merge(new, on='path', validate='1:1')


def benchmark(name, args, baselines, **settings):
    "Answer with every model that has not answered yet, baselines for the first seed only; print the tables, write the JSON file."
    device = str(pick_device())
    for seed in args.seeds:
        run, split = plan(args.data, ROOT/'runs/benchmarks'/f'{name}-{seed}', seed=seed, **settings)
        models = dict(mediscope=mediscope) | (baselines if seed == 0 else {})
        for model, answer in models.items():
            if model in args.without or model in stored(name, seed)[1] and model not in args.again: continue
            start = time.time()
            new, facts = answer(run, split)
            facts |= dict(commit=COMMIT, minutes=round((time.time() - start)/60, 1), device=device, versions=versions())
            table, made = stored(name, seed)  # read now: another process may have answered for another model
            store(name, seed, merged(table, new, run), made | {model: facts})
    results = {seed: reported(name, seed, args.data, settings) for seed in range(99) if 'mediscope' in stored(name, seed)[1]}
    if not results: return
    publish(ROOT/'mediscope/results'/f'{name}.json', lambda to: to.write_text(json.dumps(dict(benchmark=name, commit=COMMIT, seeds=results), indent=1)))


def reported(name, seed, data, settings):
    "The figures of one seed, from the stored answers."
    run, _ = plan(data, ROOT/'runs/benchmarks'/f'{name}-{seed}', seed=seed, **settings)
    table, made = stored(name, seed)
    classes = run.config['classes']
    figures = without_nan(dict(n=len(table), protocol=protocol(run, table), classes=classes, **summarise(table, classes), training=run.config['training'], made=made))
    print(f'{name}, seed {seed}\n{Report(run.folder, figures)}\n', flush=True)
    return figures


def arguments(text, seeds):
    "The command line of a benchmark."
    names = lambda s: s.split(',')
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument('data', type=Path, help='the data set')
    parser.add_argument('--seeds', type=lambda s: tuple(map(int, names(s))), default=seeds, help=f'default {",".join(map(str, seeds))}; baselines are trained with seed 0')
    parser.add_argument('--without', type=names, default=(), metavar='MODEL,MODEL', help='models to leave out; resnet18 and densenet121 take hours without a GPU')
    parser.add_argument('--again', type=names, default=(), metavar='MODEL,MODEL', help='models to answer again, though their answers are stored')
    return parser.parse_args()
