"""A training that is taken away: `python torture/crash.py [--long]`.

Runs are killed at moments all over their course and at every file that they publish, interrupted, left without
space or without permission, and find caches, states and clocks that were changed between two calls. Then the same
commands are called again. A case survives if they end with exit code 0 and every file of the run, weights,
predictions and report, has the bits of a run that nothing disturbed; or, where they cannot go on, with exit code 2
and one sentence that names the folder or the file, after whose remedy the bits are the same. Exit code 0: nothing
was lost. Full disks and read-only folders are mounted in a namespace of their own and vanish with the process.
"""
import argparse, ctypes, gc, os, random, re, shutil, signal, subprocess, sys, tempfile, time, traceback
from collections import Counter
from contextlib import suppress
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
os.environ['OMP_NUM_THREADS'] = '1'


def linux(name:str, *args)->int:
    "Call a function of the C library; not 0 where it failed or the system has none of that name."
    return getattr(ctypes.CDLL(None), name, lambda *args: -1)(*args)

def own_mounts()->bool:
    "Enter a mount namespace, as root or as a user who is root inside of it; whether that is possible."
    user, group = os.getuid(), os.getgid()
    if linux('unshare', 0x20000):                      # CLONE_NEWNS
        if linux('unshare', 0x10020000): return False  # with CLONE_NEWUSER
        for name, text in (('setgroups', 'deny'), ('uid_map', f'0 {user} 1'), ('gid_map', f'0 {group} 1')): Path(f'/proc/self/{name}').write_text(text)
    return subprocess.run(['mount', '--make-rprivate', '/'], capture_output=True).returncode == 0


MOUNTS = __name__ == '__main__' and own_mounts()  # before torch: only a process of one thread may
import mediscope.evaluate as evaluation
from mediscope.cli import main as mediscope
from mediscope.phantom import write_phantoms
from table import show

SETTINGS = '--shape 32,32,16 --folds 2 --epochs-dcg 2 --epochs-diffusion 2 --device cpu'.split()
AGAIN = 'the same command'
ENDED = 'it had ended'


# --- a command in a process of its own ---

def trap(n:int, number=signal.SIGKILL, when='before', name=''):
    "Send this process a signal before, or after, the n-th file whose path ends like `name` gets its place, or while it is written."
    counted, rename = count(1), os.replace
    hit = lambda path: str(path).endswith(name) and next(counted) == n
    def replace(source, target):
        now = hit(target)
        if now and when == 'before': os.kill(os.getpid(), number)
        rename(source, target)
        if now and when == 'after': os.kill(os.getpid(), number)
    def half(write):
        def written(path, data, *args, **kwargs):
            if not hit(path): return write(path, data, *args, **kwargs)
            write(path, data[:len(data)//2], *args, **kwargs)
            os.kill(os.getpid(), number)
        return written
    if when == 'while': Path.write_bytes, Path.write_text = half(Path.write_bytes), half(Path.write_text)
    else: os.replace = replace

def lead():
    "Lead a group of processes, do not outlive the parent, and mind Ctrl-C, which a command in the background is told to ignore."
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    linux('prctl', 1, signal.SIGKILL)  # PR_SET_PDEATHSIG

def begin(home:Path, commands, prepare=lambda: None, cache=None)->int:
    "Call commands in a forked process, the leader of its own group; returns its id."
    if child := os.fork(): return child
    code = 70
    try:
        lead()
        for stream, name in ((1, 'out'), (2, 'err')): os.dup2(os.open(home/name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), stream)
        os.environ['MEDISCOPE_CACHE'] = str(cache or home/'cache')
        evaluation.evaluate = partial(evaluation.evaluate, permutations=20)
        evaluation.BASELINES.pop('histogram', None)  # it takes more time than all the rest
        prepare()
        code = next((c for c in map(mediscope, commands) if c), 0)
        (home/'modules').write_text('\n'.join(sys.modules))
    except SystemExit as e: code = e.code
    except BaseException: traceback.print_exc()
    finally:
        sys.stdout.flush(); sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)

def end(child:int, seconds=120)->int:
    "Wait for a process, and kill its group after some seconds; returns its exit code, negative after a signal."
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.002)
    kill_group(child)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def kill_group(child:int):
    try: os.killpg(child, signal.SIGKILL)
    except ProcessLookupError: os.kill(child, signal.SIGKILL)  # before it led a group

