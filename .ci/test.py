"""What must hold before a change goes in; `make test` runs it in .venv.

The working tree is only read: every check works in a copy. The notebooks run twice, once against
the tree and once as a reader has them, every other on Kaggle and on Colab, simulated: with the
versions that are there (colab.txt), where their first cell has to install mediscope and nothing
else. With `--everywhere` each runs on both. With `oldest` or `newest` they run once, as on Kaggle,
with the lowest or the highest versions that settings.ini allows.
Exit code 0 and `N passed, 0 failed` on the last line mean that everything holds.
"""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from configparser import ConfigParser
from functools import partial
from importlib.metadata import distribution, version
from itertools import count
from pathlib import Path
from zipfile import ZipFile

import scan

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LANES, LIMIT = 2, 600  # notebooks at once, seconds for each
BOUNDS = dict(oldest='lowest-direct', newest='highest')  # what uv calls them
VERSIONS = ROOT/('.ci/colab.txt' if (3, 11) <= sys.version_info < (3, 13) else 'constraints.txt')  # of the places where notebooks are read, if they exist for this Python
BANNED = 'skip_exec', 'notest', 'eval: false', 'from nbdev.showdoc import', 'nbdev_export()', 'papermill-error'

INSTALL = '00000000'  # id of the cell that installs the package on Kaggle and Colab, the same in all notebooks
BADGES = dict(Colab='(https://colab.research.google.com/github/mediscope/mediscope/blob/main/nbs/{}.ipynb)',
              Kaggle='(https://kaggle.com/kernels/welcome?src=https://github.com/mediscope/mediscope/blob/main/nbs/{}.ipynb)')


class Failed(Exception):
    "A check does not hold; the text says why."


# --- the project ---

def project():
    "The settings of the package."
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']


def files():
    "The files of the working tree, without those that git ignores, relative to the root."
    git = subprocess.run(['git', 'ls-files', '-coz', '--exclude-standard'], cwd=ROOT, capture_output=True, text=True)
    names = git.stdout.split('\0') if git.returncode == 0 else unpacked()
    return sorted(p for p in map(Path, filter(None, names)) if (ROOT/p).is_file())


def unpacked():
    "The same for a tree without git, an unpacked archive."
    ignored = re.compile(r'\.git$|\.venv|demo$|site$|build$|dist$|.*\.egg-info$|__pycache__$')
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if not ignored.match(f)]
        yield from (os.path.relpath(Path(folder, n), ROOT) for n in names)


def notebooks(paths):
    "The notebooks among `paths`, in the order of their numbers."
    return [p for p in paths if p.suffix == '.ipynb' and not any(s[0] in '._' for s in p.parts)]


# --- running commands ---

running = set()


def environment(home):
    "One thread and a home folder of its own; outside the tree only the reference data matters, where it is present."
    keep = {k: v for k, v in os.environ.items() if not k.startswith(('XDG_', 'JUPYTER_', 'PYTHONPATH'))}
    home.mkdir(exist_ok=True)
    return keep | dict(HOME=str(home), MEDISCOPE_CACHE=str(home/'cache'), MEDISCOPE_SHARED=str(ROOT.parent/'shared'), OMP_NUM_THREADS='1')


def run(log, *command, cwd, env=None, limit=LIMIT):
    "Run `command` and return its output, which is also appended to `log`."
    with open(log, 'a+') as out:
        start = out.tell()
        process = subprocess.Popen([str(c) for c in command], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                                   stdout=out, stderr=subprocess.STDOUT, start_new_session=True)
        running.add(process)
        try: code = process.wait(limit)
        except subprocess.TimeoutExpired: raise Failed(f'not finished after {limit} s') from None
        finally: stop(process)
        out.seek(start)
        if code: raise Failed(f'{Path(command[0]).name}: exit code {code}')
        return out.read()


def stop(process):
    "End a process and whatever it started: kernels, workers."
    running.discard(process)
    try: os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError): pass
    process.wait()


def tail(log, n=25):
    "The last lines of a log, without terminal colours."
    lines = log.read_text(errors='replace').splitlines() if log.exists() else []
    return [re.sub(r'\x1b\[[0-9;]*m', '', line) for line in lines[-n:]]


