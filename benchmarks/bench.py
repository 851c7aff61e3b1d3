"""What the benchmarks share: the models to compare, what they answered, one table, one JSON file.

A benchmark plans a run for every seed, trains mediscope and the baselines on its folds, and keeps what
each answered for the test scans in `benchmarks/predictions/NAME-SEED.csv`, with commit, time and versions
beside it. What is there is not trained again, so a benchmark can be made in several sittings; `--again MODEL`
forgets an answer and what was trained for it. From all the answers it writes `mediscope/results/NAME.json`.

A network is trained by the loop of the package on the same folds, with the same preprocessing, augmentation,
averaging of weights and choice of the epoch; its learning rate is chosen on the validation part of the first fold,
from three, or more while the highest is the best.
Times are those of the processor, so a pause does not count.

A model is a function of a run and its table (the split with the cache entries) that returns what to store:
a table with `path` and the columns of the model, and the facts about how they came about.
"""
from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from filelock import FileLock
from mediscope.data import Augment, InputError, digest, make_loader, publish
from mediscope.diffusion import MediScope
from mediscope.evaluate import Report, predict_run, protocol, summarise, without_nan
from mediscope.train import batch_seeds, fit, load_state, parts_of, pick_device, plan, read_csv, save_state, scores, train, versions, write_csv
from torch import nn

ROOT = Path(__file__).parents[1]
STORE = ROOT/'benchmarks/predictions'
RATES = 3e-4, 1e-3, 3e-3  # learning rates to choose from; higher ones too, while the highest is the best


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
    return dict(classes=c['classes'], shape=c['prep']['shape'], spacing=c['prep']['spacing'], about=c['about'], init=c.get('init'), **c['training'])


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


def write_json(value, path): publish(Path(path), lambda to: to.write_text(json.dumps(value, indent=1)))


def smoothed(net, batch, volume):
    "The loss of a network that starts from nothing, as in phase 1."
    return F.cross_entropy(net(volume), batch.label, label_smoothing=.1)


class Recipe(NamedTuple):
    "How a network is made and trained."
    make: object              # (run, fold) → network
    epochs: int
    loss: object = smoothed   # (network, batch, augmented volume) → scalar
    settle: float = .75       # of `fit`
    patience: float = .25     # of `fit`


def learned(recipe, run, fold, parts, lr, file):
    "Train a network on a fold, or load it; returns it with what is known about its training."
    torch.manual_seed(0)
    device, config, start = pick_device(), run.config, time.process_time()
    net = recipe.make(run, fold).to(device)
    if not file.exists():
        augment, val = Augment(**config['augment']), parts['val']
        label = val.label
        loss = lambda m, b, epoch: recipe.loss(m, b, augment(b.volume, batch_seeds(b, 0, epoch)))
        fit(net, loss, lambda m: scores(answers_of(m, val), label), parts['train'], recipe.epochs, config['training']['batch_size'], lr, device=device,
            settle=recipe.settle, patience=recipe.patience, state=file.with_suffix('.part'), name=file.stem)
        facts = dict(epochs=recipe.epochs, minutes=(time.process_time() - start)/60, commit=COMMIT, device=str(device))
        save_state(file, dict(net=net.state_dict()), scores(answers_of(net, val), label) | facts)
        file.with_suffix('.part').unlink(missing_ok=True)
    weights, facts = load_state(file)
    net.load_state_dict(weights['net'])
    return net, facts


def network(name, recipe):
    "The baseline of a network."
    def model(run, table):
        file = lambda fold, rate: run.folder/f'state/{name}-{fold}-{rate:g}.safetensors'
        folds = dict(tests(run, table))
        fold, parts = next(iter(folds.items()))
        tried, rates = {}, list(RATES)
        for rate in rates:
            tried[rate] = learned(recipe, run, fold, parts, rate, file(fold, rate))[1]
            best = min(tried, key=lambda r: tried[r]['val_nll'])
            if best == rate == rates[-1]: rates.append(float(f'{rate*10/3:.0e}'))
        nets = {fold: learned(recipe, run, fold, parts, best, file(fold, best)) for fold, parts in folds.items()}
        answers = {fold: answers_of(nets[fold][0], parts['test']).double().numpy() for fold, parts in folds.items()}
        facts = dict(epochs=recipe.epochs, rate=best, validation_loss_by_rate={f'{rate:g}': f['val_nll'] for rate, f in tried.items()})
        if all('minutes' in f for _, f in nets.values()): facts['minutes'] = round(sum(f['minutes'] for _, f in nets.values()), 1)  # without the other rates
        return columns(name, run, table, answers), facts
    return {name: model}