def said(home:Path)->list: return (home/'err').read_text(errors='replace').splitlines()


# --- runs and what they leave ---

class Runs:
    "Homes for runs, each with its cache and run folder, and the bits of the run that nothing disturbed."
    def __init__(self, work:Path, long:bool):
        self.work, self.long, self.number, self.random = work, long, count(), random.Random(0)
        self.data = write_phantoms(work/'data', n=12, scale=.2, progress=False)
        self.whole = self.home()
        assert self.call(self.whole) == 0, said(self.whole)
        self.bits, self.entries = bits(self.whole/'run'), bits(self.whole/'cache')
        for name in (self.whole/'modules').read_text().split():
            with suppress(Exception): import_module(name)  # once, not in every case
        gc.freeze()  # else a collection in a child touches every object, and so copies its page
        start = time.monotonic()
        assert not self.completes(self.home()), 'no two runs have the same bits'
        self.seconds = time.monotonic() - start
        self.half = self.stopped('state/1-diffusion.safetensors')

    def home(self, like:Path|None=None)->Path:
        "A new home, or a copy of another."
        home = self.work/f'{next(self.number)}'
        if like: shutil.copytree(like, home)
        for name in ('cache', 'run'): (home/name).mkdir(parents=True, exist_ok=True)
        return home

    def stopped(self, name:str, n=1)->Path:
        "The home of a run that was killed when it had published a file for the n-th time."
        home = self.home()
        assert self.call(home, prepare=lambda: trap(n, when='after', name=name)) == -signal.SIGKILL, said(home)
        return home

    def train(self, home): return ['train', str(self.data), '--out', str(home/'run'), *SETTINGS]
    def commands(self, home): return [self.train(home), ['evaluate', str(home/'run')]]
    def begin(self, home, **kwargs): return begin(home, self.commands(home), **kwargs)
    def call(self, home, **kwargs)->int: return end(self.begin(home, **kwargs))

    def wrong(self, home)->str|None:
        "What a finished run has or lacks that the undisturbed one has not."
        found = bits(home/'run')
        left = [p.name for p in (home/'run/state').iterdir() if p.name != 'source.json' and p.suffix != '.lock' and p.name[0] != '.']
        other = [p for p in sorted(found.keys() | self.bits.keys()) if found.get(p) != self.bits.get(p)]
        return f'other bits: {", ".join(other)}' if other else f'left in state: {", ".join(left)}' if left else None

    def completes(self, home, **kwargs)->str|None:
        "Call the commands; None if they leave the bits of the undisturbed run, or what went wrong."
        code = self.call(home, **kwargs)
        return f'exit code {code}: {last(home)}' if code else self.wrong(home)

def last(home): return (said(home) or ['nothing said'])[-1][:300]

def bits(folder:Path)->dict:
    "{path: bytes} of what a run or a cache shows; rows of the history in any order, as folds may be trained in any."
    read = lambda p: b'\n'.join(sorted(p.read_bytes().splitlines())) if p.name == 'history.csv' else p.read_bytes()
    return {p.relative_to(folder).as_posix(): read(p) for p in folder.rglob('*') if p.is_file() and p.name[0] != '.' and p.parent.name != 'state'}

def temporaries(home:Path)->list: return [p for p in home.rglob('.*') if p.is_file()]

