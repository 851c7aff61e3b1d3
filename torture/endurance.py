"""Hours of work in minutes: `python torture/endurance.py [--long]`.

A process trains and predicts many times; the memory that it has in use must stay flat, and no file, thread, child or
temporary file may be left behind. `mediscope predict` gets many scans of which one in twenty is broken, and must account for every one. Then the
same seed must give the same bits in another process, whatever the number of threads that prepare scans, and the same
answers in batches of any size. Exit code 0: all of it holds.
"""
import argparse, ctypes, gc, os, subprocess, sys, tempfile, time
from pathlib import Path
from typing import NamedTuple
os.environ['OMP_NUM_THREADS'] = '1'
import numpy as np
import pandas as pd
import safetensors.torch
import mediscope.train as training
from mediscope.data import Prep, find_scans, prepare_scans, read_scan
from mediscope.diffusion import Config, MediScope
from mediscope.evaluate import predict_volumes, same_data
from mediscope.phantom import write_phantoms

SMALL = dict(shape=(32,32,16), folds=1, batch_size=1, device='cpu', config=Config(widths=(8,16,24), embed=24, roi=(8,8,8), regions=2, latent=8))
FLAT = .1  # kB a step or a prediction that memory may grow, beyond what chance allows
WARM = 1.  # kB a prediction, while a few warm up
ROW = 1.5  # kB a scan that `mediscope predict` may grow: a row of its table takes 1.1
LOST = []


def row(what, found, holds=True):
    "A line of the table."
    print(f"{'    ' if holds else 'LOST'} {what:<58} {found}", flush=True)
    if not holds: LOST.append(what)


# --- what a process holds ---

def resident(pid='self')->float:
    "Resident memory in kB."
    return int(Path(f'/proc/{pid}/statm').read_text().split()[1])*os.sysconf('SC_PAGE_SIZE')/1024

def in_use()->float:
    "The same without what only waits: cycles that Python has not yet collected, and freed memory that the allocator keeps."
    gc.collect()
    getattr(ctypes.CDLL(None), 'malloc_trim', lambda pad: 0)(0)  # glibc has it
    return resident()

class Held(NamedTuple):
    "Open files, threads and children of this process."
    files: set
    threads: int
    children: set

def held()->Held:
    links = [os.readlink(f) for f in Path('/proc/self/fd').iterdir() if f.is_symlink()]
    tasks = list(Path('/proc/self/task').iterdir())
    return Held({f for f in links if not f.startswith('/proc/')}, len(tasks), {c for t in tasks for c in (t/'children').read_text().split()})

class Slope(NamedTuple):
    "Growth in kB a step, with its standard error from the means of stretches, which hardly know of each other."
    slope: float
    error: float
    def __str__(self): return f'{self.slope:+.2f} ± {2*self.error:.2f} kB'

def growth(steps, memory, phase=None, warm=1/3, stretches=10)->Slope:
    "Of the memory at some steps, without the first `warm` of them; each phase has a level of its own, and each time that it runs is a stretch."
    table = pd.DataFrame(dict(step=steps, memory=memory, phase=0 if phase is None else phase)).iloc[int(warm*len(steps)):]
    stretch = np.arange(len(table))*stretches//len(table) if phase is None else table.phase.ne(table.phase.shift()).cumsum().to_numpy()
    means = table.groupby(stretch).mean()
    x, y = (means[c] - means.groupby('phase')[c].transform('mean') for c in ('step', 'memory'))
    slope, free = (x*y).sum()/(x*x).sum(), len(means) - means.phase.nunique() - 1
    return Slope(slope, (((y - slope*x)**2).sum()/free/(x*x).sum())**.5)

def flat(steps, memory, phase=None, *, enough:int, most=FLAT)->tuple:
    "Slope and memory in words, and whether it stays below `most`; fewer steps than `enough` are warming up."
    if steps[-1] < enough: return f'{memory[-1]/1024:.0f} MB, too few for a slope', True
    slope = growth(steps, memory, phase)
    return f'{slope}, {memory[-1]/1024:.0f} MB', slope.slope - 2*slope.error <= most


