"Unit tests of the scripts beside this file and of the reference in docs/; the runner calls them first."
import ast
import sys
import unittest
from base64 import b64encode
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

sys.path.append(str(Path(__file__).resolve().parents[1]/'docs'))
import readme
import reference
import scan
import test as runner

PNG = b'\x89PNG figure'


def markdown(source): return {'cell_type': 'markdown', 'source': source}


def code(source, *outputs): return {'cell_type': 'code', 'source': source, 'outputs': list(outputs)}


def shown(**data):
    return {'output_type': 'display_data', 'data': {k.replace('_', '/'): v for k, v in data.items()}}


def stream(text, name='stdout'): return {'output_type': 'stream', 'name': name, 'text': text}


def page(*cells): return readme.pages({'cells': cells})['README.md'].decode()


class Cells(unittest.TestCase):
    def test_page_opens_with_note_and_title(self):
        self.assertEqual(page({'cell_type': 'raw', 'source': '---\nskip: x\n---'}, markdown(['# mediscope\n', '\n', '> summary'])),
                         f'{readme.NOTE}\n\n# mediscope\n\n> summary\n')

    def test_hidden_cell_is_dropped(self):
        self.assertNotIn('secret', page(code('#| hide\nsecret = 1', stream('secret'))))

    def test_echo_false_shows_only_the_output(self):
        text = page(code('#| echo: false\nprint(1)', stream('1')))
        self.assertNotIn('print', text)
        self.assertIn('```\n1\n```', text)

    def test_directives_do_not_show(self):
        self.assertIn('```python\nx = 1\n```', page(code('#| export\n#| code-fold: true\nx = 1\n')))
        self.assertEqual(page(code('#| default_exp index')), readme.NOTE + '\n')

    def test_fence_outlasts_the_ticks_inside(self):
        self.assertEqual(readme.fence('```'), '````\n```\n````')


class Outputs(unittest.TestCase):
    def test_table_prefers_markdown_then_text(self):
        html = {'text_html': '<table>'}
        self.assertIn('\n\n| a |\n', page(code('t', shown(**html, text_plain='a', text_markdown='| a |\n'))))
        self.assertIn('```\na\n```', page(code('t', shown(**html, text_plain='a'))))
        self.assertNotIn('<table>', page(code('t', shown(**html, text_plain='a'))))

    def test_progress_bars_are_dropped(self):
        self.assertNotIn('99%', page(code('t', stream('99%', name='stderr'))))

    def test_figures_are_numbered_files(self):
        figure = shown(image_png=b64encode(PNG).decode(), text_plain='<Figure>')
        files = readme.pages({'cells': [code('a', figure), code('b', figure)]})
        self.assertEqual(list(files), ['README.md', 'nbs/images/index_1.png', 'nbs/images/index_2.png'])
        self.assertEqual(files['nbs/images/index_2.png'], PNG)
        self.assertIn(b'![figure 2](nbs/images/index_2.png)', files['README.md'])
        self.assertNotIn(b'<Figure>', files['README.md'])


class Links(unittest.TestCase):
    def test_relative_links_start_at_the_root(self):
        self.assertEqual(readme.rebase('[a](00_data.ipynb#x) ![b](images/b.png) [c](../LICENSE)'),
                         '[a](nbs/00_data.ipynb#x) ![b](nbs/images/b.png) [c](LICENSE)')

    def test_other_targets_and_code_stay(self):
        for text in '[a](https://x.org)', '[a](#part)', '[a](mailto:a@b.c)', '`d[0](x)`', '```\nd[0](x)\n```':
            self.assertEqual(readme.rebase(text), text)


class Files(unittest.TestCase):
    def test_written_files_are_up_to_date_and_old_figures_go(self):
        files = {'README.md': b'# a', 'nbs/images/index_1.png': PNG}
        with TemporaryDirectory() as folder:
            root = Path(folder)
            self.assertEqual(readme.outdated(files, root), sorted(files))
            readme.write(files | {'nbs/images/index_2.png': PNG}, root)
            self.assertEqual(readme.outdated(files, root), ['nbs/images/index_2.png'])
            readme.write(files, root)
            self.assertEqual(readme.outdated(files, root), [])
            (root/'README.md').write_bytes(b'# b')
            self.assertEqual(readme.outdated(files, root), ['README.md'])


def documented(source):
    module = ast.parse(f"__all__ = ['f', 'A', 'B']\n{source}")
    return '\n'.join(reference.entries(module, {k + 1: v for k, v in reference.comments(source).items()}))


class Reference(unittest.TestCase):
    def test_every_parameter_has_its_comment_and_neighbours_share_one(self):
        text = documented('def f(\n    p, y, # (n, k), (n,)\n    u=None,\n    *, seed:int=0, # of the noise\n)->float: # in [0, 1]\n    "Doc."')
        self.assertIn('{py:function} f(p, y, u=None, *, seed: int=0) -> float', text)
        for line in ':param p,y: (n, k), (n,)', ':param seed: of the noise', r':returns: in \[0, 1\]', 'Doc.': self.assertIn(f'\n{line}\n', text)

    def test_without_a_result_parameters_keep_their_comments(self):
        self.assertIn('\n:param x: mm\n', documented('def f(\n    x, # mm\n):\n    pass'))

    def test_one_line_says_what_comes_out_or_goes_in(self):
        self.assertIn('\n:returns: (b, k)\n', documented('def f(x)->Tensor: return x  # (b, k)'))
        self.assertIn('\n:param x: (b, k)\n', documented('def f(x)->Tensor: return x  # x (b, k)'))

    def test_names_assigned_together_are_listed_apart(self):
        text = documented('A, B, C = 1, 2, 3  # HU')
        self.assertIn('{py:data} A\n:value: 1\n', text)
        self.assertIn('{py:data} B\n:value: 2\n', text)
        self.assertNotIn('{py:data} C', text)