def refuses(home:Path, code, *words, expected=2)->str|None:
    "None if a command ended with one sentence that holds some words, and left nothing half-written in the run; or what went wrong."
    lines = said(home)
    if code != expected: return f'exit code {code}: {last(home)}'
    if len(lines) != 1: return f"{len(lines)} lines: {' | '.join(lines)}"
    if absent := [w for w in words if str(w).lower() not in lines[0].lower()]: return f'does not say {absent[0]}: {lines[0][:300]}'
    if left := temporaries(home/'run'): return f'left {left[0].relative_to(home)}'  # in the cache other threads may be at work

def stage(home:Path)->str:
    "What a run was at."
    run = home/'run'
    if not (run/'config.json').exists(): return 'preparing'
    if (run/'model/config.json').exists(): return 'evaluating'
    folders = [f for f in (run/'folds/0', run/'folds/1', run) if not (f/'model/config.json').exists()]
    return 'phase 2' if (folders[0]/'dcg/config.json').exists() else 'phase 1'


# --- families: generators of (family, name, what went wrong or None) ---

def kills(runs):
    "SIGKILL at moments spread over a run, each resumed to the end; then several on one run."
    n, hit = 50 if runs.long else 0, Counter()
    for i in range(n):
        home, moment = runs.home(), (i + runs.random.random())/n*runs.seconds
        while (was := killed(runs, home, moment)) == ENDED: home, moment = runs.home(), .8*moment  # faster than the run that was timed
        hit[was] += 1
        yield 'SIGKILL at a moment', f'after {moment:.2f} s, {stage(home)}', runs.completes(home)
        shutil.rmtree(home)
    for i in range(5 if runs.long else 1):
        home, moments = runs.home(), []
        while stage(home) != 'evaluating' and len(moments) < (20 if runs.long else 5):
            moments.append(runs.random.uniform(.08, .3)*runs.seconds)
            hit[killed(runs, home, moments[-1])] += 1
        yield 'SIGKILL again and again', f'after {", ".join(f"{m:.2f}" for m in moments)} s', runs.completes(home)
        shutil.rmtree(home)
    print('killed while', ', '.join(f'{s} {c}' for s, c in hit.items()))

def killed(runs, home, seconds)->str:
    "Kill the group of the commands after some seconds; returns what they were at."
    child = runs.begin(home)
    time.sleep(seconds)
    kill_group(child)
    return ENDED if end(child) >= 0 else stage(home)

def kills_at_files(runs):
    "SIGKILL before, after and while a file gets its name: every few files on one run, then at each file on a run of its own."
    for when in ('before', 'after', 'while') if runs.long else ('before', 'while'):
        home, kills, few = runs.home(), [], (3, 9) if runs.long else (6, 16)
        train = lambda: end(begin(home, [runs.train(home)], lambda: trap(kills[-1], when=when)))
        while not kills or code == -signal.SIGKILL and len(kills) < 100:
            kills.append(runs.random.randint(*few))
            code = train()
        why = 'not once killed' if len(kills) == 1 else f'exit code {code}: {last(home)}' if code else runs.completes(home)
        yield 'SIGKILL at files, one run', f'{when} file {", ".join(map(str, kills[:-1]))} of a call', why
        for p in temporaries(home): os.utime(p, (time.time() - 10**5,)*2)
        if runs.long or when == 'while': yield 'half-written files', 'are gone a day later', runs.completes(home) or (f'left {temporaries(home)[0].name}' if temporaries(home) else None)
        shutil.rmtree(home)
    if not runs.long: yield 'SIGKILL at files, each', 'after folds/0/model/config.json', runs.completes(runs.stopped('folds/0/model/config.json'))
    for n in count(1) if runs.long else ():
        home, when = runs.home(), ('before', 'after')[n % 2]
        if runs.call(home, prepare=lambda: trap(n, when=when)) != -signal.SIGKILL: return
        yield 'SIGKILL at files, each', f'{when} file {n}, {stage(home)}', runs.completes(home)
        shutil.rmtree(home)

