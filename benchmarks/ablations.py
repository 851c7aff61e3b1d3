"""Ablations on LIDC: what each part of mediscope is worth, with what was expected written beside it.

The test scans of the first fold of `lidc.py` stay closed: its other scans are split once more, three-fold by
patient, and the out-of-fold answers of two of the folds pooled. A variant of phase 2 uses the classifiers of the default, and what they say of the
augmented scans is computed once for all of them. What moves along with a change is said beside it. The
variants with another seed change nothing at all: they are the noise in which the others have to be seen.

What a variant answers is kept beside the answers of the benchmarks and not asked again, unless by `--again VARIANT`.
"""
from __future__ import annotations

import argparse
import shutil
import time
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from bench import COMMIT, ROOT, STORE, store, stored, write_json
from lidc import SETTINGS
from mediscope.data import InputError, Volumes, assign_roles, digest, find_scans, merge_groups, per_scan, prepared, seed_of
from mediscope.dcg import DCG, crop, dcg_loss, default_roi
from mediscope.diffusion import Config, Guide, MediScope, add_noise, cosine_schedule, draw_steps, focal_weight, label_map
from mediscope.evaluate import Answers, compare, estimate, predict_volumes, probabilities, without_nan
from mediscope.train import default_augment, default_prep, default_windows, train_dcg, train_diffusion, versions, write_csv
from torch import nn

FOLDER, NAME = ROOT/'runs/ablations', 'ablations'
FOLDS, READ, SEED = 3, 2, 0  # two of the three folds are read: all of them would cost half as much again
BATCH, RATE, EPOCHS = 8, 2e-3, dict(dcg=30, diffusion=20)
SHOWN = 'auc', 'nll', 'ece', 'error_auroc'


class Variant(NamedTuple):
    "One change of the default, and what it was expected to do."
    name: str
    expected: str
    phase: int = 2       # the first phase that has to be trained again; 3: neither
    config: dict = {}    # of `Config`
    augment: dict = {}   # of `Augment`
    epochs: dict = {}    # of EPOCHS
    names: dict = {}     # what stands under a name of the package instead
    model: type = MediScope
    seed: int = 0        # of weights, augmentation and noise

    @property
    def folder(self): return FOLDER/''.join(c if c.isalnum() else '-' for c in self.name)


# --- what stands instead ---

def without_saliency(out, label):
    "The loss of the DCG without the two terms that train its map."
    return sum(F.cross_entropy(logits, label, label_smoothing=.1) for logits in (out.logits, out.local_logits))


def one_step_a_scan(seeds, p, T):
    "`draw_steps` with the same step at all points."
    return draw_steps(seeds, 1, T).expand(-1, p, p, p)


class Silent(nn.Module):
    "Stands for the guidance map or the feature prior and says nothing: `says(*inputs)` is a constant."
    def __init__(self, says):
        super().__init__()
        self.says = says
    def forward(self, *inputs): return self.says(*inputs)


class NoMap(MediScope):
    "M is the same everywhere and for all classes."
    def __init__(self, *args):
        super().__init__(*args)
        self.guidance = Silent(lambda p_global, p_local, saliency: torch.full_like(saliency, 1/saliency.shape[1]))


class FixedMap(MediScope):
    "The distance rule, not trained."
    def freeze_dcg(self):
        self.guidance.requires_grad_(False)
        return super().freeze_dcg()


class NoPrior(MediScope):
    "F is zero."
    def __init__(self, *args):
        super().__init__(*args)
        self.prior = Silent(lambda tokens: torch.zeros_like(tokens[:, 0]))


class Untied(MediScope):
    "The network has to find out by itself what the noisy map says of its label, and what the DCG does: y_0 prediction."
    def logits(self, guide):
        m, f = self.guidance(guide.p_global, guide.p_local, guide.saliency), self.prior(guide.tokens)
        return lambda y, t: self.unet(y, t/self.config.T, m, f)


