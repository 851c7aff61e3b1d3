"""README.md from nbs/index.ipynb: prose as it stands, code in fences, outputs below it.

    python .ci/readme.py           write README.md and its figures, nbs/images/index_<n>.png
    python .ci/readme.py --check   name those that are out of date, and exit with 1
"""
import json
import re
import sys
from base64 import b64decode
from pathlib import Path
from posixpath import normpath

ROOT = Path(__file__).resolve().parents[1]
NOTE = '<!-- generated from nbs/index.ipynb, edit there -->'
FIGURE = 'nbs/images/index_{}.png'


def text(source):
    "A notebook stores text as one string or as a list of lines."
    return source if isinstance(source, str) else ''.join(source)


def fence(code, language=''):
    "A fenced block; longer ticks where the code itself holds a fence."
    ticks = '`' * max([3, *(len(t) + 1 for t in re.findall('`{3,}', code))])
    return f'{ticks}{language}\n{code.rstrip()}\n{ticks}'


def rebase(markdown):
    "Links relative to nbs/ become relative to the root; code stays untouched."
    def move(m):
        target = m['target']
        outside = target is None or re.match(r'[a-z][a-z+.-]*:|[#/]', target)
        return m[0] if outside else f"]({normpath('nbs/' + target)}"
    return re.sub(r'```.*?```|`[^`\n]*`|\]\((?P<target>[^)\s]+)', move, markdown, flags=re.S)


def split(source):
    "The directives of a code cell (`#| echo: false` -> {'echo': 'false'}), and the code without them."
    found = dict(re.findall(r'^#\|[ \t]*([\w-]+):?[ \t]*(.*?)[ \t]*$', source, flags=re.M))
    return found, re.sub(r'^#\|.*\n?', '', source, flags=re.M).strip('\n')


def output(out, figures):
    "One output as markdown; a figure is appended to `figures` and referred to."
    if out['output_type'] == 'stream':
        return fence(text(out['text'])) if out['name'] == 'stdout' else ''
    data = out.get('data', {})
    if 'text/markdown' in data: return rebase(text(data['text/markdown'])).strip()
    if 'image/png' in data:
        figures.append(b64decode(text(data['image/png'])))
        return f'![figure {len(figures)}]({FIGURE.format(len(figures))})'
    return fence(text(data['text/plain'])) if 'text/plain' in data else ''


def blocks(cell, figures):
    "What a cell contributes to the page, a paragraph each."
    source = text(cell['source'])
    if cell['cell_type'] == 'markdown': return [rebase(source).strip()]
    if cell['cell_type'] != 'code': return []
    directives, code = split(source)
    if 'hide' in directives: return []
    shown = [fence(code, 'python')] if code and directives.get('echo') != 'false' else []
    return shown + [output(o, figures) for o in cell.get('outputs', [])]


def pages(notebook):
    "Every file that the notebook becomes: {path: bytes}."
    figures = []
    parts = [NOTE, *(b for cell in notebook['cells'] for b in blocks(cell, figures))]
    readme = '\n\n'.join(p for p in parts if p) + '\n'
    return {'README.md': readme.encode(),
            **{FIGURE.format(i): png for i, png in enumerate(figures, 1)}}


def outdated(files, root=ROOT):
    "The paths that differ from `files`: changed, missing, or left over."
    changed = [p for p, b in files.items() if not (root/p).is_file() or (root/p).read_bytes() != b]
    figures = (p.relative_to(root).as_posix() for p in root.glob(FIGURE.format('*')))
    return sorted(changed + [p for p in figures if p not in files])


def write(files, root=ROOT):
    "Write `files` and remove figures that no cell draws any more."
    for path in outdated(files, root):
        target = root/path
        if path not in files: target.unlink(); continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files[path])


def main():
    "The command line; returns the exit code."
    files = pages(json.loads((ROOT/'nbs/index.ipynb').read_text(encoding='utf-8')))
    if sys.argv[1:] != ['--check']: return write(files)
    old = outdated(files)
    if old: print(f"out of date: {', '.join(old)}; `make readme` writes them from nbs/index.ipynb")
    return bool(old)


if __name__ == '__main__': sys.exit(main())