# --- the checks: each takes `sh`, which runs a command, and folders of its own, and raises Failed ---

def check_clean(sh, copy, paths):
    "The notebooks hold no editor's metadata: nbdev_clean changes nothing."
    sh(BIN/'nbdev_clean', cwd=copy, env=environment(copy/'.home'))
    dirty = [p.name for p in paths if (copy/p).read_bytes() != (ROOT/p).read_bytes()]
    if dirty: raise Failed(f"run nbdev_clean, which changes {', '.join(dirty)}")


def check_modules(sh, copy, package):
    "The package is what nbdev_export makes of the notebooks, no module more or less."
    committed = modules(copy/package)
    for name in committed: (copy/package/name).unlink()
    sh(BIN/'nbdev_export', cwd=copy, env=environment(copy/'.home'))
    faults = differences(committed, modules(copy/package))
    if faults: raise Failed('; '.join(faults))


def modules(folder):
    "The generated modules of a package: {path: bytes}. nbdev keeps __init__.py, only with a new version."
    return {p.relative_to(folder).as_posix(): p.read_bytes()
            for p in sorted(folder.rglob('*.py')) if p.name != '__init__.py'}


def differences(committed, exported):
    "What is wrong with the `committed` modules, a phrase each."
    return ([f'{m} comes from no notebook' for m in committed if m not in exported]
            + [f'{m} is missing' for m in exported if m not in committed]
            + [f'{m} differs from its notebook; run nbdev_export' for m in committed if exported.get(m, committed[m]) != committed[m]])


def check_rules(sh, paths):
    "Every notebook shows a real run, and nothing in it hides from the tests."
    if not paths: raise Failed('there is no notebook')
    read = {p.stem: json.loads((ROOT/p).read_text(encoding='utf-8')) for p in paths}
    install = source_of(read['tutorial'], INSTALL)
    faults = [f'{name}: {f}' for name, nb in read.items() for f in faults_of(nb)]
    faults += [f'{name}: no {what}' for name, nb in read.items() for what in missing(name, nb, install)]
    if faults: raise Failed('; '.join(faults))


def faults_of(notebook):
    "What a notebook must not have or lacks, a phrase each."
    cells = notebook['cells']
    source = '\n'.join(''.join(c['source']) for c in cells)
    outputs = [o for c in cells for o in c.get('outputs', [])]
    return ([f'holds `{b}`' for b in BANNED if b in source]
            + ['shows an error'] * any(o['output_type'] == 'error' for o in outputs)
            + ['shows no output'] * (not outputs)
            + ['shows a warning (stderr); run it with `make notebook`'] * any(o.get('name') == 'stderr' for o in outputs)
            + [f'shows {path}, a path of one machine' for path in sorted(set(re.findall(r'(?:/home|/root|/tmp|/Users|/work)/[\w.-]+', told(outputs))))])


def told(outputs):
    "What outputs say, without their pictures."
    texts = [o.get('text', '') for o in outputs] + [v for o in outputs for kind, v in o.get('data', {}).items() if not kind.startswith('image/')]
    return re.sub(r'data:[\w/+-]+;base64,[^"\'\s)]+', '', '\n'.join(''.join(t) if isinstance(t, list) else str(t) for t in texts))


def source_of(notebook, id):
    "The source of a cell, or nothing."
    return next((''.join(c['source']) for c in notebook['cells'] if c['id'] == id), None)


def missing(name, notebook, install):
    "What a reader on Kaggle or Colab would miss in a notebook. The README, which comes from index, has no badges of its own."
    text = '\n'.join(''.join(c['source']) for c in notebook['cells'])
    return [f'badge of {place}' for place, link in BADGES.items() if name != 'index' and link.format(name) not in text] + ['cell that installs mediscope there'] * (source_of(notebook, INSTALL) != install)


def check_code(sh, copy, package):
    "Nothing in the package runs data as code, or asks a shell."
    faults = [f'{p.name}:{line}: {name}' for p in sorted((copy/package).rglob('*.py')) for line, name in scan.dangers(p.read_text(encoding='utf-8'))]
    if faults: raise Failed('; '.join(faults))