class Velocity(Untied):
    "v prediction [Salimans & Ho 2022], by the mean squared error; the answer ŷ_0 = √ᾱ y − √(1−ᾱ) v."
    def velocity(self, guide):
        m, f = self.guidance(guide.p_global, guide.p_local, guide.saliency), self.prior(guide.tokens)
        return lambda y, t: self.unet(y, t/self.config.T, m, f)

    def y0(self, guide):
        v = self.velocity(guide)
        def denoise(y, t):
            a = self.abar[t][:, None]
            return a.sqrt()*y - (1 - a).sqrt()*v(y, t)
        return denoise

    def logits(self, guide):
        "ŷ_0 of every point as log-probabilities, clipped to the simplex: what `walk` turns into ŷ_0 again."
        denoise = self.y0(guide)
        return lambda y, t: ((denoise(y, t) + 1)/2).clamp(1e-4, 1).log()


class Epsilon(Velocity):
    "ε prediction, by the mean squared error; ŷ_0 = (y − √(1−ᾱ) ε)/√ᾱ, which means nothing where ᾱ is 0, so it is kept above 10⁻³."
    def y0(self, guide):
        noise = self.velocity(guide)
        def denoise(y, t):
            a = self.abar[t][:, None].clamp(min=1e-3)
            return ((y - (1 - a).sqrt()*noise(y, t))/a.sqrt()).clamp(-1, 1)
        return denoise


def regression(target):
    "`diffusion_loss` as a regression of `target(y0, eps, ᾱ)`, with the weight of the label."
    def loss(model, guide, label, seeds):
        k, p = len(model.classes), model.config.points
        eps = per_scan(torch.randn, [seed_of(int(s), 2) for s in seeds], k, p, p, p)
        t, y0 = draw_steps([seed_of(int(s), 1) for s in seeds], p, model.config.T), label_map(label, k, p)
        a = model.abar[t][:, None]
        error = (model.velocity(guide)(add_noise(y0, eps, t, model.abar), t) - target(y0, eps, a)).square().mean((1, 2, 3, 4))
        return (focal_weight(model.calibrated(guide).exp()).gather(1, label[:, None])[:, 0]*error).mean()
    return loss


class OwnEncoders(MediScope):
    "Phase 2 has encoders of its own for the feature prior, which read the scan and the regions of the DCG; a guide carries the volumes along."
    def __init__(self, *args):
        super().__init__(*args)
        c = self.config
        self.own = DCG(len(self.classes), c.widths, c.embed, c.regions, c.roi, c.windows, c.top)

    def guide(self, x): return super().guide(x)._replace(tokens=x)

    def tokens(self, x):
        with torch.no_grad(): corners = self.dcg(x).corners
        crops, own = crop(x, corners, self.config.roi).flatten(0, 1), self.own
        seen = own.global_embed(own.pool(own.global_encoder, own.global_histograms, x)[1])
        near = own.local_embed(own.pool(own.local_encoder, own.local_histograms, crops)[1]).unflatten(0, corners.shape[:2])
        return torch.cat([seen[:, None], near], 1)

    def logits(self, guide): return super().logits(guide._replace(tokens=self.tokens(guide.tokens)))


def unweighted(p, alpha=1., gamma=2.): return torch.ones_like(p)
def unshifted(T=1000, shift=1.): return cosine_schedule(T)