DRIVER = 'import sys, crash; crash.trap(int(sys.argv[1]), int(sys.argv[2]), name=sys.argv[3]); sys.exit(crash.mediscope(sys.argv[4:]))'

def started(home, *command):
    "A command as a user starts it, in a process that shares nothing with this one."
    env = os.environ | dict(MEDISCOPE_CACHE=str(home/'cache'), PYTHONPATH=os.pathsep.join(filter(None, [str(Path(__file__).resolve().parent), os.environ.get('PYTHONPATH')])))
    with open(home/'out', 'w') as out, open(home/'err', 'w') as err:
        return subprocess.Popen([sys.executable, *map(str, command)], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=lead)

def signals(runs):
    "SIGTERM and Ctrl-C: a sentence, exit code 143 or 130, nothing half-written; then the same command."
    places = ['.npy', 'split.csv', '0-dcg.safetensors', '1-diffusion.safetensors', 'folds/0/dcg/config.json', 'run/model/model.safetensors'] if runs.long else ['1-dcg.safetensors']
    for number, code in ((signal.SIGTERM, 143), (signal.SIGINT, 130)) if runs.long else ((signal.SIGTERM, 143),):
        for place in places:
            home = runs.home()
            got = end(started(home, '-c', DRIVER, 1, number, place, *runs.train(home)).pid)
            yield number.name, place, refuses(home, got, f'interrupted; {AGAIN} continues the run', expected=code) or runs.completes(home)
            shutil.rmtree(home)
        if not runs.long: return
        home = runs.home(runs.whole)
        got = end(started(home, '-c', DRIVER, 1, number, 'report.json', 'evaluate', home/'run').pid)
        yield number.name, 'report.json', refuses(home, got, f'interrupted; {AGAIN} starts again', expected=code) or runs.completes(home)
    for i in range(12):
        home, moment = runs.home(), (i + runs.random.random())/12*(runs.seconds + 3)
        child = started(home, '-m', 'mediscope.cli', *runs.train(home))
        time.sleep(moment)
        os.kill(child.pid, signal.SIGTERM)  # Popen.terminate would take the exit code of one that has ended
        got = end(child.pid)
        silent = got == 0 or got == -signal.SIGTERM and not said(home)  # ready, or not yet begun
        yield 'SIGTERM at a moment', f'after {moment:.2f} s, {stage(home)}', None if silent else refuses(home, got, 'interrupted', expected=143) or runs.completes(home)
        shutil.rmtree(home)
    yield from several_devices(runs)

def preparing(runs):
    "Scans of full size in the threads of a command that is stopped, or finds its cache full: Python must not end before them, it would abort."
    if not runs.long: return  # `00_data` asserts that it waits
    data = write_phantoms(runs.work/'large', n=12, progress=False)
    for i in range(24):
        home, (number, code) = runs.home(), ((signal.SIGTERM, 143), (signal.SIGINT, 130))[i % 2]
        child = started(home, '-m', 'mediscope.cli', 'check', data)
        while not any((home/'cache').glob('*.npy')) and child.poll() is None: time.sleep(.01)
        time.sleep(runs.random.uniform(0, .2))
        os.kill(child.pid, number)
        yield 'preparing', number.name, refuses(home, end(child.pid), 'interrupted', expected=code)
        shutil.rmtree(home)
    for _ in range(6 if MOUNTS else 0):
        home = runs.home()
        mount('-t', 'tmpfs', '-o', 'size=4k', 'none', home/'cache')
        try: yield 'preparing', 'disk full', refuses(home, end(started(home, '-m', 'mediscope.cli', 'check', data).pid), home/'cache', 'the disk is full')
        finally: unmount(home/'cache')

