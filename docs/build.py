"""The documentation as a site: pages, notebooks and reference are gathered in build/docs, and Sphinx makes site/ of them.

Nothing is run but the figure of diffused.md: a notebook appears as it is stored. A line of a page such as

    {{ results: advantage of mediscope over | what the picture shows }}

becomes the stored output of the first cell of nbs/results.ipynb that holds these words.
"""
import json
import re
import shutil
import sys
from base64 import b64decode
from configparser import ConfigParser
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # the package of this tree, whatever else is installed
import diffused
import reference

OUT = ROOT/'build/docs'
STORED = re.compile(r'^\{\{ (\w+): (.+?)(?: \| (.+?))? \}\}$', re.M)


def settings():
    config = ConfigParser(delimiters=['='])
    config.read(ROOT/'settings.ini', encoding='utf-8')
    return config['DEFAULT']


def joined(text): return text if isinstance(text, str) else ''.join(text)


def whole(text):
    "An interval is not broken at its dash, so that a table stays narrow."
    return re.sub(r'(\(\d\.\d+–)(?=\d)', '\\1\u2060', text)


def links(markdown):
    "No badges, which would ask other servers; files outside nbs/ are read in the repository."
    source = f"{settings()['git_url']}/blob/{settings()['branch']}"
    return re.sub(r'\]\(\.\./([^)]+)\)', rf']({source}/\1)', re.sub(r'\[?!\[[^]]*\]\(https?:[^)]*\)(\]\([^)]*\))?', '', markdown))


def shown(cell):
    "A cell as a reader sees it, or None: directives of nbdev are obeyed and go."
    source = joined(cell['source'])
    if cell['cell_type'] == 'markdown': return cell | dict(source=links(source))
    found = re.findall(r'^#\| *(.+)$', source, re.M)
    source = re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')
    if 'hide' in found or not source: return None
    return cell | dict(source=source, outputs=json.loads(whole(json.dumps(cell['outputs'], ensure_ascii=False))), metadata=dict(tags=['remove-input'] if 'echo: false' in found else []))


def notebook(path):
    stored = json.loads(path.read_text(encoding='utf-8'))
    return stored | dict(cells=[c for c in map(shown, stored['cells']) if c])


def stored_output(name, words, alt, folder):
    "What the first cell of a notebook with these words displayed, as Markdown; a picture becomes a file."
    cells = json.loads((ROOT/f'nbs/{name}.ipynb').read_text(encoding='utf-8'))['cells']
    for n, cell in enumerate(cells):
        if cell['cell_type'] != 'code' or words not in joined(cell['source']): continue
        for data in (o['data'] for o in cell['outputs'] if 'data' in o):
            if 'image/png' in data:
                (folder/f'{name}-{n}.png').write_bytes(b64decode(joined(data['image/png'])))
                return f'![{alt}](/{folder.name}/{name}-{n}.png)'
            if 'text/markdown' in data: return whole(joined(data['text/markdown']))
    raise SystemExit(f'nbs/{name}.ipynb: no cell with {words!r} shows a picture or a table')


def gather(out=OUT):
    "Everything that Sphinx reads."
    shutil.rmtree(out, ignore_errors=True)
    for folder in 'nbs', 'reference', 'figures': (out/folder).mkdir(parents=True)
    for path in (ROOT/'docs').rglob('*'):
        to = out/path.relative_to(ROOT/'docs')
        if path.suffix == '.css': to.parent.mkdir(exist_ok=True); shutil.copy(path, to)
        if path.suffix != '.md': continue
        text = STORED.sub(lambda m: stored_output(*m.groups(), out/'figures'), path.read_text(encoding='utf-8'))
        to.parent.mkdir(exist_ok=True); to.write_text(text, encoding='utf-8')
    (out/'security.md').write_text(links((ROOT/'SECURITY.md').read_text(encoding='utf-8')), encoding='utf-8')
    for path in (ROOT/'nbs').glob('*.ipynb'): (out/'nbs'/path.name).write_text(json.dumps(notebook(path)), encoding='utf-8')
    for name, text in reference.pages(ROOT/settings()['lib_path']).items(): (out/f'reference/{name}.md').write_text(text, encoding='utf-8')
    (out/'figures/diffused.svg').write_text(diffused.figure(), encoding='utf-8')


def main():
    "Gather the pages and make site/ of them; a warning is an error."
    from sphinx.cmd.build import main as sphinx
    gather()
    made, site = ROOT/'build/html', ROOT/'site'
    for old in made, site: shutil.rmtree(old, ignore_errors=True)
    code = sphinx(['-c', str(ROOT/'docs'), '-b', 'html', '-d', str(ROOT/'build/doctrees'), '-W', '--keep-going', '-q', str(OUT), str(made)])
    if not code: made.rename(site)
    return code


if __name__ == '__main__': sys.exit(main())