def check_readme(sh, copy):
    "README.md and its figures come from index.ipynb."
    sh(BIN/'python', '.ci/readme.py', '--check', cwd=copy)


SCHEMAS = {'github-workflows': '.github/workflows/*.yml', 'github-issue-forms': '.github/ISSUE_TEMPLATE/[!c]*.yml',
           'github-issue-config': '.github/ISSUE_TEMPLATE/config.yml', 'dependabot': '.github/dependabot.yml', 'citation-file-format': 'CITATION.cff'}


def check_schemas(sh):
    "What GitHub reads follows its schemas, which check-jsonschema brings along; the citation names this version."
    for schema, pattern in SCHEMAS.items():
        sh(BIN/'check-jsonschema', '--force-filetype', 'yaml', '--builtin-schema', f'vendor.{schema}', *sorted(ROOT.glob(pattern)), cwd=ROOT)
    version = f"version: {project()['version']}"
    if version not in (ROOT/'CITATION.cff').read_text(encoding='utf-8').splitlines(): raise Failed(f'CITATION.cff does not say `{version}`')


def check_docs(sh, copy):
    "The pages of the documentation find what they show of the notebooks and of the package; Sphinx is not needed."
    sh(BIN/'python', '-c', 'import sys; sys.path.insert(0, "docs"); import build; build.gather()', cwd=copy)


def check_scripts(sh, copy):
    "The scripts in .ci do what they say."
    sh(BIN/'python', '.ci/test_scripts.py', cwd=copy)


def check_torture(sh, copy, name):
    "A script of torture/ in its short form loses nothing."
    sh(BIN/'python', f'torture/{name}.py', cwd=copy, env=environment(copy/'.home') | dict(PYTHONPATH=str(copy)))


def check_tree(sh, copy, path):
    "A notebook runs against the modules of the tree. nbdev_test is content with nothing, hence the last line."
    env = environment(copy/'.home') | dict(PATH=f'{BIN}:{os.environ["PATH"]}', PYTHONPATH=str(copy))
    out = sh(BIN/'nbdev_test', '--path', path, '--do_print', cwd=copy, env=env)
    if f'Completed {copy/path}' not in out: raise Failed('nbdev_test did not run it')


def check_build(sh, copy, dist, package):
    "The sdist builds, the wheel builds from the sdist, and holds every file of the package."
    sh(BIN/'python', '-m', 'build', '--no-isolation', '--outdir', dist, cwd=copy)
    inside = ZipFile(wheel(dist)).namelist()
    absent = [str(p) for p in files() if p.parts[0] == package and p.as_posix() not in inside]
    if absent: raise Failed(f"not in the wheel: {', '.join(absent)}")


def wheel(dist):
    "The wheel that `check_build` made."
    return next(dist.glob('*.whl'))


def check_install(sh, venv, dist, bounds=None):
    "What the wheel needs installs in an environment that holds nothing but the torch of this one, or with `bounds` nothing at all: what Kaggle and Colab have of it, or the versions at the bounds."
    sh(BIN/'python', '-m', 'venv', venv, cwd=dist)
    if not bounds: share(venv, 'torch')
    needs = [*project()['requirements'].split(), *project()['dicom_requirements'].split()]
    runs = [r for r in project()['dev_requirements'].split() if r.startswith(('papermill', 'ipykernel'))]
    if bounds: sh(BIN/'uv', 'pip', 'install', '--python', venv/'bin/python', '--only-binary', ':all:', '--resolution', BOUNDS[bounds], *needs, *runs, cwd=dist)
    else: pip(sh, venv, '--no-compile', f"torch=={version('torch')}", *needs, 'papermill', 'ipykernel', 'setuptools', 'wheel', cwd=dist)  # the build that is here, for the CPU perhaps


def share(venv, name):
    "Let an environment have a package of this one: most of its gigabyte is torch."
    for part in {f.parts[0] for f in distribution(name).files} - {'..'}: (site(venv)/part).symlink_to(distribution(name).locate_file(part))


def pip(sh, venv, *what, cwd):
    "Install what Kaggle and Colab have; with the pip of this environment, since an older one would find no hash in constraints.txt."
    sh(BIN/'pip', '--python', venv/'bin/python', 'install', '--quiet', '--no-input', '--only-binary', ':all:', '-c', VERSIONS, *what, cwd=cwd)