def several_devices(runs):
    "A run on two devices, of which the first process, or one that it started, is taken away."
    for name, number, code in (('the first process', signal.SIGTERM, 143), ('the first process', signal.SIGKILL, -9), ('a worker', signal.SIGKILL, 2)):
        home = runs.home()
        child = started(home, '-m', 'mediscope.cli', *runs.train(home)[:-1], 'cpu,cpu')
        while not (home/'run/state/0-dcg.safetensors').exists() and child.poll() is None: time.sleep(.02)
        os.kill(child.pid if name != 'a worker' else workers(child.pid)[-1], number)
        got = end(child.pid)
        time.sleep(2)
        alive = [p for p in Path('/proc').iterdir() if p.name.isdigit() and str(home).encode() in cmdline(p)]
        why = f'{len(alive)} processes go on' if alive else None if number == signal.SIGKILL and code == -9 and got == -9 else refuses(home, got, AGAIN, expected=code)
        yield 'two devices', f'{signal.Signals(number).name} to {name}', why or runs.completes(home)
        kill_group_of(child)

def cmdline(process):
    try: return (process/'cmdline').read_bytes()
    except OSError: return b''

def workers(pid): return sorted(int(p) for p in Path(f'/proc/{pid}/task/{pid}/children').read_text().split() if b'spawn_main' in cmdline(Path(f'/proc/{p}')))

def kill_group_of(child):
    try: os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError: pass

def mount(*args): subprocess.run(['mount', *map(str, args)], check=True)
def unmount(folder): subprocess.run(['umount', '-l', str(folder)], check=True)

def full_disks(runs):
    "A run folder or a cache on a small disk: a sentence, then more space and the same command."
    need = {name: sum(p.stat().st_size for p in (runs.whole/name).rglob('*')) >> 10 for name in ('run', 'cache')}
    shares = [.001, .02, .1, .3, .5, .7, .9, .99] if runs.long else [.4]
    for name, share in [(n, s) for n in need for s in shares]:
        home, size = runs.home(), max(4, round(need[name]*share))
        mount('-t', 'tmpfs', '-o', f'size={size}k', 'none', home/name)
        try:
            code = runs.call(home)
            yield f'disk full, {name}', f'{size} kB', refuses(home, code, home/name, 'the disk is full', AGAIN) or more_space(runs, home, name)
        finally: unmount(home/name)
    for pages in (1, 2, 10) if runs.long else (2,):
        home = runs.home(runs.whole)
        for name in ('predictions.csv', 'report.json', 'report.html', 'README.md'): (home/'run'/name).unlink()
        full = home/'full'; full.mkdir()
        mount('-t', 'tmpfs', 'none', full)
        shutil.copytree(home/'run', full, dirs_exist_ok=True); shutil.rmtree(home/'run'); (home/'run').mkdir()
        mount('--move', full, home/'run')
        try:
            used = os.statvfs(home/'run'); used = (used.f_blocks - used.f_bfree)*used.f_frsize >> 10
            mount('-o', f'remount,size={used + 4*pages}k', home/'run')
            code = runs.call(home)
            yield 'disk full, run', f'{4*pages} kB for the report', refuses(home, code, home/'run', 'the disk is full', AGAIN) or more_space(runs, home, 'run')
        finally: unmount(home/'run')

def more_space(runs, home, name):
    mount('-o', 'remount,size=1g', home/name)
    return runs.completes(home)

def read_only(runs):
    "A cache or a run folder that nothing can be written to."
    def case(what, home, folder, *wanted, **kwargs):
        mount('--bind', folder, folder); mount('-o', 'remount,ro,bind', folder)
        try: code = runs.call(home, **kwargs)
        finally: unmount(folder)
        why = (runs.wrong(home) if code == 0 else refuses(home, code, *wanted)) if not wanted or code else f'exit code {code}'
        return 'read-only', what, why or runs.completes(home, **kwargs)
    empty, half = runs.home, partial(runs.home, runs.half)
    yield case('an empty cache', home := empty(), home/'cache', home/'cache', 'read-only')
    if not runs.long: return
    yield case('an empty run folder', home := empty(), home/'run', home/'run', 'read-only')
    shutil.copytree(runs.whole/'cache', (home := empty())/'cache', dirs_exist_ok=True)
    yield case('a cache that has all', home, home/'cache')
    yield case('a folder where the cache should be made', home := empty(), home/'cache', home/'cache', 'read-only', cache=home/'cache/new')
    home = half(); next((home/'cache').glob('*.npy')).unlink()
    yield case('a cache that lacks one', home, home/'cache', home/'cache', 'read-only')
    yield case('a run half done', home := half(), home/'run', home/'run', 'read-only')
    yield case('a run that is done', home := runs.home(runs.whole), home/'run', home/'run', 'read-only')