class Head(nn.Module):
    "What phase 2 would be without a diffusion: a perceptron adds logits to the calibrated DCG, from all that phase 2 knows; 400 thousand parameters, as phase 2 has."
    def __init__(self, model, width=460):
        super().__init__()
        self.frozen, c, k = [model.eval()], model.config, len(model.classes)  # in a list: not trained, not saved
        self.net = nn.Sequential(nn.Linear(3*k + (1 + c.regions)*c.embed + k*c.points**3, width), nn.SiLU(),
                                 nn.Linear(width, width), nn.SiLU(), nn.Linear(width, k))
        nn.init.zeros_(self.net[-1].weight); nn.init.zeros_(self.net[-1].bias)

    def forward(self, x):
        model = self.frozen[0].to(x.device)
        with torch.autocast(x.device.type, enabled=False): g = model.guide(x)
        opinions = [p.clamp(min=1e-6).log() for p in (g.p_global, g.p_local)]
        return model.calibrated(g) + self.net(torch.cat([g.logits, *opinions, g.tokens.flatten(1), g.saliency.flatten(1)], 1))


def resnet18(run, fold):
    from monai.networks.nets import resnet18
    return resnet18(spatial_dims=3, n_input_channels=1, num_classes=len(run.config['classes']), conv1_t_stride=2)  # the stem of He et al.


