"""Do the statistics keep their promise? `python torture/promises.py [--long]`.

Studies are simulated in worlds whose truth is known, and evaluated as `mediscope evaluate` does. A 95 % interval must contain
the truth in 93 to 97 of 100 studies, a test must find a difference between two models that are alike in 4 to 6 of 100. Beside
every rate stands its own 95 % interval, for the number of studies; a promise is broken where that lies outside altogether.
What is known to be outside has bounds of its own, in KNOWN. The short form has fewer studies and therefore notices less.
"""
import argparse, math, os, sys, time
from typing import NamedTuple
os.environ['OMP_NUM_THREADS'] = '1'
import numpy as np
import torch
from scipy.special import expit
from scipy.stats import binomtest, norm
from mediscope.evaluate import compare, estimate, measure
from mediscope.train import fit_temperature

COVERED, REJECTED = (.93, .97), (.04, .06)
METRICS = 'auc', 'accuracy', 'balanced_accuracy', 'brier', 'nll', 'ece'
KNOWN = {  # (metric, or what is counted and metric; world; n), '' for any → bounds
    ('ece', '', ''): (.93, 1),                                   # the lower end allows for chance in full
    ('brier', 'AUC .98', 60): (.86, .97), ('nll', 'AUC .98', ''): (.85, .97), ('nll', 'patients', 60): (.9, .97),  # two dozen patients, or a few errors, hold most of the loss
    ('p < .05, accuracy', '', ''): (0, .06), ('p < .05, balanced_accuracy', '', ''): (0, .06),  # few scans differ: p has few values, of which none is just below .05
    ('interval without 0, ece', '', ''): (0, .06),               # wide: it never cries wolf, and finds little
    ('interval without 0, auc', '', 60): (0, .06),
}

def bounds(what, world, n, usual):
    "The usual bounds, or the first that are known."
    return next((b for (w, place, m), b in KNOWN.items() if (w == what or not w and ',' not in what) and place in world and m in ('', n)), usual)


class World(NamedTuple):
    "Scores of two Gaussians; p is their posterior, raised to a power."
    name: str
    auc: float
    sharp: float = 1.     # 1: calibrated; more: too sure
    patients: bool = False # of one to four scans, which share luck and mostly the label
    shuffled: bool = False # labels that know nothing of the scan

    def groups(self, n, rng):
        sizes = rng.integers(1, 5, n)
        return np.repeat(np.arange(n), sizes)[:n] if self.patients else np.arange(n)

    def luck(self, g, rng):
        return math.sqrt(.6)*rng.normal(size=g[-1] + 1)[g] + math.sqrt(.4)*rng.normal(size=len(g)) if self.patients else rng.normal(size=len(g))

    def study(self, n, rng, models=1, shared=.5)->tuple: # ([p (n, 2)], y, groups)
        "What models that are alike, and share half of their luck, say about n scans."
        d, g = math.sqrt(2)*norm.ppf(self.auc), self.groups(n, rng)
        y = (rng.random(g[-1] + 1) < .5)[g] ^ (self.patients & (rng.random(n) < .15))
        both = self.luck(g, rng)
        scores = [math.sqrt(shared)*both + math.sqrt(1 - shared)*self.luck(g, rng) + d*y - d/2 for _ in range(models)]
        said = [expit(self.sharp*d*s) for s in scores]
        return [np.stack([1 - p, p], 1) for p in said], (rng.permutation(y) if self.shuffled else y).astype(int), g

    def truth(self, n=400_000):
        "Every metric in a study so large that chance is gone."
        (p,), y, _ = self._replace(patients=False).study(n, np.random.default_rng(0))
        return {m: measure(m, p, y) for m in METRICS} | (dict(auc=.5) if self.shuffled else dict(auc=self.auc))

WORLDS = [World('AUC .85', .85), World('AUC .98', .98), World('AUC .85, too sure', .85, 1.6), World('AUC .85, patients', .85, patients=True), World('AUC .98, patients', .98, patients=True)]


class Tally:
    "Rows of the table and what is lost."
    def __init__(self): self.lost = 0

    def rate(self, what, hits, bounds, usual):
        "A measured rate beside what it should be."
        ci = binomtest(int(sum(hits)), len(hits)).proportion_ci(method='wilson')
        known = '' if bounds == usual else f', known: {100*bounds[0]:g}–{100*bounds[1]:g}'
        self.row(what, f'{100*np.mean(hits):5.1f} %  ({100*ci.low:.1f}–{100*ci.high:.1f}, {len(hits)} studies)  should be {100*usual[0]:g}–{100*usual[1]:g}{known}', ci.high < bounds[0] or ci.low > bounds[1])

    def row(self, what, found, lost=False):
        print(f"{'LOST' if lost else '    '} {what:<52} {found}", flush=True)
        self.lost += bool(lost)


