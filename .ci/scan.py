"""Calls that would run data as code or ask a shell, found in the syntax of Python files.

A name is followed to where it was imported from: `from os import system as s` hides nothing, nor does `f = eval`.
(bandit and ruff know neither numpy.load and joblib.load nor such names, so this list is its own.)
"""
import ast
import re

NEVER = re.compile(r'''
    builtins (\.(eval | exec | compile | __import__ | __builtins__))?
  | (pickle | _pickle | dill | cloudpickle | jsonpickle | marshal | shelve | subprocess | pty | runpy | code | codeop) (\..*)?
  | os\.(system | popen | startfile | exec.* | spawn.* | posix_spawn.*) | asyncio\.create_subprocess.* | sys\.modules | importlib\.(import_module | __import__ | machinery.*)
  | joblib\.load | pandas\.(read_pickle | eval) | yaml\.(?!safe_load).* | torch\.(hub | package | jit\.load | serialization)\b.* | .*\.\*''', re.X)
CAREFUL = {  # may be called, where this holds of the call
    'torch.load': lambda call: said(call, 'weights_only') is True,
    'numpy.load': lambda call: not said(call, 'allow_pickle', False) and len(call.args) < 3 and all(k.arg for k in call.keywords)}


def said(call, name, default=None):
    "The value of an argument, or its syntax where it is not a constant."
    return next((getattr(k.value, 'value', k.value) for k in call.keywords if k.arg == name), default)


def imported(node):
    "What an import binds: {name: where it is from}."
    if isinstance(node, ast.Import): return {a.asname or a.name.split('.')[0]: a.name if a.asname else a.name.split('.')[0] for a in node.names}
    return {a.asname or a.name: f"{'.'*node.level}{node.module or ''}.{a.name}" for a in node.names}


def full_name(node, names):
    "`np.load` → 'numpy.load', also of getattr(np, 'load'); None for what is no name."
    if isinstance(node, ast.Name): return names.get(node.id, f'builtins.{node.id}')
    if isinstance(node, ast.Attribute): of, name = node.value, node.attr
    elif isinstance(node, ast.Call) and getattr(node.func, 'id', '') == 'getattr' and isinstance(node.args[1], ast.Constant): of, name = node.args[0], node.args[1].value
    else: return None
    return (of := full_name(of, names)) and f'{of}.{name}'


def dangers(source):
    "What must not be in a file: (line, name), in their order."
    nodes = list(ast.walk(ast.parse(source)))
    imports = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
    names = {k: v for n in imports for k, v in imported(n).items()}
    found = {(n.lineno, v) for n in imports for v in [*imported(n).values(), *(a.name for a in n.names if isinstance(n, ast.Import))] if NEVER.fullmatch(v)}
    fine = {id(n.func) for n in nodes if isinstance(n, ast.Call) and CAREFUL.get(full_name(n.func, names), lambda call: False)(n)}
    for n in nodes:
        name = full_name(n, names)
        if name and (NEVER.fullmatch(name) or name in CAREFUL and id(n) not in fine): found.add((n.lineno, name))
        if isinstance(n, ast.Call) and said(n, 'shell', False) is not False: found.add((n.lineno, 'shell'))
    return sorted(found)