# --- one process, many steps ---

def train_many(data, out, steps, most=200):
    "Train runs of at most `most` steps until `steps` are done, with the memory after every epoch: (the last run, [steps so far], [kB], [phase])."
    at, memory, phases, write, done = [], [], [], training.write_history, 0
    def sampled(run, fold, name, rows):
        write(run, fold, name, rows)
        at.append(done + (rows[-1]['epoch'] + (name == 'diffusion')*epochs)*len_train); memory.append(in_use()); phases.append(name == 'diffusion')
    _, table = training.plan(data, out/'plan', **{k: v for k, v in SMALL.items() if k != 'device'})
    len_train = int((table.role_all == 'train').sum())
    training.write_history = sampled
    try:
        while done < steps:
            epochs = max(1, -(-min(steps - done, most)//(2*len_train)))
            run = training.train(data, out/f'run-{done}', **SMALL, seed=done, epochs_dcg=epochs, epochs_diffusion=epochs)
            done += int(run.history.groupby('phase').epoch.max().sum())*len_train
    finally: training.write_history = write
    return run, at, memory, phases

def predict_many(model, files, n):
    "Predict `n` times, with the memory after each: (predictions so far, kB)."
    memory = []
    for i in range(n):
        model.predict(read_scan(files[i % len(files)]), seed=i)
        memory.append(in_use())
    return range(n), memory

def one_process(data, home, steps, predictions):
    files = [f for f in sorted(data.rglob('*.nii.gz')) if '_mask' not in f.name]
    train_many(data, home/'warm', 20)
    before = held()
    run, at, memory, phases = train_many(data, home/'runs', steps)
    row(f'{at[-1]} steps of training, memory a step', *flat(at, memory, phases, enough=1000))
    at, memory = predict_many(MediScope.from_pretrained(run.folder), files, predictions)
    row(f'{predictions} predictions, memory a prediction', *flat(at, memory, enough=10, most=FLAT if predictions >= 200 else WARM))
    after = held()
    row('open files left behind', len(after.files - before.files), not after.files - before.files)
    row('threads left behind', after.threads - before.threads, after.threads <= before.threads)
    row('child processes left behind', len(after.children), not after.children)
    return run


# --- the command line ---

def broken(raw, i):
    "Bytes of a scan that is damaged in one of four ways."
    return (raw[:len(raw)//2], b'', b'not a scan'*9, raw[:-8] + bytes(8))[i % 4]

def command(*args, **environment):
    "A command of mediscope in a process of its own."
    return subprocess.Popen([sys.executable, '-m', 'mediscope.cli', *map(str, args)], env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

def sampled(samples:Path, args)->int:
    "A command in this process, with its memory in use written before every scan that it answers."
    import mediscope.predict
    from mediscope.cli import main
    write = mediscope.predict.write_nifti
    with samples.open('w') as out:
        def sample(*args): print(in_use(), file=out); return write(*args)
        mediscope.predict.write_nifti = sample
        return main(args)

def command_line(data, home, run, scans):
    "`mediscope predict` of a folder in which one scan in twenty is broken."
    good, folder = next(data.rglob('*_mask.nii.gz')).with_name('study_0002.nii.gz').read_bytes(), home/'scans'
    folder.mkdir()
    bad = {f'{i:04}.nii.gz' for i in range(7, scans, 20)}
    for i in range(scans): (folder/f'{i:04}.nii.gz').write_bytes(broken(good, i//20) if f'{i:04}.nii.gz' in bad else good)
    with open(home/'said', 'w') as out:
        process = subprocess.run([sys.executable, __file__, '--sample', home/'memory', 'predict', run.folder, folder, '--out', home/'answers'], stdout=subprocess.DEVNULL, stderr=out)
    rows, said = pd.read_csv(home/'answers/predictions.csv'), [s for s in (home/'said').read_text().splitlines() if '.nii.gz' in s]
    listed = {name for name in bad if sum(name in s for s in said) == 1}
    row(f'predict of {scans} scans, {len(bad)} broken: rows + listed failures', f'{len(rows)} + {len(listed)}', len(rows) == rows.path.nunique() == scans - len(bad) and listed == bad and not {*rows.path} & bad)
    row('its exit code', process.returncode, process.returncode == 1)
    memory = [*map(float, (home/'memory').read_text().split())]
    row('its memory a scan', *flat(range(len(memory)), memory, enough=200, most=ROW))
    same = rows.filter(like='prob_').nunique().max()
    row('different answers for one scan', same - 1, same == 1)


# --- the same bits ---

def weights(folder): return {f.relative_to(folder).as_posix(): safetensors.torch.load_file(f) for f in sorted(folder.rglob('model.safetensors'))}

def distance(a, b)->float:
    "The largest difference of two dictionaries of weights; 0 means the same bits."
    return max(float((x.double() - b[file][name].double()).abs().max()) for file, ws in a.items() for name, x in ws.items())

def same_bits(data, home, run, long):
    def trained(name, **environment):
        args = ['train', data, '--out', home/name, '--shape', '32,32,16', '--folds', '1', '--epochs-dcg', '2', '--epochs-diffusion', '1', '--device', 'cpu']
        process = command(*args, MEDISCOPE_CACHE=str(home/f'{name}-cache'), **environment)
        assert process.wait() == 0, process.communicate()[1]
        return weights(home/name), (home/name/'history.csv').read_text()
    (first, history), (again, history_again) = trained('first'), trained('again', PYTHONHASHSEED='7')
    off = distance(first, again)
    row('the same training in another process, weights and history', f'differ by {off:.1g}', off == 0 and history == history_again and first.keys() == again.keys())
    if long: row('with two threads instead of one (not promised)', f"differ by {distance(first, trained('two', OMP_NUM_THREADS='2')[0]):.1g}")
    entries = []
    for jobs in (1, 2, 7):
        table, problems = prepare_scans(find_scans(data), Prep((32,32,16)), home/f'jobs-{jobs}', jobs)
        assert not problems
        entries.append([(Path(e).name, Path(e).read_bytes()) for e in table.entry])
    row('scans prepared by 1, 2 and 7 workers', 'same bytes' if entries[0] == entries[1] == entries[2] else 'differ', entries[0] == entries[1] == entries[2])
    model, part = MediScope.from_pretrained(run.folder), training.parts_of(same_data(run), 'all', run.config['classes'])['train']
    alone = np.stack([model.predict(read_scan(data/run.split.path[i])).probability for i in part.index])
    off = max(np.abs(predict_volumes(model, part, n).probability - alone).max() for n in (1, 3, 8))
    row('probabilities of scans alone and in batches of 1, 3 and 8', f'differ by {off:.1g}', off == 0)


def main():
    if sys.argv[1:2] == ['--sample']: return sampled(Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='3000 steps, of which the last 2000 are judged, 500 predictions and 500 scans instead of 60, 20 and 40 (minutes)')
    long, start = parser.parse_args().long, time.monotonic()
    with tempfile.TemporaryDirectory(prefix='endurance-') as t:
        home = Path(t).resolve()
        (home/'tmp').mkdir()
        os.environ |= dict(MEDISCOPE_CACHE=str(home/'cache'), TMPDIR=str(home/'tmp'), MPLCONFIGDIR=str(home/'matplotlib'))
        tempfile.tempdir = None  # it is remembered from the line above
        data = write_phantoms(home/'data', n=14, scale=.2, progress=False)
        run = one_process(data, home, *((3000, 500) if long else (60, 20)))
        command_line(data, home, run, 500 if long else 40)
        same_bits(data, home, run, long)
        left = [f.relative_to(home).as_posix() for f in (home/'tmp').rglob('*') if not f.name.startswith('torchinductor')]  # a folder that torch makes for itself
        left += [f.relative_to(home).as_posix() for f in home.rglob('.*') if f.is_file()]
        row('temporary files left behind', ', '.join(left[:3]) or 0, not left)
    print(f'{len(LOST)} lost, {time.monotonic() - start:.0f} s')
    return bool(LOST)


if __name__ == '__main__': sys.exit(main())