def check_alone(sh, venv, dist, package, folder):
    "The package works there, without what it was written with."
    own = addition(sh, venv, folder/'venv')
    sh(own/'bin/python', '-m', 'pip', 'install', '--quiet', '--no-index', wheel(dist), cwd=folder)
    probe = f'import {package}, importlib.util as u; assert not u.find_spec("nbdev") and not u.find_spec("fastcore")'
    sh(own/'bin/python', '-c', probe, cwd=folder)
    sh(own/'bin'/package, '--help', cwd=folder, env=environment(folder/'.home'))


def check_torch(sh, venv, dist, folder):
    "Installing the package leaves a torch alone that is there already, also an older CUDA build."
    old = folder/'torch-2.6.0+cu124.dist-info'
    old.mkdir()
    (old/'METADATA').write_text('Metadata-Version: 2.1\nName: torch\nVersion: 2.6.0+cu124\n')
    for path in ('', folder):
        report = folder/f'report-{bool(path)}.json'
        sh(BIN/'pip', '--python', venv/'bin/python', 'install', '--dry-run', '--report', report, wheel(dist),
           cwd=folder, env=os.environ | dict(PYTHONPATH=str(path)))
        names = [i['metadata']['name'].lower() for i in json.loads(report.read_text())['install']]
        if 'torch' in names: raise Failed('pip would replace torch')


# --- Kaggle and Colab: libraries are there, mediscope is not, and nothing else can be reached ---

OFFLINE = dict.fromkeys(('http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'), 'http://127.0.0.1:9') | dict(no_proxy='127.0.0.1,localhost', PIP_NO_INDEX='1')


def check_attach(sh, copy, dist):
    "What is attached on Kaggle: the wheel, and a data set in the layout of MosMedData. What Colab clones: a repository."
    (dist/'input/mediscope-wheel').mkdir(parents=True)
    shutil.copy(wheel(dist), dist/'input/mediscope-wheel')
    sh(BIN/'python', '-c', 'import sys; from mediscope.phantom import write_phantoms; write_phantoms(sys.argv[1], n=24, scale=.5, difficulty=0)',
       dist/'input/covid-19-ct/COVID19_1110/studies', cwd=dist, env=environment(dist/'home') | dict(PYTHONPATH=str(ROOT)))
    if not shutil.which('git'): return
    for arguments in (['init', '-q'], ['add', '-A'], ['-c', 'user.name=test', '-c', 'user.email=', 'commit', '-q', '-m', 'the tree']): sh('git', *arguments, cwd=copy)
    copy.rename(dist/'repository')


def kaggle(dist, folder):
    "The working folder and the variables of Kaggle: a wheel and a data set are attached, read-only."
    shutil.copytree(dist/'input', folder/'kaggle/input')
    for path in [folder/'kaggle/input', *(folder/'kaggle/input').rglob('*')]: path.chmod(path.stat().st_mode & ~0o222)
    return folder/'kaggle/working', dict(KAGGLE_KERNEL_RUN_TYPE='Batch', KAGGLE_URL_BASE='https://www.kaggle.com', MEDISCOPE_INPUT=str(folder/'kaggle/input'))


def colab(dist, folder):
    "The same of Colab: nothing is attached, git finds the repository, its own module is loaded. (Its pip would fetch a setuptools to build with.)"
    (folder/'content/sample_data').mkdir(parents=True)
    module = site(folder/'venv')/'google/colab'
    module.mkdir(parents=True)
    (module/'__init__.py').touch()
    (site(folder/'venv')/'colab.pth').write_text('import google.colab\n')
    found = dict(GIT_CONFIG_COUNT='1', GIT_CONFIG_KEY_0=f'url.{dist/"repository"}.insteadOf', GIT_CONFIG_VALUE_0=project()['git_url'], PIP_NO_BUILD_ISOLATION='0')
    return folder/'content', dict(COLAB_RELEASE_TAG='release-colab', COLAB_GPU='') | found


PLACES = dict(Kaggle=kaggle, Colab=colab)


def site(venv): return next(venv.glob('lib/python*/site-packages'))