class Scan(unittest.TestCase):
    PLANTED = {
        'import pickle': 'pickle', 'import pickle as p': 'pickle', 'from pickle import loads as l': 'pickle.loads', 'import marshal': 'marshal',
        'from os import system as s\ns(x)': 'os.system', 'import os\nos.popen(x)': 'os.popen', 'import os\nos.execv(x, y)': 'os.execv',
        'import os\ngetattr(os, "system")(x)': 'os.system', 'import subprocess as s\ns.run(x)': 'subprocess.run', 'run(x, shell=True)': 'shell',
        'eval(x)': 'builtins.eval', 'f = exec': 'builtins.exec', 'from builtins import eval as e': 'builtins.eval', '__import__(x)': 'builtins.__import__',
        'from importlib import import_module\nimport_module(x)': 'importlib.import_module', 'from os import *': 'os.*',
        'import torch\ntorch.load(x)': 'torch.load', 'import torch as t\nt.load(x, weights_only=False)': 'torch.load', 'from torch import load\nload(x)': 'torch.load',
        'import numpy as np\nnp.load(x, allow_pickle=True)': 'numpy.load', 'import numpy as np\nnp.load(x, None, True)': 'numpy.load',
        'import numpy as np\nnp.load(x, allow_pickle=y)': 'numpy.load', 'import numpy as np\nnp.load(x, **y)': 'numpy.load', 'import numpy as np\nf = np.load': 'numpy.load',
        'import yaml\nyaml.load(x)': 'yaml.load', 'def f():\n    from joblib import load\n    return load(x)': 'joblib.load', 'import pandas as pd\npd.read_pickle(x)': 'pandas.read_pickle'}

    def test_what_is_planted_is_found(self):
        for source, name in self.PLANTED.items(): self.assertIn(name, [n for _, n in scan.dangers(source)], source)

    def test_what_is_harmless_is_not(self):
        for source in ('model.eval()', 'import re\nre.compile(x)', 'import torch\ntorch.load(x, weights_only=True)', 'import numpy as np\nnp.load(x, allow_pickle=False)',
                       'import numpy as np\nnp.load(x, mmap_mode="r")', 'import yaml\nyaml.safe_load(x)', 'import os\nos.path.join(x)', 'code = system = 1\nprint(code, system)'):
            self.assertEqual(scan.dangers(source), [], source)


class Runner(unittest.TestCase):
    def test_every_banned_word_is_found(self):
        for word in runner.BANNED:
            self.assertEqual(runner.faults_of({'cells': [code(f'{word} # x', stream('1'))]}), [f'holds `{word}`'])

    def test_a_notebook_shows_a_run_without_errors(self):
        self.assertEqual(runner.faults_of({'cells': [code('x', stream('1'))]}), [])
        self.assertEqual(runner.faults_of({'cells': [code('x')]}), ['shows no output'])
        self.assertEqual(runner.faults_of({'cells': [code('x', {'output_type': 'error'})]}), ['shows an error'])

    def test_a_notebook_shows_no_warning_and_no_path_of_a_machine(self):
        self.assertEqual(runner.faults_of({'cells': [code('x', stream('a', name='stderr'))]}), ['shows a warning (stderr); run it with `make notebook`'])
        self.assertEqual(runner.faults_of({'cells': [code('x', stream('in /home/me/data'))]}), ['shows /home/me, a path of one machine'])
        self.assertEqual(runner.faults_of({'cells': [code('x', {'output_type': 'display_data', 'data': {'text/html': '<img src="data:image/png;base64,aa/tmp/b"> /kaggle/input'}})]}), [])

    def test_modules_are_compared_both_ways(self):
        self.assertEqual(runner.differences({'a.py': b'1', 'b.py': b'1', 'c.py': b'1'}, {'a.py': b'1', 'b.py': b'2', 'd.py': b'1'}),
                         ['c.py comes from no notebook', 'd.py is missing', 'b.py differs from its notebook; run nbdev_export'])

    def test_notebooks_leave_out_drafts(self):
        paths = [Path('nbs/00_a.ipynb'), Path('nbs/_draft.ipynb'), Path('nbs/.ipynb_checkpoints/b.ipynb'), Path('nbs/a.md')]
        self.assertEqual(runner.notebooks(paths), paths[:1])

    def test_notebooks_take_turns_and_the_last_is_read_on_kaggle(self):
        paths = [Path(f'nbs/{n}.ipynb') for n in 'abc']
        with patch.object(runner.shutil, 'which', lambda name: name):
            self.assertEqual([(p.stem, place) for p, place in runner.places(paths)], [('c', 'Kaggle'), ('b', 'Colab'), ('a', 'Kaggle')])
            self.assertEqual(len(runner.places(paths, everywhere=True)), 6)
        with patch.object(runner.shutil, 'which', lambda name: None):
            self.assertEqual({place for _, place in runner.places(paths)}, {'Kaggle'})

    def test_a_command_is_stopped_at_its_limit_and_a_failure_is_told(self):
        with TemporaryDirectory() as folder:
            log = Path(folder, 'log')
            self.assertEqual(runner.run(log, 'echo', 'yes', cwd=folder), 'yes\n')
            with self.assertRaisesRegex(runner.Failed, 'not finished after 0.1 s'):
                runner.run(log, 'sleep', '9', cwd=folder, limit=.1)
            with self.assertRaisesRegex(runner.Failed, 'sh: exit code 3'):
                runner.run(log, 'sh', '-c', 'echo why; exit 3', cwd=folder)
            self.assertEqual(runner.tail(log), ['yes', 'why'])


if __name__ == '__main__': unittest.main()