def flips(path, at): path.write_bytes((raw := path.read_bytes())[:at] + bytes([raw[at] ^ 1 << at % 8]) + raw[at+1:])
def cuts(path, at): path.write_bytes(path.read_bytes()[:at])

def damaged_caches(runs):
    "Entries of the cache cut or with a bit flipped, before a run, between two calls and before the evaluation."
    size = len(next(iter(runs.entries.values())))
    for damage, places in ((cuts, [0, 1, 127, 128, 5000, size - 64, size - 1]), (flips, [0, 9, 60, 127, 128, 5000, size - 65, size - 33, size - 32, size - 1])):
        for i, at in enumerate(places if runs.long else places[-1:]):
            home = runs.home((runs.whole, runs.half)[i % 2])  # which reads them to evaluate, or to train
            for entry in sorted((home/'cache').glob('*.npy'))[i % 3::3]: damage(entry, at)
            why = runs.completes(home)
            yield f'cache entry, {damage.__name__}', f'at {at} of {size}', why or (None if bits(home/'cache') == runs.entries else 'the entries have other bits')

def together(runs):
    "Two runs that prepare one cache at once, and two calls of one run."
    for i in range(5 if runs.long else 1):
        a, b = (runs.home(None if runs.long else runs.whole) for _ in 'ab')
        shutil.rmtree(a/'cache')
        codes = [end(c) for c in [runs.begin(h, cache=a/'cache') for h in (a, b)]]
        yield 'at once', 'two runs, one cache', next((f'exit code {c}: {last(h)}' for h, c in zip((a, b), codes) if c), runs.wrong(a) or runs.wrong(b))
        if bits(a/'cache') != runs.entries or temporaries(a): yield 'at once', 'its entries', 'other bits or half-written files'
    if not runs.long: return
    home, other = runs.home(), runs.home()
    codes = [end(c) for c in [begin(h, runs.commands(home), cache=home/'cache') for h in (home, other)]]
    yield 'at once', 'two calls of one run', f'exit codes {codes}: {last(home)}, {last(other)}' if any(codes) else runs.wrong(home)

def clocks(runs):
    "File times in 1970 or 2100: of data, cache and run, or of one of them, before a run, between two calls, after it."
    for year, seconds in (('1970', 0), ('2100', 4102444800))[not runs.long:]:
        for name in ('all', 'data', 'cache', 'run') if runs.long else ('all',):
            for like in (runs.half, runs.whole) if runs.long else (runs.half,):
                home = runs.home(like)
                for folder in [f for f in (runs.data, home/'cache', home/'run') if name in ('all', f.name)]:
                    for path in [folder, *folder.rglob('*')]: os.utime(path, (seconds, seconds))
                yield 'clock', f'{name} in {year}, {stage(home)}', runs.completes(home)

