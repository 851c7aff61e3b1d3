"""Would a test notice? `python torture/mutations.py [--long] [--only WORD]`.

The package is broken on purpose, one small change at a time, in a copy: patients are ignored by the split, test scans slip
into the training, intervals forget the groups, seeds are not used. Then the notebook that should notice is run on that copy, up
to the first cell that fails. A change that nothing notices is a loss. A change must fit exactly one place of the module, so
that this list cannot grow stale in silence, and every notebook must pass before anything is broken. Exit code 0: all were noticed.
"""
import argparse, json, os, shutil, subprocess, sys, tempfile, time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
PACKAGE, SECONDS = ROOT/'mediscope', 600


class Mutation(NamedTuple):
    what: str
    module: str
    old: str
    new: str
    test: str  # a notebook, or a script in torture/


MUTATIONS = [
    Mutation('the split ignores patients', 'data', 'for v in (groups, contents))', 'for v in (contents, contents))', '00_data'),
    Mutation('the split ignores identical content', 'data', 'for v in (groups, contents))', 'for v in (groups, groups))', '00_data'),
    Mutation('a run splits without looking at the content', 'train', 'groups = merge_groups(table.group, table.content, pairs)', 'groups = merge_groups(table.group, table.group)', 'twins'),
    Mutation('a run splits without looking at the patients', 'train', 'groups = merge_groups(table.group, table.content, pairs)', 'groups = merge_groups(table.content, table.content, pairs)', 'twins'),
    Mutation('copies count as patients of their own in an interval', 'train', ".assign(group=table.group.groupby(groups).transform('first'), **columns)", '.assign(**columns)', 'twins'),
    Mutation('a run splits without looking for copies', 'train', 'groups = merge_groups(table.group, table.content, pairs)', 'groups = merge_groups(table.group, table.content)', 'twins'),
    Mutation('copies may be on both sides of an official split', 'data', 'if apart: raise', 'if False: raise', '00_data'),
    Mutation('a class may have no scan to train on', 'data', 'if lacks and (role in whole or role not in roles)', 'if lacks and role not in roles', '00_data'),
    Mutation('patients who differ little are taken for copies', 'data', '(spread[kept]/CONTRAST).clamp(max=ALIKE)', 'torch.full((len(kept),), ALIKE)', '00_data'),
    Mutation('copies in an archive without a split are not looked for', 'data', 'if own.all(): return []', "if own.all() or '.npz#' in table.path.iloc[0]: return []", '00_data'),
    Mutation('a list may mix grey values and HU', 'data', 'if member.nunique() == 2: problems', 'if member.nunique() == 3: problems', '00_data'),
    Mutation('the content is the same for every scan', 'data', "return digest(repr(scan.hu.shape).encode(),", "return digest(b'') or (", '00_data'),
    Mutation('the content depends on the type of the numbers', 'data', 'np.rint(seen, out=seen).astype(np.uint16).tobytes())', 'scan.hu.tobytes())', '00_data'),
    Mutation('the cache forgets the settings', 'data', "repr(prep).encode(), bytes([CACHE_FORMAT])", "bytes([CACHE_FORMAT])", '00_data'),
    Mutation('a test scan is trained on', 'data', "roles[test,f] = 'test'", "roles[test[1:],f] = 'test'", '00_data'),
    Mutation('the validation part holds patients of the training part', 'data', "hold_out(labels[rest], groups[rest], VAL_SHARE, seed)", "hold_out(labels[rest], np.arange(len(rest)), VAL_SHARE, seed)", '00_data'),
    Mutation('a patient may be on both sides of an official split', 'data', "if (leaks > 1).any(): raise", "if (leaks > 2).any(): raise", '00_data'),
    Mutation('training takes the test part, too', 'train', "np.flatnonzero(role == r))", "np.flatnonzero((role == r) | (role == 'test') & (r == 'train')))", '04_train'),
    Mutation('the epoch is chosen and the temperature fitted on the test part', 'train', "function(model, parts['train'], parts['val']", "function(model, parts['train'], parts['test']", '04_train'),
    Mutation('the temperature is fitted on the training part', 'train', 'fit_temperature(guide.logits, label))', "fit_temperature(guides(model, train).logits, train.label.to(device)))", '04_train'),
    Mutation('the last epoch is kept, not the best', 'train', "if candidate and row['val_nll'] < self.lowest:", "if candidate:", '04_train'),
    Mutation('the worst epoch is kept', 'train', "row['val_nll'] < self.lowest:", "(row['val_nll'] > self.lowest or not self.best):", '04_train'),
    Mutation('the kept weights are not the average', 'train', 'for k, v in self.average.module.state_dict().items()}', 'for k, v in own.items()}', '04_train'),
    Mutation('neither validated nor kept weights are the average', 'train', 'self.average.update_parameters(self.module)', 'self.average.module.load_state_dict(self.module.state_dict())', '04_train'),
    Mutation('the validation part is augmented', 'train', 'dcg(b.volume.to(device)).logits.float()', 'dcg(augment(b.volume, batch_seeds(b, seed, 0)).to(device)).logits.float()', '04_train'),
    Mutation('what guides phase 2 at validation is augmented', 'train', 'model.eval().guide(b.volume.to(device))', 'model.eval().guide(Augment()(b.volume, b.index.tolist()).to(device))', '04_train'),
    Mutation('a new scan is augmented', 'diffusion', 'x = self.prep(scan)[None].to(self.abar.device)', "x = __import__('mediscope.data').data.Augment()(self.prep(scan)[None], [seed]).to(self.abar.device)", '03_diffusion'),
    Mutation('the test part is augmented', 'evaluate', 'guide = model.guide(batch.volume.to(device))', "guide = model.guide(__import__('mediscope.data').data.Augment()(batch.volume, batch.index.tolist()))", '05_evaluate'),
    Mutation('every fold is tested by the model of all scans', 'evaluate', "run.load(fold).to(device)", "MediScope.from_pretrained(run.folder/'model').to(device)", '05_evaluate'),
    Mutation('baselines are fitted on the test part', 'evaluate', "models |= {f'{name}_': f(parts, model)", "models |= {f'{name}_': f(parts | dict(train=parts['test']), model)", '05_evaluate'),
    Mutation('intervals forget the groups', 'evaluate', "u[rows]), groups, scale", "u[rows]), np.arange(len(y)), scale", '05_evaluate'),
    Mutation('the interval of a difference forgets the groups', 'evaluate', 'in interval(difference, groups)', 'in interval(difference, np.arange(n))', '05_evaluate'),
    Mutation('the permutation test forgets the groups', 'evaluate', 'rows, n = members(groups), len(y)', 'rows, n = members(np.arange(len(y))), len(y)', '05_evaluate'),
    Mutation('the AUC is that of the other class', 'evaluate', 'return metric(p[:,1], y == 1) if', 'return metric(p[:,1], y == 0) if', '05_evaluate'),
    Mutation('the map is noised a step too little', 'diffusion', 'a = abar[t][:,None]\n    return a.sqrt()*y0', 'a = abar[t - 1][:,None]\n    return a.sqrt()*y0', '03_diffusion'),
    Mutation('the evidence is that of the step before', 'diffusion', 'a = abar[t][:,None]\n    return (2*a', 'a = abar[t - 1][:,None]\n    return (2*a', '03_diffusion'),
    Mutation('sampling begins a step late', 'diffusion', 'torch.linspace(len(abar)-1, 0,', 'torch.linspace(len(abar)-2, 0,', '03_diffusion'),
    Mutation('training never sees the last step', 'diffusion', '.clamp(1, T).long()', '.clamp(1, T - 1).long()', '03_diffusion'),
    Mutation('the schedule is a step short', 'diffusion', 'dtype=torch.float64)/T*torch.pi/2', 'dtype=torch.float64)/(T + 1)*torch.pi/2', '03_diffusion'),
    Mutation('random numbers ignore the seeds', 'data', 'generator=torch.Generator(device).manual_seed(int(s)), device=device)', 'device=device)', '00_data'),
    Mutation('the order of an epoch ignores the seed', 'train', 'make_loader(volumes, batch_size, seed_of(seed, epoch))', 'make_loader(volumes, batch_size, int(torch.randint(2**30, ())))', '04_train'),
    Mutation('the initial weights ignore the seed', 'train', "torch.manual_seed(seed_of(c['training']['seed'], *fold.encode()))", 'pass', '04_train'),
    Mutation('the draws ignore the seed', 'diffusion', 'noise = per_scan(torch.randn, [seed_of(seed, i) for i in range(draws)], k, p, p, p)', 'noise = torch.randn(draws, k, p, p, p)', '03_diffusion'),
    Mutation('every epoch augments alike', 'train', 'return [seed_of(seed, epoch, i) for', 'return [seed_of(seed, 0, i) for', '04_train'),
    Mutation('a checkpoint may have another hash', 'dcg', "if config['hash'] != hash_of(config, raw): raise", "if False: raise", '01_dcg'),
    Mutation('the hash of a checkpoint forgets its settings', 'dcg', "{k: v for k, v in config.items() if k != 'hash'}", "{}", '01_dcg'),
    Mutation('a checkpoint of another fold is taken', 'train', "!= (self.config['hash'], fold):", "== 7:", '05_evaluate'),
    Mutation('the settings of a run may be altered', 'train', "if config['hash'] != hash_of(config): raise", "if False: raise", '05_evaluate'),
    Mutation('the twins of an official split are not looked for', 'data', "transform('nunique') > 1)", "transform('nunique') > 9)", '00_data'),
    Mutation('a class may have no training scan', 'data', 'if untaught: raise', 'if False: raise', '00_data'),
    Mutation('a file that changed while it was read is taken', 'data', 'if cache_entry(path, prep, folder, limit_mb) != entry: raise', 'if False: raise', '00_data'),
    Mutation('the DCG is not frozen in phase 2', 'diffusion', 'self.dcg.requires_grad_(False)', 'pass', '03_diffusion'),
]
LAST = {'03_diffusion': '479b1105', '04_train': '6d1e5c04', '05_evaluate': '5f01d5ab'}  # what comes after these cells tests killing, sharing and uploading
SKIPPED = 'e48a94c5', '323420a1'                                                     # a toy that is trained for a minute
QUICK = 'the draws ignore the seed', 'the AUC is that of the other class', 'the split ignores patients', 'the map is noised a step too little'