D, T_ = 'mediscope.diffusion.', 'mediscope.train.'
NO_AUGMENT = dict(rotate=0., scale=0., shift=0., flips=(), brightness=0., contrast=0., noise=0.)
VARIANTS = [
    Variant('default', ''),
    Variant('another seed, both phases', 'Noise: AUC ± .005.', 1, seed=1),
    Variant('another seed, phase 2', 'Noise: AUC ± .001.', seed=1),
    # phase 1
    Variant('saliency not trained', 'Regions become arbitrary, and so does the global opinion that M uses; AUC −.01.', 1, names={T_ + 'dcg_loss': without_saliency}),
    Variant('no sparsity', 'A wider map, the same AUC.', 1, names={T_ + 'dcg_loss': partial(dcg_loss, sparsity=0.)}),
    Variant('1 region', 'A crop holds one nodule: the same.', 1, dict(regions=1)),
    Variant('regions 8×8×8', 'Less of the nodule in each: AUC −.005.', 1, dict(roi=(8, 8, 8))),
    Variant('no histograms', 'AUC −.03, the gain for which they were added.', 1, dict(windows=())),
    Variant('half the width', 'AUC −.01.', 1, dict(widths=(8, 16, 32))),
    Variant('no augmentation', 'Three hundred scans are learnt by heart: AUC −.03.', 1, augment=NO_AUGMENT),
    Variant('no averaged weights', 'Log loss +.01, AUC −.005.', 1, names={'torch.optim.swa_utils.get_ema_multi_avg_fn': lambda decay: lambda averaged, current, n: [a.copy_(c) for a, c in zip(averaged, current)]}),
    Variant('60 epochs of phase 1', 'Better training, the same AUC.', 1, epochs=dict(dcg=60)),
    # phase 2
    Variant('M: distance rule', 'The same: the opinions agree on most scans.', model=FixedMap),
    Variant('no M', 'Slightly worse log loss, F and the prior remain.', model=NoMap),
    Variant('no F', 'Log loss +.005: M says little that the prior does not.', model=NoPrior),
    Variant('no focal weight', 'The same: it is compensated in the logits.', names={D + 'focal_weight': unweighted}),
    Variant('one step a scan', 'The same: the evidence sums over the points.', names={D + 'draw_steps': one_step_a_scan}),
    Variant('schedule not shifted', 'The label shows through at most steps; less is learnt, log loss +.003.', names={D + 'SCHEDULES': dict(cosine=unshifted)}),
    Variant('linear schedule', 'The same, once shifted.', config=dict(schedule='linear')),
    Variant('p = 1', 'No map left, so no walk worth its name (the U-Net has one level, the schedule no shift); the same log loss.', config=dict(points=1)),
    Variant('p = 8', 'The same, at eight times the cost.', config=dict(points=8)),
    Variant('h = 8', 'The same.', config=dict(latent=8)),
    Variant('h = 32', 'More to overfit with: log loss +.005.', config=dict(latent=32)),
    Variant('y₀ without Bayes', 'Has to learn what can be computed: log loss +.03.', model=Untied),
    Variant('v prediction', 'Without Bayes and without the prior; AUC −.03, as an earlier version on the adrenals.', model=Velocity, names={T_ + 'diffusion_loss': regression(lambda y0, eps, a: a.sqrt()*eps - (1 - a).sqrt()*y0)}),
    Variant('ε prediction', 'Without Bayes and without the prior; worst: at pure noise ε says nothing of the label.', model=Epsilon, names={T_ + 'diffusion_loss': regression(lambda y0, eps, a: eps)}),
    Variant('own encoders for F', 'A second look at the scan: AUC +.005, log loss the same.', model=OwnEncoders),
    Variant('60 epochs of phase 2', 'Overfits; the validation part stops it: the same.', epochs=dict(diffusion=60)),
    # prediction
    *[Variant(f'{n} DDIM steps', 'The same mean.', 3, dict(steps=n)) for n in (1, 2, 5, 25, 50)],
    *[Variant(f'{n} draws', 'The same mean; a spread from few draws finds fewer errors.', 3, dict(draws=n)) for n in (1, 4, 16)],
]


# --- the study ---

