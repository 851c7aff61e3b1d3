"""A run becomes a checkpoint of the package: its model, its card, its report, and what it says of three phantoms.

The shipped checkpoints are made by

    mediscope phantom runs/data/easy --n 120 --seed 7 --difficulty 0
    mediscope train runs/data/easy --out runs/phantom --folds 1 --seed 1 --batch-size 2 --lr 0.001 --epochs-dcg 30 --epochs-diffusion 8 \\
        --about '120 synthetic chest CT scans (mediscope phantom --n 120 --seed 7 --difficulty 0): it has never seen a patient.'
    mediscope evaluate runs/phantom
    python benchmarks/ship.py phantom runs/phantom

    python benchmarks/lidc.py LABELS.csv
    mediscope evaluate runs/benchmarks/lidc-0
    python benchmarks/ship.py lidc-nodules runs/benchmarks/lidc-0

Phase 1 of `phantom` is of an earlier commit than its phase 2, with the same settings. `nbs/results.ipynb` compares the predictions, so a model that has become another one is noticed.
"""
import argparse
import json
import shutil
import tempfile
from pathlib import Path

from bench import ROOT
from mediscope.data import InputError, publish, read_scan
from mediscope.diffusion import MediScope
from mediscope.evaluate import show
from mediscope.phantom import write_phantoms

PHANTOMS = dict(n=3, seed=11, difficulty=0.)
PARTS = 'model/model.safetensors', 'model/config.json', 'report.json', 'README.md'


def reference(folder):
    "What the model in a folder says of the phantoms."
    model = MediScope.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as scans:
        paths = sorted(write_phantoms(Path(scans)/'scans', **PHANTOMS, progress=False).rglob('study_????.nii.gz'))
        return dict(phantoms=PHANTOMS, probability={p.name: [round(float(v), 6) for v in model.predict(read_scan(p)).probability] for p in paths})


def limits(name):
    "What the card of a shipped model has to say besides, with the figures of the benchmarks."
    if name == 'phantom': return 'Of two seeds, each with a split of its own, this is the one with the lower log loss on its validation scans.'
    figures = lambda file: json.loads((ROOT/f'mediscope/results/{file}.json').read_text())
    lidc, box = figures('lidc')['seeds']['0']['models'], figures('shortcuts')['probes']['box']['models']['mediscope']
    return (f"On the same folds a logistic regression on the diameter that a radiologist measured has an AUC of {show(lidc['diameter']['auc'])}, and one on shape and spacing of the file "
            f"{show(lidc['header']['auc'])}: a crop is as large as its nodule, and with every voxel but one set to 0 HU the same pipeline still reaches {show(box['auc'])}. "
            'The design has seen the test scans. Nodules about which the radiologists were undecided (264 of 727) were left out.')


def with_limits(card, name): return card.replace('## Limits\n\n', f'## Limits\n\n{limits(name)}\n\n')


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('name', help='phantom or lidc-nodules')
parser.add_argument('run', type=Path, help='a run that has been evaluated')
args = parser.parse_args()
if missing := [p for p in PARTS if not (args.run/p).exists()]: raise InputError(f'{args.run}: no {", ".join(missing)}; train and evaluate it first.')
folder = ROOT/'mediscope/checkpoints'/args.name
for part in PARTS: publish(folder/Path(part).name, lambda to: shutil.copyfile(args.run/part, to))
card = with_limits((folder/'README.md').read_text(), args.name)
publish(folder/'README.md', lambda to: to.write_text(card))
said = reference(folder)
publish(folder/'reference.json', lambda to: to.write_text(json.dumps(said, indent=1)))
print(args.name, said['probability'])
