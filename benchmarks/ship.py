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
from mediscope.phantom import write_phantoms

PHANTOMS = dict(n=3, seed=11, difficulty=0.)
PARTS = 'model/model.safetensors', 'model/config.json', 'report.json', 'README.md'


def reference(folder):
    "What the model in a folder says of the phantoms."
    model = MediScope.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as scans:
        paths = sorted(write_phantoms(Path(scans)/'scans', **PHANTOMS, progress=False).rglob('study_????.nii.gz'))
        return dict(phantoms=PHANTOMS, probability={p.name: [round(float(v), 6) for v in model.predict(read_scan(p)).probability] for p in paths})


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('name', help='phantom or lidc-nodules')
parser.add_argument('run', type=Path, help='a run that has been evaluated')
args = parser.parse_args()
if missing := [p for p in PARTS if not (args.run/p).exists()]: raise InputError(f'{args.run}: no {", ".join(missing)}; train and evaluate it first.')
folder = ROOT/'mediscope/checkpoints'/args.name
for part in PARTS: publish(folder/Path(part).name, lambda to: shutil.copyfile(args.run/part, to))
said = reference(folder)
publish(folder/'reference.json', lambda to: to.write_text(json.dumps(said, indent=1)))
print(args.name, said['probability'])