def addition(sh, venv, folder):
    "An environment that has what another has, and room for more."
    sh(venv/'bin/python', '-m', 'venv', '--without-pip', folder, cwd=venv)
    (site(folder)/'more.pth').write_text(f'{site(venv)}\n')
    return folder


def check_place(sh, venv, dist, path, folder, place, **variables):
    "A notebook runs there, and its first cell installs mediscope and nothing else. The tutorial finds the data set that is attached."
    own, name = addition(sh, venv, folder/'venv'), project()['lib_name']
    work, seen = PLACES[place](dist, folder)
    work.mkdir(exist_ok=True)
    shutil.copy(ROOT/path, folder)
    env = environment(folder/'home') | dict(MEDISCOPE_SHARED=str(folder/'none'), PATH=f'{own/"bin"}:{venv/"bin"}:{os.environ["PATH"]}') | OFFLINE | seen | variables
    try: sh(own/'bin/python', '-m', 'papermill', '--no-progress-bar', '--log-output', '-k', 'python3', folder/path.name, folder/'out.ipynb', cwd=work, env=env)
    finally:
        for there in folder.glob('kaggle/input/**/'): there.chmod(0o755)
    if [p.name.split('-')[0] for p in site(own).glob('*.dist-info')] != [name]: raise Failed(f'pip did not install {name} alone')
    if place == 'Kaggle' and path.stem == 'tutorial' and 'CC BY-NC-ND' not in (folder/'out.ipynb').read_text(): raise Failed('the attached data set was not found')


def check_viewer(sh, venv, dist, path, folder, place):
    "The same with the widget for notebooks, in a folder beside that environment."
    pip(sh, venv, '--target', folder/'viewer', *project()['viewer_requirements'].split(), cwd=folder)
    check_place(sh, venv, dist, path, folder, place, PYTHONPATH=str(folder/'viewer'))


def places(paths, everywhere=False):
    "(notebook, place): each on one, in turn, the last (the tutorial) on Kaggle, or on both; Colab clones, so without git all on Kaggle."
    there = list(PLACES) if shutil.which('git') else ['Kaggle']
    return [(p, place) for n, p in enumerate(reversed(paths)) for place in (there if everywhere else [there[n % len(there)]])]


# --- the run ---