class Remembered:
    "Stands for `augment` and for the volumes that it returns: what a frozen DCG says of them is computed once."
    still = False
    def __init__(self, augment, memory): self.augment, self.memory = augment, memory

    def __call__(self, volume, seeds):
        self.volume, self.seeds = volume, seeds
        return self

    def guide(self, model, guide):
        new = [i for i, s in enumerate(self.seeds) if s not in self.memory]
        if new:
            said = guide(model, self.augment(self.volume[new], [self.seeds[i] for i in new]))
            for j, i in enumerate(new): self.memory[self.seeds[i]] = Guide(*[part[j] for part in said])
        return Guide(*[torch.stack(parts) for parts in zip(*[self.memory[s] for s in self.seeds])])


def remembering(guide):
    "`MediScope.guide` that knows a `Remembered` when it sees one."
    return lambda model, x: x.guide(model, guide) if isinstance(x, Remembered) else guide(model, x)


class Study:
    "The scans outside the first test fold of LIDC, and their folds."
    def __init__(self, data):
        self.cohort = find_scans(data, SETTINGS['classes'])
        self.prep = default_prep(self.cohort, SETTINGS['shape'], SETTINGS['spacing'])
        table = prepared(self.cohort, self.prep)
        groups = merge_groups(table.group, table.content)
        kept = assign_roles(table.label, groups, 5, SEED)[:, 0] != 'test'
        self.entries, self.groups = table.entry[kept].to_numpy(), groups[kept]
        self.labels = np.array([self.cohort.classes.index(c) for c in table.label[kept]])
        self.roles = assign_roles(self.labels, self.groups, FOLDS, SEED)[:, :READ]
        self.rows = np.concatenate([np.flatnonzero(role == 'test') for role in self.roles.T])
        self.split = pd.DataFrame(dict(path=table.path[kept].iloc[self.rows], group=self.groups[self.rows], label=table.label[kept].iloc[self.rows]))
        self.memory = {}

    def answers(self, variant):
        "Out-of-fold `Answers` of a variant for `rows`."
        name, classes = variant.name, self.cohort.classes
        if name not in stored(NAME, SEED)[1]:
            default = FOLDER/f'default/{READ - 1}/model'
            if name != 'default' and variant.phase > 1 and not default.exists(): raise InputError(f'{default}: the models of the default are not here, only its answers; train them --again default.')
            with ExitStack() as stack:
                for n, value in variant.names.items(): stack.enter_context(patch(n, value))
                said = Answers(*map(np.concatenate, zip(*[self.fold(variant, f, variant.folder) for f in range(READ)])))
            new = {'path': self.split.path, f'{name}_uncertainty': said.uncertainty}
            for prefix, p in {f'{name}_': said.probability, f'{name}_dcg_': said.dcg}.items(): new |= {f'{prefix}prob_{c}': q for c, q in zip(classes, p.T)}
            store(NAME, SEED, self, name, pd.DataFrame(new), dict(commit=COMMIT, split=digest(self.split.to_csv(index=False).encode())))
        table = stored(NAME, SEED)[0].set_index('path').loc[self.split.path]
        return Answers(probabilities(table, classes, f'{name}_'), table[f'{name}_uncertainty'].to_numpy(), probabilities(table, classes, f'{name}_dcg_'), None)

    def fold(self, variant, f, folder):
        "Train what a variant changes on one fold, and answer for its test part."
        part = {r: Volumes(self.entries, self.labels, np.flatnonzero(self.roles[:, f] == r)) for r in ('train', 'val', 'test')}
        config = replace(Config(roi=default_roi(self.prep.shape), windows=default_windows(self.prep)), **variant.config)
        augment, epochs = replace(default_augment(self.prep), **variant.augment), EPOCHS | variant.epochs
        torch.manual_seed(seed_of(SEED + variant.seed, f))
        model = variant.model(config, self.prep, self.cohort.classes)
        if variant.phase == 3:
            model.load_state_dict(MediScope.from_pretrained(FOLDER/f'default/{f}/model').state_dict())
            return predict_volumes(model.eval(), part['test'])
        settings = dict(device=torch.device('cpu'), batch_size=BATCH, lr=RATE)
        own = (folder if variant.phase == 1 else FOLDER/'default')/f'{f}/dcg'
        if not (own/'config.json').exists():
            train_dcg(model, part['train'], part['val'], augment, seed_of(SEED + variant.seed, f, 1), epochs=epochs['dcg'], name=f'{variant.name}, fold {f}, dcg', **settings)
            model.dcg.save_pretrained(own)
        model.dcg.load_state_dict(DCG.from_pretrained(own).state_dict())
        with ExitStack() as stack:
            if variant.phase == 2 and variant.model is not OwnEncoders:  # the classifiers of the default, on the same augmented scans
                augment = Remembered(augment, self.memory.setdefault((f, config.points, variant.seed), {}))
                stack.enter_context(patch.object(MediScope, 'guide', remembering(MediScope.guide)))
            train_diffusion(model, part['train'], part['val'], augment, seed_of(SEED + variant.seed, f, 2), epochs=epochs['diffusion'], name=f'{variant.name}, fold {f}, diffusion', **settings)
        if variant.name == 'default': model.save_pretrained(folder/f'{f}/model')
        return predict_volumes(model, part['test'])


