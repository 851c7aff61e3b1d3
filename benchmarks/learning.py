"""Learning curves on LIDC: mediscope, its DCG and DenseNet-121 after 50, 100, 200 and all training scans.

The first two folds of `lidc.py` with their own test parts. Smaller training parts are stratified and drawn by
patient; the validation part stays whole (some 55 scans, which choose the epoch and the temperature), and every
model has the epochs of `lidc.py`, so with fewer scans it makes fewer steps. The learning rate of DenseNet-121 is
the one that `lidc.py` chose with all scans.
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from bench import COMMIT, ROOT, Recipe, answers_of, densenet121, learned, stored, write_json
from lidc import SETTINGS
from mediscope.data import Augment, InputError, Volumes, hold_out, publish, seed_of
from mediscope.diffusion import MediScope
from mediscope.evaluate import estimate, predict_volumes, probabilities, without_nan
from mediscope.train import parts_of, plan, train_dcg, train_diffusion, versions

SIZES, FOLDS, FOLDER = (50, 100, 200), ('0', '1'), ROOT/'runs/learning'
SHOWN = 'auc', 'nll', 'accuracy'


def fewer(volumes, groups, n):
    "About n scans of a training part, stratified, by whole groups."
    index, share = np.array(volumes.index), n/len(volumes)
    part = hold_out(volumes.labels[index].numpy(), groups[index], min(share, 1 - share), 0)
    return Volumes(volumes.entries, volumes.labels, index[part if share < .5 else ~part])


def ours(run, part, fold, n):
    "Answers of mediscope trained on the training part."
    c, device = run.config, torch.device('cpu')
    s, seed = c['training'], seed_of(c['training']['seed'], *fold.encode())
    torch.manual_seed(seed)
    model, augment = MediScope(c['architecture'], c['prep'], c['classes']), Augment(**c['augment'])
    common = dict(device=device, batch_size=s['batch_size'], lr=s['lr'], seed=seed)
    train_dcg(model, part['train'], part['val'], augment, epochs=s['epochs_dcg'], name=f'{n} scans, fold {fold}, dcg', **common)
    train_diffusion(model, part['train'], part['val'], augment, epochs=s['epochs_diffusion'], name=f'{n} scans, fold {fold}, diffusion', **common)
    said = predict_volumes(model, part['test'])
    return dict(mediscope=said.probability, dcg=said.dcg)


def theirs(run, part, fold, n, facts):
    "Answers of DenseNet-121."
    net, _ = learned(Recipe(densenet121, facts['epochs']), run, fold, part, facts['rate'], FOLDER/f'densenet121-{n}-{fold}.safetensors')
    return dict(densenet121=answers_of(net, part['test']).double().numpy())


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='labels.csv of the nodules')
    args = parser.parse_args()
    run, table = plan(args.data, ROOT/'runs/benchmarks/lidc-0', seed=0, **SETTINGS)
    full, made = stored('lidc', 0)
    if not {'mediscope', 'densenet121'} <= {*made}: raise InputError('the answers of mediscope and densenet121 after all scans are not stored; run benchmarks/lidc.py first.')
    classes, groups = run.config['classes'], table.group.to_numpy()
    answers, y, g = {}, [], []
    for fold in FOLDS:
        part = parts_of(table, fold, classes)
        rows = np.array(part['test'].index)
        y.append(part['test'].labels[rows].numpy()); g.append(groups[rows])
        for n in SIZES:
            small = part | dict(train=fewer(part['train'], groups, n))
            file = FOLDER/f'{n}-{fold}.npz'
            if not file.exists():
                said = ours(run, small, fold, n) | theirs(run, small, fold, n, made['densenet121'])
                publish(file, lambda to: np.savez(to.open('wb'), n=len(small['train']), **said))
            for name, p in np.load(file).items(): answers.setdefault(n, {}).setdefault(name, []).append(p)
        known = full.set_index('path').loc[table.path.iloc[rows]]
        for name, prefix in dict(mediscope='', dcg='dcg_', densenet121='densenet121_').items():
            answers.setdefault('all', {}).setdefault(name, []).append(probabilities(known, classes, prefix))
        answers['all'].setdefault('n', []).append(len(part['train']))
    y, g, curves = np.concatenate(y), np.concatenate(g), []
    for models in answers.values():
        n = float(np.mean(models.pop('n')))
        curves.append(dict(scans=n, models={name: {m: estimate(m, np.concatenate(p), y, g)._asdict() for m in SHOWN} for name, p in models.items()}))
        print(f'{n:.0f} training scans:', *[f"{name} {r['auc']['value']:.3f} ({r['auc']['low']:.3f}–{r['auc']['high']:.3f})" for name, r in curves[-1]['models'].items()])
    facts = dict(benchmark='learning', commit=COMMIT, versions=versions(), n=len(y), folds=FOLDS, curves=without_nan(curves))
    write_json(facts, ROOT/'mediscope/results/learning.json')


if __name__ == '__main__': main()
