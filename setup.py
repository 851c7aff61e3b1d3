"The package, as settings.ini describes it."
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

config = ConfigParser(delimiters=['='])
config.read('settings.ini', encoding='utf-8')
cfg = config['DEFAULT']

# a requirement may contain commas (ipython>=8.30,<10), never spaces
extras = {key.removesuffix('_requirements'): cfg[key].split()
          for key in cfg if key.endswith('_requirements')}

data = [str(p.relative_to(cfg['lib_path']))
        for p in Path(cfg['lib_path']).rglob('*')
        if p.name in ('config.json', 'model.safetensors', 'report.json', 'reference.json', 'README.md') or p.match('results/*.json')]

setup(
    name=cfg['lib_name'],
    version=cfg['version'],
    description=cfg['description'],
    long_description=Path('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    keywords=cfg['keywords'],
    author=cfg['author'],
    author_email=cfg['author_email'],
    url=cfg['git_url'],
    license='MIT',
    packages=find_packages(include=[cfg['lib_path'], f"{cfg['lib_path']}.*"]),
    package_data={cfg['lib_name']: data},
    python_requires=f">={cfg['min_python']}",
    install_requires=cfg['requirements'].split(),
    extras_require=extras,
    entry_points={'console_scripts': cfg['console_scripts'].split()},
    zip_safe=False,
)