def damaged_states(runs):
    "The file that a phase resumes from, cut or with a bit flipped; its remedy is to delete it."
    for name in ('0-dcg', '1-diffusion') if runs.long else ('1-diffusion',):
        stopped = runs.half if name == '1-diffusion' else runs.stopped(f'state/{name}.safetensors')
        size = (stopped/f'run/state/{name}.safetensors').stat().st_size
        head = 8 + int.from_bytes((stopped/f'run/state/{name}.safetensors').read_bytes()[:8], 'little')
        places = [0, 1, 7, 8, 9, head//2, head - 1, head, head + 1, size//3, size//2, size - 4096, size - 1]
        for damage, places in ((cuts, places), (flips, [0, 8, 20, size//2, head//2, head - 3, head, size//4, size - 1])):
            for at in places if runs.long else places[3::7]:
                home = runs.home(stopped)
                damage(file := home/f'run/state/{name}.safetensors', at)
                code = runs.call(home)
                why = runs.wrong(home) if code == 0 else refuses(home, code, file, 'delete')
                if code == 2 and not why and (runs.long or damage is flips):
                    file.unlink()
                    why = runs.completes(home)
                yield f'state, {damage.__name__}', f'{name} at {at} of {size}', why
                shutil.rmtree(home)

CHECKPOINTS = [f'folds/{part}/{name}' for part in ('1/dcg', '0/model') for name in ('config.json', 'model.safetensors')]

def damaged_runs(runs):
    "The other files of a run half done, cut to nothing or to a half: the same bits, or a sentence that names the file."
    for name in ('config.json', 'split.csv'):
        home = runs.home(runs.half)
        flips(file := home/'run'/name, file.stat().st_size//2)
        code = runs.call(home)
        yield 'files of a run, flips', name, runs.wrong(home) if code == 0 else refuses(home, code, file)
        shutil.rmtree(home)
    for name in ('config.json', 'split.csv', 'history.csv', 'state/source.json', *CHECKPOINTS):
        for part in (0, .5) if runs.long else (.5,)*(name in ('config.json', 'split.csv')):
            home = runs.home(runs.half)
            cuts(file := home/'run'/name, int(file.stat().st_size*part))
            code = runs.call(home)
            why = runs.wrong(home) if code == 0 else refuses(home, code, file.parent)
            yield 'files of a run, cuts', f'{name}, {part:.0%} left', None if why == 'other bits: history.csv' == f'other bits: {name}' else why  # nothing is made from its rows
            shutil.rmtree(home)

def damaged_checkpoints(runs):
    "A bit flipped in what a finished phase left: a sentence that names the folder, whose removal is the remedy."
    for name in CHECKPOINTS if runs.long else CHECKPOINTS[-1:]:
        size = (runs.half/'run'/name).stat().st_size
        for at in (0, 9, size//3, size//2, size - 9, size - 1) if runs.long else (size//2,):
            home = runs.home(runs.half)
            flips(file := home/'run'/name, at)
            why = refuses(home, runs.call(home), file.parent)
            if not why: shutil.rmtree(file.parent)
            yield 'checkpoint, flips', f'{name} at {at} of {size}', why or runs.completes(home)
            shutil.rmtree(home)


FAMILIES = kills, kills_at_files, signals, preparing, full_disks, read_only, damaged_caches, together, clocks, damaged_states, damaged_runs, damaged_checkpoints

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='every file, 50 moments, every kind of damage (minutes)')
    parser.add_argument('--only', default=[], type=lambda s: s.split(','), help='families of these functions, with commas')
    args = parser.parse_args()
    tried, lost, start = Counter(), [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix='crash-', ignore_cleanup_errors=True) as work:
        work = Path(work).resolve()
        if MOUNTS: mount('-t', 'tmpfs', 'none', work)  # in memory: what is on a disk when the power fails is not asked here
        runs = Runs(work, args.long)
        for cases in FAMILIES:
            if args.only and cases.__name__ not in args.only: continue
            if cases in (full_disks, read_only) and not MOUNTS:
                print(f'{cases.__name__}: skipped, this system lets nobody mount')
                continue
            for family, name, why in cases(runs):
                tried[family] += 1
                if why: lost.append((family, f'{name}: {why}'))
        if MOUNTS: unmount(work)
    return show(tried, lost, start)


if __name__ == '__main__': sys.exit(main())
