"""The reference, read from the source: each public name with its signature, its docstring, and the comments beside
its parameters (nbdev's docments). Names that stand on one line of a signature share its comment.
"""
import ast
import io
import os
import re
import tokenize

TITLES = dict(data='00_data', phantom='00a_phantom', dcg='01_dcg', unet='02_unet', diffusion='03_diffusion', train='04_train', predict='04a_predict', evaluate='05_evaluate', cli='05a_cli')


def comments(source):
    "{line: comment}"
    return {t.start[0]: t.string.lstrip('# ') for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type == tokenize.COMMENT}


def plain(text):
    "Text in which Markdown sees nothing but code spans."
    parts = re.split(r'(`[^`]*`)', text)
    return ''.join(p if p.startswith('`') else re.sub(r'([\\*_<>$\[\]{}])', r'\\\1', p) for p in parts)


def typed(node): return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ast.unparse(node)


def signature(f, method=False):
    args = ast.unparse(f.args)
    if method: args = re.sub(r'^(self|cls)(, )?', '', args)
    return f'{f.name}({args})' + (f' -> {typed(f.returns)}' if f.returns else '')


def docments(f, notes):
    "Field-list lines for the parameters and the result of a function."
    a = f.args
    args = [v for v in (*a.posonlyargs, *a.args, a.vararg, *a.kwonlyargs, a.kwarg) if v]
    last = f.returns and f.returns.end_lineno
    lines = {}
    for v in args: lines.setdefault(v.lineno, []).append(v.arg)
    if {*lines, last or f.lineno} == {f.lineno}:  # a signature of one line has one comment
        note = notes.get(f.lineno, '')
        about = next((v.arg for v in args if note.startswith(f'{v.arg} ')), None)
        return [f":{f'param {about}' if about else 'returns'}: {plain(note.removeprefix(f'{about} '))}"] if note else []
    found = [f":param {','.join(names)}: {plain(notes[n])}" for n, names in lines.items() if n in notes and n != last]
    return found + ([f':returns: {plain(notes[last])}'] if last in notes else [])


def block(kind, title, body, options=()):
    ticks = '`' * max([3, *(len(t) + 1 for t in re.findall('^`{3,}', '\n'.join(body), re.M))])
    return '\n'.join([f'{ticks}{{py:{kind}}} {title}', *options, '', *body, ticks, ''])


def function(f, notes, module, method=False):
    local = {g.name: ast.get_docstring(g) for g in module.body if isinstance(g, ast.FunctionDef)}
    names = [d.id for d in f.decorator_list if isinstance(d, ast.Name)]
    wrapped = [f'Made by `@{n}`: {plain(local[n] or "")}' for n in names if n in local]
    if 'property' in names:
        return block('property', f.name, [plain(ast.get_docstring(f) or notes.get(f.lineno, ''))], [f':type: {typed(f.returns)}'] if f.returns else [])
    options = [f':{n}:' for n in names if method and n in ('classmethod', 'staticmethod')]
    return block('method' if method else 'function', signature(f, method), [plain(ast.get_docstring(f) or ''), '', *wrapped, '', *docments(f, notes)], options)


def class_(c, notes, module):
    "A class with its fields and public methods."
    methods = [f for f in c.body if isinstance(f, ast.FunctionDef)]
    init = [f for f in methods if f.name == '__init__']
    fields = [v for v in c.body if isinstance(v, ast.AnnAssign)]
    title = c.name + (signature(init[0], True).removeprefix('__init__') if init else f"({', '.join(map(ast.unparse, fields))})" if fields else '')
    listed = [f':param {v.target.id}: {plain(notes[v.end_lineno])}' for v in fields if v.end_lineno in notes] + (docments(init[0], notes) if init else [])
    inner = [function(f, notes, module, True) for f in methods if not f.name.startswith('_')]
    return block('class', title, [plain(ast.get_docstring(c) or ''), '', *listed, '', *inner])


def assigned(node):
    "(target, value) of an assignment, one a name."
    target, value = node.targets[0], node.value
    return zip(target.elts, value.elts) if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) else [(target, value)]


def constant(name, value, note):
    text = ast.unparse(value)
    return block('data', name, [plain(note)], [f':value: {text}'] if len(text) < 100 else [])


def public(module):
    "The names of __all__."
    return next(ast.literal_eval(n.value) for n in module.body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == '__all__')


def entries(module, notes):
    names = public(module)
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name in names: yield function(node, notes, module)
        if isinstance(node, ast.ClassDef) and node.name in names: yield class_(node, notes, module)
        if isinstance(node, ast.Assign): yield from (constant(t.id, v, notes.get(node.end_lineno, '')) for t, v in assigned(node) if ast.unparse(t) in names)


def module_page(path):
    source = path.read_text(encoding='utf-8')
    module, name = ast.parse(source), path.stem
    head = f'# {name}\n\n{ast.get_docstring(module)}\n\nExplained, shown and tested in [{TITLES[name]}](../nbs/{TITLES[name]}.ipynb).\n'
    return '\n'.join([head, block('module', f'mediscope.{name}', []), *entries(module, comments(source))])


def commands_page():
    "What --help says, of every command."
    os.environ |= dict(COLUMNS='84', NO_COLOR='1')
    from mediscope.cli import make_parser
    parser = make_parser()
    commands = parser._subparsers._group_actions[0].choices
    return '\n'.join(['# Command line', '', 'What `mediscope --help` says, and each command after it. Explained and tested in [05a_cli](../nbs/05a_cli.ipynb).', '',
                      *(f'{"## " + name if name else ""}\n\n```text\n{p.format_help()}```\n' for name, p in {'': parser, **commands}.items())])


def pages(package):
    "{name: Markdown} of every page."
    return {p.stem: module_page(p) for p in package.glob('*.py') if p.stem in TITLES} | dict(commands=commands_page())
