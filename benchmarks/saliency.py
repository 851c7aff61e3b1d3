"""Where the shipped `phantom` checkpoint looks: its map against the true lesions of new phantoms, beside untrained maps.

Pointing game [Zhang et al. 2018]: the peak of the map of the abnormal class lies on a lesion, or within one
cell (8 voxels) of one. Regions: the share that holds lesion. Enrichment: how much more lesion the top 5 % of
the map within the body hold than as many voxels anywhere in it.
"""
import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch
from bench import COMMIT, ROOT, write_json
from mediscope.data import Prep, read_scan
from mediscope.dcg import STRIDE
from mediscope.diffusion import MediScope, saliency_map
from mediscope.evaluate import interval
from mediscope.phantom import write_phantoms
from mediscope.train import versions
from scipy.ndimage import distance_transform_edt
from shortcuts import body

SHARE, LESION = .05, .25  # of the map; of a prepared voxel


def pairs(folder, n, seed, difficulty):
    "(scan, prepared lesion mask) of the abnormal ones among n new phantoms."
    write_phantoms(folder, n=n, seed=seed, difficulty=difficulty, progress=False)
    for mask in sorted(folder.rglob('*_mask.nii.gz')):
        yield read_scan(mask.with_name(mask.name.replace('_mask', ''))), read_scan(mask)


def scored(model, scan, mask):
    "What the map of a scan is worth, a number a measure."
    said = model.predict(scan, steps=1, draws=1)
    heat = saliency_map(said, model.prep.shape).numpy()
    lesion = Prep(model.prep.shape, (0., 1.), model.prep.spacing)(mask)[0].numpy() > LESION
    peak = np.unravel_index(heat.argmax(), heat.shape)
    boxes = [lesion[tuple(slice(c, c + s) for c, s in zip(corner, model.config.roi))] for corner in said.corners]
    inside = Prep(model.prep.shape, (-1000., 0.), model.prep.spacing)(scan._replace(hu=body(scan)))[0].numpy() > .5
    top = inside & (heat >= np.quantile(heat[inside], 1 - SHARE))
    return dict(peak_on_lesion=float(lesion[peak]), peak_within_a_cell=float(distance_transform_edt(~lesion)[peak] <= STRIDE),
                regions_with_lesion=float(np.mean([box.any() for box in boxes])), enrichment=float(lesion[top].mean()/lesion[inside].mean()), lesion_share=float(lesion.mean()))


def untrained(trained, seed):
    torch.manual_seed(seed)
    return MediScope(trained.config, trained.prep, trained.classes).eval()


def summary(rows, scans):
    "Means over models and scans, with 95 % intervals over the scans."
    values = {m: np.array([r[m] for r in rows]) for m in rows[0]}
    over = lambda v, scale: interval(lambda at: v[at].mean(), np.tile(np.arange(scans), len(v)//scans), scale)
    return {m: dict(zip(('value', 'low', 'high'), map(float, (v.mean(), *over(v, 'log' if m == 'enrichment' else 'logit'))))) for m, v in values.items()}


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument('--n', type=int, default=100, help='phantoms, half of them abnormal (default 100)')
parser.add_argument('--seed', type=int, default=2026, help='of the phantoms (default 2026)')
args = parser.parse_args()
model, found = MediScope.from_pretrained('phantom'), {}
for difficulty in (0., .5):
    with tempfile.TemporaryDirectory() as folder:
        scans = list(pairs(Path(folder)/'phantoms', args.n, args.seed, difficulty))
    found[f'{difficulty:g}'] = {name: summary([scored(m, *pair) for m in models for pair in scans], len(scans))
                                for name, models in dict(trained=[model], untrained=[untrained(model, s) for s in range(3)]).items()}
    for name, r in found[f'{difficulty:g}'].items(): print(f'difficulty {difficulty:g}, {name:10}', *[f"{m} {e['value']:.3f} ({e['low']:.3f}–{e['high']:.3f})" for m, e in r.items()])
facts = dict(benchmark='saliency', commit=COMMIT, versions=versions(), n=args.n//2, seed=args.seed, difficulty=found)
write_json(facts, ROOT/'mediscope/results/saliency.json')