# --- in a process of its own: a notebook on a broken copy ---

def cells_of(notebook):
    return [(c['id'], ''.join(c['source'])) for c in json.loads(notebook.read_text(encoding='utf-8'))['cells'] if c['cell_type'] == 'code']

def run_notebook(notebook, old, new):
    "Run its cells, in which `old` is `new` where they are exported; print the id and the line that fails."
    import linecache, traceback
    import matplotlib
    matplotlib.use('Agg')
    import __main__
    cells, last = cells_of(Path(notebook)), LAST.get(Path(notebook).stem)
    if last: cells = cells[:[id for id, _ in cells].index(last) + 1]
    for id, source in cells:
        if id in SKIPPED: continue
        if source.startswith('#| export') and old: source = source.replace(old, new)
        linecache.cache[id] = len(source), None, source.splitlines(True), id
        try: exec(compile(source, id, 'exec'), __main__.__dict__)
        except BaseException as e:
            last = [f for f in traceback.extract_tb(e.__traceback__) if f.filename == id]
            print(f"\n{id}: {type(e).__name__}: {last[-1].line if last else e}"[:300])
            return 1
    return 0


# --- breaking ---

def breaks(mutation, package):
    "Apply a mutation to a copy of the package; it must fit once, in the module and among the exported cells of its notebook."
    path = package/f'{mutation.module}.py'
    text = path.read_text(encoding='utf-8')
    if text.count(mutation.old) != 1: sys.exit(f'{mutation.what}: {mutation.old!r} stands {text.count(mutation.old)} times in {mutation.module}.py, not once; mend the list in {__file__}.')
    path.write_text(text.replace(mutation.old, mutation.new), encoding='utf-8')
    compile(path.read_text(encoding='utf-8'), path, 'exec')