def densenet121(run, fold):
    "It halves a volume five times, so a smaller one is padded to 32 voxels."
    from monai.networks.nets import DenseNet121
    short = [max(32 - n, 0) for n in reversed(run.config['prep']['shape'])]  # of `pad`, the last axis first
    return nn.Sequential(nn.ConstantPad3d([side for s in short for side in (s//2, s - s//2)], 0.), DenseNet121(3, 1, len(run.config['classes'])))


def densenet121_half(run, fold):
    "At half the resolution, where a training at the whole would take ten hours of a processor."
    return nn.Sequential(nn.AvgPool3d(2), densenet121(run, fold))


def head(run, fold):
    if not run.done(): raise InputError(f'{run.folder}: dcg_mlp needs the models of mediscope, which are not here; leave it out, or train mediscope --again.')
    return Head(MediScope.from_pretrained(run.fold_folder(fold)/'model'))


def networks(epochs, of_phase_2=20):
    "A perceptron on the frozen features, trained as phase 2 is, and two networks of MONAI for `epochs`."
    plain = lambda net, batch, volume: F.cross_entropy(net(volume), batch.label)
    return (network('dcg_mlp', Recipe(head, of_phase_2, plain, settle=0., patience=.5))
            | network('densenet121', Recipe(densenet121, epochs)) | network('resnet18', Recipe(resnet18, epochs)))


def regression(name, features):
    "The baseline of a logistic regression on features(paths) (n, d) that need no image."
    def model(run, table):
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
        x = features(table.path)
        def answer(parts):
            known = parts['train'].index + parts['val'].index  # it chooses nothing on the validation part
            return make_pipeline(StandardScaler(), LogisticRegression()).fit(x[known], parts['train'].labels[known]).predict_proba(x[parts['test'].index])
        return columns(name, run, table, {fold: answer(parts) for fold, parts in tests(run, table)}), {}
    return {name: model}


def header(root):
    "The shortcut: what a file tells before a voxel is read, its shape, spacing and extent in mm."
    def features(paths):
        images = [nib.load(root/p) for p in paths]
        return np.log([[*i.shape, *i.header.get_zooms(), *np.multiply(i.shape, i.header.get_zooms())] for i in images])
    return regression('header', features)


# --- one benchmark ---

def phantoms(folder, **settings):
    "A folder of phantoms, written if it does not exist."
    from mediscope.phantom import write_phantoms
    return folder if folder.exists() else write_phantoms(folder, **settings)


def stored(name, seed):
    "What the models answered, and how that came about: (table or None, {model: facts})."
    file = STORE/f'{name}-{seed}.csv'
    if not file.with_suffix('.json').exists(): return None, {}
    return read_csv(file), json.loads(file.with_suffix('.json').read_text())


def store(name, seed, run, model, new, facts):
    "Put the answers of a model beside those of the others; refuse other folds, or other scans."
    file = STORE/f'{name}-{seed}.csv'
    file.parent.mkdir(exist_ok=True)
    with FileLock(f'{file}.lock'):
        table, made = stored(name, seed)
        if any(f['split'] != facts['split'] for f in made.values()): raise InputError(f'{file}: holds answers for another split; remove it to begin again.')
        if table is None: table = new.merge(run.split[['path', 'group', 'label']], on='path', validate='1:1')
        else: table = table.drop(columns=[c for c in new if c in table and c != 'path']).merge(new, on='path', how='outer', validate='1:1', indicator=True)
        if '_merge' in table and (table.pop('_merge') != 'both').any(): raise InputError(f'{file}: {model} answered for other scans; remove it to begin again.')
        write_csv(table.round(6), file)
        write_json(made | {model: facts}, file.with_suffix('.json'))


def forget(run, model):
    "Remove what was trained for a model."
    for path in run.folder.glob('*' if model == 'mediscope' else f'state/{model}-*'):
        if path.name not in ('config.json', 'split.csv', 'state'): shutil.rmtree(path) if path.is_dir() else path.unlink()


def benchmark(name, args, baselines, **settings):
    "Answer with every model that has not answered yet, baselines for seed 0 only; print the tables, write the JSON file."
    models, device = dict(mediscope=mediscope) | baselines, str(pick_device())
    unknown = {*args.without, *args.again} - {*models}
    if unknown: raise InputError(f"no model {', '.join(unknown)}; there are {', '.join(models)}.")
    for seed in args.seeds:
        run, split = plan(args.data, ROOT/'runs/benchmarks'/f'{name}-{seed}', seed=seed, **settings)
        for model, answer in models.items():
            answered, again = model in stored(name, seed)[1], model in args.again
            if model in args.without or seed and model != 'mediscope' or answered and not again: continue
            if again: forget(run, model)
            start = time.process_time()
            new, facts = answer(run, split)
            minutes = round((time.process_time() - start)/60, 1)
            roles = digest(run.split.drop(columns='content').to_csv(index=False).encode())
            facts = dict(commit=COMMIT, minutes=minutes, device=device, versions=versions(), split=roles) | facts
            store(name, seed, run, model, new, facts)
    results = {seed: reported(name, seed, args.data, settings) for seed in range(99) if 'mediscope' in stored(name, seed)[1]}
    if results: write_json(dict(benchmark=name, title=args.title, commit=COMMIT, seeds=results), ROOT/'mediscope/results'/f'{name}.json')


def reported(name, seed, data, settings):
    "The figures of one seed, from the stored answers."
    run, _ = plan(data, ROOT/'runs/benchmarks'/f'{name}-{seed}', seed=seed, **settings)
    table, made = stored(name, seed)
    classes = run.config['classes']
    first = lambda column: (not column.startswith(('prob_', 'uncertainty')), not column.startswith('dcg'))  # mediscope, its DCG, the others
    figures = without_nan(dict(n=len(table), protocol=protocol(run, table), classes=classes, **summarise(table[sorted(table, key=first)], classes),
                               training=run.config['training'], init=run.config.get('init'), made=made))
    print(f'{name}, seed {seed}\n{Report(run.folder, figures)}\n', flush=True)
    return figures


def arguments(text, seeds):
    "The command line of a benchmark."
    names = lambda s: s.split(',')
    parser = argparse.ArgumentParser(description=text)
    parser.add_argument('data', type=Path, help='the data set')
    parser.add_argument('--seeds', type=lambda s: tuple(map(int, names(s))), default=seeds, help=f'default {",".join(map(str, seeds))}; baselines are trained with seed 0')
    parser.add_argument('--without', type=names, default=(), metavar='MODEL,MODEL', help='models to leave out; resnet18 and densenet121 take hours without a GPU')
    parser.add_argument('--again', type=names, default=(), metavar='MODEL,MODEL', help='models to train and answer again, though their answers are stored')
    parser.set_defaults(title=text.split('\n\n')[0])
    return parser.parse_args()