def figures(study, variant, said, default):
    "What a variant reaches, and its differences from the default, scan by scan."
    y, groups = study.labels[study.rows], study.groups[study.rows]
    ours = {m: estimate(m, said.probability, y, groups, u=said.uncertainty)._asdict() for m in SHOWN}
    alone = {m: estimate(m, said.dcg, y, groups)._asdict() for m in SHOWN}
    against = [compare(variant.name, 'default', m, said.probability, default.probability, y, groups, u_a=said.uncertainty, u_b=default.uncertainty)._asdict()
               for m in SHOWN if variant.name != 'default']
    return dict(expected=variant.expected, phase=variant.phase, mediscope=ours, dcg=alone, against_default=against)


def forget(names):
    "Remove the answers of variants and what was trained for them; those of the default with all that was compared with it."
    table, made = stored(NAME, SEED)
    if table is None or not names: return
    gone = [v for v in VARIANTS if v.name in names or 'default' in names]
    for v in gone: shutil.rmtree(v.folder, ignore_errors=True)
    of = lambda v: [c for c in table if c == f'{v.name}_uncertainty' or c.startswith((f'{v.name}_prob_', f'{v.name}_dcg_'))]
    write_csv(table.drop(columns=[c for v in gone for c in of(v)]), STORE/f'{NAME}-{SEED}.csv')
    write_json({name: facts for name, facts in made.items() if name not in {v.name for v in gone}}, STORE/f'{NAME}-{SEED}.json')


def main():
    args = arguments()
    forget(args.again)
    study, start, found = Study(args.data), time.process_time(), {}
    default = study.answers(VARIANTS[0])
    for v in VARIANTS:
        said = study.answers(v)
        found[v.name] = r = figures(study, v, said, default) | dict(commit=stored(NAME, SEED)[1][v.name]['commit'])
        print(f'{v.name:24}', *[f"{m} {r['mediscope'][m]['value']:.4f}" for m in SHOWN], f"| dcg auc {r['dcg']['auc']['value']:.4f} nll {r['dcg']['nll']['value']:.4f}",
              f'| {(time.process_time() - start)/60:.0f} min', flush=True)
    facts = dict(benchmark=NAME, commit=COMMIT, versions=versions(), n=len(study.rows), folds=READ, seed=SEED, epochs=EPOCHS, variants=without_nan(found))
    write_json(facts, ROOT/'mediscope/results'/f'{NAME}.json')


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('data', type=Path, help='labels.csv of the nodules')
    parser.add_argument('--again', action='append', default=[], choices=[v.name for v in VARIANTS], metavar='NAME', help='a variant to train and answer again, though its answers are stored; may be given several times')
    return parser.parse_args()


if __name__ == '__main__': main()