def tested(test, home, mutation=None):
    "Run a notebook or a script on the package, broken or as it is: (exit code, last line, seconds)."
    home.mkdir()
    shutil.copytree(PACKAGE, home/'mediscope')
    if mutation: breaks(mutation, home/'mediscope')
    own = mutation and (ROOT/'nbs').joinpath(f'{test}.ipynb').exists() and mutation.old in ''.join(s for _, s in cells_of(ROOT/f'nbs/{test}.ipynb') if s.startswith('#| export'))
    script = [ROOT/f'torture/{test}.py'] if (ROOT/f'torture/{test}.py').exists() else [__file__, '--run', ROOT/f'nbs/{test}.ipynb', *((mutation.old, mutation.new) if own else ('', ''))]
    (home/'cwd').mkdir(); (home/'tmp').mkdir()
    env = os.environ | dict(PYTHONPATH=str(home), MEDISCOPE_CACHE=str(home/'cache'), TMPDIR=str(home/'tmp'), HOME=str(home), OMP_NUM_THREADS='1', MPLBACKEND='Agg', PYTHONWARNINGS='ignore', MEDISCOPE_SHARED=str(home/'nowhere'))
    start = time.monotonic()
    try: done = subprocess.run([sys.executable, *map(str, script)], cwd=home/'cwd', env=env, capture_output=True, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired: return 0, f'not finished after {SECONDS} s', SECONDS
    finally: shutil.rmtree(home, ignore_errors=True)
    said = [line for line in (done.stdout + ('' if done.stdout.strip() else done.stderr)).splitlines() if line.strip()]
    lost = [line for line in said if line.startswith('LOST')]
    return done.returncode, (lost or said or ['nothing said'])[0 if lost else -1], time.monotonic() - start


def main():
    if sys.argv[1:2] == ['--run']:
        arguments, sys.argv = sys.argv[2:], sys.argv[:1]
        return run_notebook(*arguments)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='all of them, and every notebook as it is (minutes)')
    parser.add_argument('--only', default='', help='mutations whose description, module or test holds this')
    args, lost, start = parser.parse_args(), 0, time.monotonic()
    gone = {*LAST.values(), *SKIPPED} - {id for test in {m.test for m in MUTATIONS} & {*LAST} for id, _ in cells_of(ROOT/f'nbs/{test}.ipynb')}
    if gone: sys.exit(f"No notebook has the cells {', '.join(gone)} any more; mend LAST and SKIPPED in {__file__}.")
    for m in MUTATIONS:
        with tempfile.TemporaryDirectory() as t:  # all must fit, also those that are not run
            shutil.copy(PACKAGE/f'{m.module}.py', t)
            breaks(m, Path(t))
    chosen = [m for m in MUTATIONS if (args.long or args.only or m.what in QUICK) and any(args.only in v for v in (m.what, m.module, m.test))]
    with tempfile.TemporaryDirectory(prefix='mutations-') as t:
        home = Path(t).resolve()
        for test in sorted({m.test for m in chosen}) if args.long else ():
            code, said, seconds = tested(test, home/test)
            lost += code != 0
            print(f"{'LOST' if code else '    '} {seconds:4.0f} s  {test}, nothing broken: {said if code else 'passes'}", flush=True)
        for i, m in enumerate(chosen):
            code, said, seconds = tested(m.test, home/f'{i}', m)
            lost += code == 0
            print(f"{'    ' if code else 'LOST'} {seconds:4.0f} s  {m.what:<64} {m.test}: {said if code else 'noticed nothing'}", flush=True)
    print(f'{len(MUTATIONS)} changes fit, {len(chosen)} tried, {lost} lost, {time.monotonic() - start:.0f} s')
    return lost > 0


if __name__ == '__main__': sys.exit(main())