def coverage(tally, world, n, studies, metrics=METRICS):
    "How often the intervals contain the truth."
    truth, inside = world.truth(), {m: [] for m in metrics}
    for seed in range(studies):
        (p,), y, g = world.study(n, np.random.default_rng([seed, n]))
        for m in metrics:
            e = estimate(m, p, y, g)
            inside[m].append(e.low <= truth[m] <= e.high)
    for m in metrics: tally.rate(f'interval of {m}, {world.name}, N = {n}', inside[m], bounds(m, world.name, n, COVERED), COVERED)

def rejection(tally, world, n, studies, metrics=METRICS, permutations=200):
    "How often models that are alike are found to differ, by p and by the interval that leaves out zero."
    found = {m: [] for m in metrics}
    for seed in range(studies):
        (a, b), y, g = world.study(n, np.random.default_rng([seed, n, 1]), models=2)
        for m in metrics:
            c = compare('a', 'b', m, a, b, y, g, permutations, seed)
            found[m].append((c.p < .05, not c.low <= 0 <= c.high))
    for m in metrics:
        for what, hits in zip(('p < .05', 'interval without 0'), zip(*found[m])):
            tally.rate(f'{what}, {m}, alike, {world.name}, N = {n}', hits, bounds(f'{what}, {m}', world.name, n, REJECTED), REJECTED)

def temperature(tally, studies):
    "A known temperature is found with many scans, and few scans move it little, always towards 1."
    def told(n, true, seed):
        g = torch.Generator().manual_seed(seed)
        z = torch.randn(n, 2, generator=g)*2
        return z, torch.multinomial((z/true).softmax(1), 1, generator=g)[:,0]
    for true in (.6, 1, 1.7, 3):
        off = max(abs(math.log(fit_temperature(*told(40_000, true, seed))/true)) for seed in range(3))
        tally.row(f'temperature {true} from 40000 scans', f'off by {100*off:.1f} % at most, should be below 5', off > .05)
    for true in (.6, 1.7):
        share = {n: np.mean([math.log(fit_temperature(*told(n, true, seed)))/math.log(true) for seed in range(studies)]) for n in (10, 50, 500)}
        tally.row(f'temperature {true} from 10, 50 and 500 scans', 'share of log τ: ' + ', '.join(f'{s:.2f}' for s in share.values()) + ', should grow between 0 and 1', not 0 < share[10] < share[50] < share[500] < 1.05)
    z, y = told(60, 1.7, 0)
    risk = lambda s: torch.nn.functional.cross_entropy(z.double()/math.exp(s), y, reduction='sum').item() + 32*s**2
    best, grid = math.log(fit_temperature(z, y)), np.linspace(-1, 1, 2001)
    tally.row('temperature from 60 scans, beside a search of a grid', f'{best:+.4f} and {grid[np.argmin([risk(s) for s in grid])]:+.4f}', abs(best - grid[np.argmin([risk(s) for s in grid])]) > .002)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='more studies, of more worlds (minutes)')
    parser.add_argument('--only', default='', help='interval, test or temperature')
    args, tally, start = parser.parse_args(), Tally(), time.monotonic()
    if args.only in ('', 'temperature'): temperature(tally, 200 if args.long else 40)
    if args.only in ('', 'interval'):
        for n, studies in (((60, 1000), (200, 500), (463, 200)) if args.long else ((60, 240),)):
            for world in WORLDS if args.long else WORLDS[::3]: coverage(tally, world, n, studies)
        for n, studies in (((60, 1000), (463, 200)) if args.long else ((60, 240),)):
            for patients in (False, True): coverage(tally, World(f"shuffled labels{', patients'*patients}", .85, patients=patients, shuffled=True), n, studies, ['auc'])
    if args.only in ('', 'test'):
        for n, studies in (((60, 600), (200, 200)) if args.long else ((60, 60),)):
            for world in (WORLDS[0], WORLDS[3]): rejection(tally, world, n, studies)
    print(f'{tally.lost} lost, {time.monotonic() - start:.0f} s')
    return tally.lost > 0


if __name__ == '__main__': sys.exit(main())
