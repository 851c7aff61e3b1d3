"""What the shipped checkpoints say of three phantoms: written here after a retraining, compared in `nbs/results.ipynb`."""
import json
import tempfile
from pathlib import Path

from mediscope.data import publish, read_scan
from mediscope.dcg import find_checkpoint
from mediscope.diffusion import MediScope
from mediscope.phantom import write_phantoms

PHANTOMS = dict(n=3, seed=11, difficulty=0.)
for name in ('phantom', 'lidc-nodules'):
    model = MediScope.from_pretrained(name)
    with tempfile.TemporaryDirectory() as folder:
        scans = sorted(p for p in write_phantoms(Path(folder)/'scans', **PHANTOMS).rglob('study_*.nii.gz') if 'mask' not in p.name)
        stored = dict(phantoms=PHANTOMS, probability={p.name: [round(float(v), 6) for v in model.predict(read_scan(p)).probability] for p in scans})
    publish(find_checkpoint(name)/'reference.json', lambda to: to.write_text(json.dumps(stored, indent=1)))
    print(name, stored['probability'])
