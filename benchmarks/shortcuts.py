"""Shortcuts and leaks: what is left when the image, or the truth, is taken away. `shuffled` and `body` should be near chance.

- `shuffled`: LIDC with the labels shuffled among the patients, through the whole pipeline; a fifth of the epochs.
- `box`: LIDC crops of which only the extent is left; what it reaches, every model may have reached by the size of the file.
- `body`: phantoms of the default difficulty of which only the outline of the body is left, lungs filled.
- `header`: phantoms, a logistic regression on shape, spacing and slice count of the files (that of LIDC stands in its table).
"""
from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import bench
from bench import COMMIT, ROOT, header, write_json
from lidc import SETTINGS
from mediscope.data import publish, read_scan, write_nifti
from mediscope.evaluate import Report, estimate, predict_run, probabilities, protocol, summarise, without_nan
from mediscope.train import plan, train, versions
from scipy.ndimage import binary_fill_holes, label

FOLDER, AIR = ROOT/'runs/shortcuts', -300  # HU between air and body


def shuffled(csv, seed=0):
    "A copy of the table of nodules in which every patient has the labels of others, in the order in which those had them."
    table = pd.read_csv(csv)
    table = table[table.label.isin(SETTINGS['classes'])].sort_values('patient', kind='stable')
    patients = np.random.default_rng(seed).permutation(table.patient.unique())
    other = table.set_index('patient').loc[patients].label.to_numpy()
    table = table.assign(label=other, path=[str((csv.parent/p).resolve()) for p in table.path])
    publish(FOLDER/'shuffled.csv', lambda to: table.to_csv(to, index=False))
    return FOLDER/'shuffled.csv'


def boxes(csv):
    "A copy of the nodules in which every voxel of a crop is 0 HU, but for one of 1 HU: crops of one size would be one scan otherwise, and share a fold."
    table = pd.read_csv(csv)
    table = table[table.label.isin(SETTINGS['classes'])]
    for i, path in enumerate(table.path):
        to = FOLDER/'boxes'/path
        if to.exists(): continue
        scan = read_scan(csv.parent/path)
        hu = np.zeros(scan.hu.shape, np.int16)
        hu.flat[i] = 1
        publish(to, lambda temporary: write_nifti(temporary, hu, scan))
    publish(FOLDER/'boxes/labels.csv', lambda to: table.to_csv(to, index=False))
    return FOLDER/'boxes/labels.csv'


def body(scan):
    "The largest thing that is not air, filled slice by slice: (x, y, z) of 0 and -1000 HU."
    things, _ = label(scan.hu > AIR)
    largest = things == np.bincount(things.ravel())[1:].argmax() + 1
    filled = np.stack([binary_fill_holes(largest[..., z]) for z in range(largest.shape[2])], 2)
    return np.where(filled, 0, -1000).astype(np.int16)


def bodies(phantoms):
    "Phantoms reduced to their outline, in the same folders."
    for path in sorted(phantoms.rglob('study_????.nii.gz')):
        to = FOLDER/'bodies'/path.relative_to(phantoms)
        if not to.exists():
            scan = read_scan(path)
            publish(to, lambda temporary: write_nifti(temporary, body(scan), scan))
    return FOLDER/'bodies'


def figures(name, data, **settings):
    "Train, answer, summarise."
    run = train(data, FOLDER/name, **settings)
    table, classes = predict_run(run), run.config['classes']
    found = without_nan(dict(n=len(table), protocol=protocol(run, table), classes=classes, training=run.config['training'], **summarise(table, classes)))
    print(f'{name}\n{Report(None, found)}\n', flush=True)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='labels.csv of the nodules')
    args = parser.parse_args()
    phantoms = bench.phantoms(FOLDER/'phantoms', n=200)
    found = dict(shuffled=figures('shuffled', shuffled(args.data), epochs_dcg=6, epochs_diffusion=4, **SETTINGS),
                 box=figures('box', boxes(args.data), epochs_dcg=6, epochs_diffusion=4, **SETTINGS),
                 body=figures('body', bodies(phantoms), shape=(64, 64, 32)))
    run, split = plan(phantoms, FOLDER/'header', shape=(64, 64, 32))
    table = header(phantoms)['header'](run, split)[0].merge(run.split, on='path')
    y = (table.label == run.config['classes'][1]).astype(int).to_numpy()
    found['header'] = dict(n=len(y), auc=estimate('auc', probabilities(table, run.config['classes'], 'header_'), y, table.group.to_numpy())._asdict())
    facts = dict(benchmark='shortcuts', commit=COMMIT, versions=versions(), probes=found)
    write_json(facts, ROOT/'mediscope/results/shortcuts.json')


if __name__ == '__main__': main()
