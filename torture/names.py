"""Names that a page, a template or a table would obey: `python torture/names.py`.

Classes, scans, folders, patients and the description of the data are named like scripts, event handlers, templates
and formulas. The command line trains on them, evaluates and predicts; then headless Chromium opens every page, in
which nothing of the names may run, and each must be read as text. Where playwright or Chromium are missing, the
parser of Python's library looks for what would run. A table must give back the names that went in. Exit code 0:
all of them stayed text.
"""
import os, shutil, sys, tempfile, time
from collections import Counter
from contextlib import ExitStack, redirect_stdout
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
os.environ['OMP_NUM_THREADS'] = '1'
import pandas as pd
from mediscope.cli import main as mediscope
from mediscope.phantom import write_phantoms
from mediscope.train import open_run
from table import show

CLASSES = '<script>window.owned=1</script>', '"\'><img src=x onerror="window.owned=2">$\\frac{$$'
FOLDERS = 'plain', '</script><script>window.owned=3</script>', '-->]]><svg onload=window.owned=4>', '{{ 7*7 }}{% raw %}${7*7}', '=HYPERLINK("x","y")'
PATIENTS = '=1+1', '@SUM(1)', '<b onmouseover=window.owned=5>', 'a,"b', "'; window.owned=6; '"
ABOUT = '</p></script><script>window.owned=7</script><img src=x onerror=window.owned=8>'
FILE = '<img src=x onerror=window.owned={}>.nii.gz'
BROWSERS = 'chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'


def write_data(folder):
    "Phantoms under such names; returns a list of them."
    write_phantoms(folder/'phantoms', n=10, scale=.2, progress=False)
    rows = []
    for i, scan in enumerate(sorted(p for p in (folder/'phantoms').rglob('*.nii.gz') if '_mask' not in p.name)):
        to = folder/'set'/FOLDERS[i % len(FOLDERS)]/FILE.format(10 + i)
        to.parent.mkdir(parents=True, exist_ok=True)
        rows.append(dict(path=to.relative_to(folder).as_posix(), label=CLASSES['CT-23' in scan.parts], patient=f'{PATIENTS[i % len(PATIENTS)]}{i}'))
        scan.rename(to)
    pd.DataFrame(rows).to_csv(folder/'list.csv', index=False)
    return pd.DataFrame(rows)


# --- what would run, and what runs ---

class Source(HTMLParser):
    "What of the names would run in a page: handlers, addresses, scripts."
    def __init__(self, text):
        super().__init__()
        self.faults, self.script = [], False
        self.feed(text)
    def handle_starttag(self, tag, attributes):
        self.script = tag == 'script'
        self.faults += [f'<{tag} {k}={v}>' for k, v in attributes if k.startswith('on') and 'owned' in (v or '') or k == 'src' and v == 'x']
    def handle_endtag(self, tag): self.script = False
    def handle_data(self, data):
        if self.script and data.lstrip().startswith('window.owned'): self.faults.append(f'<script>{data[:40]}')

def opened(browser, file):
    "What a page runs, asks for or complains of in a browser, and whether it shows a class."
    page, faults = browser.new_page(), []
    page.on('dialog', lambda d: (faults.append(f'says {d.message}'), d.dismiss()))
    page.on('pageerror', lambda e: faults.append(f'error: {e}'))
    page.on('console', lambda m: m.type == 'error' and faults.append(f'console: {m.text}'))
    page.on('request', lambda r: r.url.startswith(('data:', 'blob:', file.as_uri())) or faults.append(f'asks for {r.url}'))
    page.goto(file.as_uri(), wait_until='load')
    for e in page.query_selector_all('button, summary, td, b'): e.is_visible() and e.hover()
    owned, text = page.evaluate('window.owned'), page.evaluate('document.body.innerText')
    page.close()
    if owned is not None: faults.append(f'runs name {owned}')
    return faults if any(c in text for c in CLASSES) else [*faults, 'does not show a class as text']


# --- families: (family, name, what went wrong or None) ---

def cases(home, browser):
    rows = write_data(home)
    run, new, listing = home/'run', home/'new', home/'list.csv'
    train = ['train', listing, '--out', run, '--shape', '32,32,32', '--folds', '2', '--epochs-dcg', '1', '--epochs-diffusion', '1', '--device', 'cpu', '--about', ABOUT]
    for command in (['check', listing], train, ['evaluate', run], ['predict', run, home/'set', '--out', new]):
        with open(home/'said', 'w') as out, redirect_stdout(out): code = mediscope([str(c) for c in command])
        yield 'commands', command[0], f'exit code {code}' if code else None
    for name in ('run/split.csv', 'run/predictions.csv', 'new/predictions.csv'):
        table, paths = pd.read_csv(home/name), rows.path if 'run' in name else rows.path.str.removeprefix('set/')
        labels = {*rows.label} if 'run' in name else {*table.label} & {*rows.label}
        yield 'tables', name, None if {*table.path} == {*paths} and {*table.label} == labels else 'gives back other names'
    pages = [run/'report.html', *sorted(new.rglob('*.html'))]
    for page in pages:
        faults = opened(browser, page) if browser else Source(page.read_text(encoding='utf-8')).faults
        yield f"pages, {'in Chromium' if browser else 'by their source'}", page.name, '; '.join(faults) or None
    yield 'pages', 'one a scan, and the report', None if len(pages) == len(rows) + 1 else f'{len(pages)} pages'
    for name, text in {'a run in a notebook': open_run(run)._repr_markdown_(), 'the card of a model': (run/'README.md').read_text(encoding='utf-8')}.items():
        yield 'Markdown', name, '; '.join(Source(text).faults) or None


def main():
    tried, lost, start = Counter(), [], time.monotonic()
    with tempfile.TemporaryDirectory(prefix='names-') as t, ExitStack() as stack:
        home, browser = Path(t).resolve(), next(filter(None, map(shutil.which, BROWSERS)), None)
        os.environ['MEDISCOPE_CACHE'] = str(home/'cache')
        if browser and find_spec('playwright'):
            from playwright.sync_api import sync_playwright
            browser = stack.enter_context(stack.enter_context(sync_playwright()).chromium.launch(executable_path=browser, args=['--no-sandbox']))
        else: browser = print('no browser: playwright or Chromium is missing')
        for family, name, why in cases(home, browser):
            tried[family] += 1
            if why: lost.append((family, f'{name}: {why}'))
    return show(tried, lost, start)


if __name__ == '__main__': sys.exit(main())