class Run:
    "Checks share a scratch folder, a log for each, and the count of what held."
    def __init__(self, work):
        self.work, self.results, self.number, self.stopped = work, [], count(), False
        (work/'logs').mkdir()

    def folder(self):
        "A new, empty folder."
        folder = self.work/f'{next(self.number)}'
        folder.mkdir()
        return folder

    def copy(self):
        "A copy of the working tree."
        folder = self.folder()
        for path in files():
            (folder/path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT/path, folder/path)
        return folder

    def check(self, name, f, *args):
        "Call one check, print one line, and return whether it held. Those of `args` that are called make a folder for it, which goes when it is done."
        if self.stopped: return False
        log, start, why = self.work/'logs'/f"{re.sub('[^A-Za-z0-9_]+', '-', name)}.log", time.monotonic(), None
        made = []
        def make(what):
            made.append(what())
            return made[-1]
        try: f(partial(run, log), *[make(a) if callable(a) else a for a in args])
        except Failed as e: why = str(e)
        except Exception as e: why = f'{type(e).__name__}: {e}'
        finally:
            for folder in made: shutil.rmtree(folder, ignore_errors=True)
        if self.stopped: return False
        line = f"{'ok  ' if why is None else 'FAIL'} {time.monotonic()-start:6.1f} s  {name}"
        print('\n'.join([line] if why is None else [f'{line}: {why}', *(f'     | {s}' for s in tail(log))]), flush=True)
        self.results.append(why is None)
        return why is None

    def package(self, name, dist, venv, bounds=None):
        "Build and install the package; return whether notebooks can run with it."
        if not self.check('wheel builds from sdist', check_build, self.copy, dist, name): return False
        if not self.check('what the wheel needs installs in a new environment', check_install, venv, dist, bounds): return False
        if not self.check('wheel, data set and repository are attached', check_attach, self.copy, dist): return False
        self.check('package works without nbdev', check_alone, venv, dist, name, self.folder)
        self.check('torch stays as it is', check_torch, venv, dist, self.folder)
        return True

    def everything(self):
        "All checks: the quick ones in turn, then notebooks in lanes while the package is installed."
        name, paths, dist, venv = project()['lib_path'], notebooks(files()), self.folder(), self.folder()
        with ThreadPoolExecutor(1) as side, ThreadPoolExecutor(LANES) as lanes:
            installed = side.submit(self.package, name, dist, venv)
            self.check('scripts of .ci', check_scripts, self.copy)
            self.check('workflows, templates and citation follow their schemas', check_schemas)
            self.check('notebooks follow the rules', check_rules, paths)
            self.check('notebooks are clean', check_clean, self.copy, paths)
            self.check('modules come from the notebooks', check_modules, self.copy, name)
            self.check('nothing in the package runs data as code', check_code, self.copy, name)
            self.check('README comes from index', check_readme, self.copy)
            self.check('documentation finds what it shows', check_docs, self.copy)
            lanes.submit(self.check, 'hostile files', check_torture, self.copy, 'hostile')
            lanes.submit(self.check, 'no leaks of patients', check_torture, self.copy, 'leaks')
            lanes.submit(self.check, 'names stay text', check_torture, self.copy, 'names')
            lanes.submit(self.check, 'runs that are taken away', check_torture, self.copy, 'crash')
            lanes.submit(self.check, 'no scan on both sides of a split', check_torture, self.copy, 'twins')
            lanes.submit(self.check, 'intervals and tests keep their promise', check_torture, self.copy, 'promises')
            lanes.submit(self.check, 'nothing is left behind, the same seed gives the same bits', check_torture, self.copy, 'endurance')
            lanes.submit(self.check, 'what is broken on purpose is noticed', check_torture, self.copy, 'mutations')
            for p in paths: lanes.submit(self.check, f'{p.stem} in the tree', check_tree, self.copy, p)
            for p, place in places(paths, '--everywhere' in sys.argv) if installed.result() else ():
                check, with_what = (check_viewer, ', with the viewer') if p.stem == '04a_predict' else (check_place, '')
                lanes.submit(self.check, f'{p.stem} as on {place}{with_what}', check, venv, dist, p, self.folder, place)

    def at(self, bounds):
        "The package and its notebooks with the versions at one of the `BOUNDS`, which are printed."
        name, dist, venv = project()['lib_path'], self.folder(), self.folder()
        if not self.package(name, dist, venv, bounds): return
        frozen = subprocess.run([BIN/'uv', 'pip', 'freeze', '--python', venv/'bin/python'], capture_output=True, text=True).stdout.split()
        print(sys.version.split()[0], *(f for f in frozen if re.search(rf'\b{f.split("==")[0]}>=', project()['requirements'].replace('_', '-'))), flush=True)
        with ThreadPoolExecutor(LANES) as lanes:
            for p in notebooks(files()): lanes.submit(self.check, f'{p.stem} as on Kaggle, {bounds} versions', check_place, venv, dist, p, self.folder, 'Kaggle')


def main():
    "Run everything in a scratch folder, of which only the logs of a failure stay; return the exit code."
    work = Path(tempfile.mkdtemp(prefix='mediscope-test-')).resolve()
    test = Run(work)
    for number in signal.SIGINT, signal.SIGTERM: signal.signal(number, lambda *_: abort(test))
    test.at(sys.argv[1]) if sys.argv[1:] else test.everything()
    passed, failed = sum(test.results), test.results.count(False)
    for folder in work.iterdir():
        if folder.name != 'logs' or not failed: shutil.rmtree(folder)
    if failed: print(f'full logs: {work/"logs"}, where {shutil.disk_usage(work).free >> 20:,} MB are free')
    else: work.rmdir()
    print(f'{passed} passed, {failed} failed')
    return failed > 0 or passed == 0


def abort(test):
    "Ctrl-C: nothing keeps running or is begun, nothing stays."
    test.stopped = True
    print('interrupted', flush=True)
    while test.work.exists():
        for process in list(running): stop(process)
        shutil.rmtree(test.work, ignore_errors=True)
    os._exit(130)


if __name__ == '__main__': sys.exit(main())
