"""What a scan says of its patient stays in the scan: `python torture/leaks.py`.

Words that occur nowhere else are planted in every text field of NIfTI headers, in gzip names, in DICOM tags and
in the folder above the data. Scans are trained on, evaluated and predicted by the command line, and every file
that this leaves behind, unpacked, is searched for them. Where the data lay may stand in `state/` alone, which is
for continuing a run and not for sharing. Exit code 0: nothing was found where it should not be.
"""
import gzip, os, re, sys, tempfile
from base64 import b64decode
from pathlib import Path
import nibabel as nib
import numpy as np
from mediscope.cli import main as mediscope
from mediscope.data import read_scan
from mediscope.phantom import write_phantoms

FIELDS = dict(descrip=80, aux_file=24, intent_name=16, db_name=18)  # bytes of the text fields of NIfTI-1
TAGS = {'0010|0010': 'patient', '0010|0020': 'id', '0010|0030': 'birth', '0008|0080': 'hospital', '0008|1030': 'study', '0008|103e': 'series', '0008|0090': 'doctor', '0010|4000': 'comment'}
WORD = 'Zqx{}'


def plant(path):
    "Write a scan again with a word in every text field of its header, in an extension, and in the gzip name."
    image = nib.load(path)
    again = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
    for field in FIELDS: again.header[field] = WORD.format(field).encode()[:FIELDS[field]]
    again.header.extensions.append(nib.nifti1.Nifti1Extension('comment', WORD.format('extension').encode()))
    with open(path, 'wb') as raw, gzip.GzipFile(WORD.format('gzip'), 'wb', 4, raw, mtime=0) as f: f.write(again.to_bytes())


def write_series(folder, scan):
    "A scan as a DICOM series with a word in every tag that names somebody."
    import SimpleITK as sitk
    folder.mkdir(parents=True)
    image = sitk.GetImageFromArray(np.ascontiguousarray(scan.hu.T.astype(np.int16)))
    image.SetSpacing([float(s) for s in scan.spacing])
    writer = sitk.ImageFileWriter(); writer.KeepOriginalImageUIDOn()
    for z in range(image.GetDepth()):
        part = image[:,:,z]
        words = {tag: WORD.format(name) for tag, name in TAGS.items()}
        for tag, value in (words | {'0008|0060': 'CT', '0020|000e': '1.2.3', '0020|000d': '1.2', '0020|0013': str(z), '0020|0032': '\\'.join(map(str, image.TransformIndexToPhysicalPoint((0, 0, z)))),
                                    '0020|0037': '1\\0\\0\\0\\1\\0', '0028|1052': '0', '0028|1053': '1', '0018|0050': str(scan.spacing[2])}).items(): part.SetMetaData(tag, value)
        writer.SetFileName(str(folder/f'{z}.dcm')); writer.Execute(part)


def unpacked(path):
    "The bytes of a file and, inside of it, of what is compressed or encoded."
    raw = path.read_bytes()
    inside = [gzip.decompress(raw)] if path.suffix == '.gz' else []
    if path.suffix == '.html': inside += [b64decode(part) for part in re.findall(rb'base64,([A-Za-z0-9+/=]+)', raw)]
    return b'\0'.join([raw, *inside])


def found_in(folder, words):
    "(file, word) for every word in the files of a folder, and in their names."
    for path in sorted(p for p in folder.rglob('*') if p.is_file()):
        content = unpacked(path) + str(path.relative_to(folder)).encode()
        yield from ((path.relative_to(folder).as_posix(), w) for w in words if w.encode() in content)


def main():
    with tempfile.TemporaryDirectory() as home: return search(Path(home))


def search(home):
    os.environ['MEDISCOPE_CACHE'] = str(home/'cache')
    data, out = home/WORD.format('folder')/'data', home/'out'
    write_phantoms(data, n=14, scale=.2, progress=False)
    for mask in data.rglob('*_mask.nii.gz'): mask.unlink()
    for path in data.rglob('*.nii.gz'): plant(path)
    write_series(data/'CT-0/series', read_scan(next((data/'CT-0').glob('*.nii.gz'))))
    planted = [WORD.format(w) for w in (*FIELDS, 'extension', 'gzip', *TAGS.values())]
    there = {w for _, w in found_in(data, planted)} | ({WORD.format('gzip')} if all(WORD.format('gzip').encode() in p.read_bytes() for p in data.rglob('*.gz')) else set())
    assert there == {*planted}, {*planted} - there                # they are in the input, so they could be found
    run = ['train', str(data), '--out', str(out/'run'), '--shape', '32,32,32', '--folds', '1', '--epochs-dcg', '1', '--epochs-diffusion', '1', '--device', 'cpu']
    for command in (run, ['evaluate', str(out/'run')], ['predict', str(out/'run'), str(data), '--out', str(out/'new')]): assert mediscope(command) == 0, command
    leaks = list(found_in(home/'out', planted)) + list(found_in(home/'cache', planted))
    paths = [(f, w) for f, w in found_in(out, [WORD.format('folder'), str(home)]) if not f.startswith('run/state/')]
    files = sum(p.is_file() for p in home.rglob('*')) - sum(p.is_file() for p in data.rglob('*'))
    for name, word in leaks + paths: print(f'{name}: holds {word}')
    print(f'{files} files searched for {len(planted)} words and 2 paths; {len(leaks + paths)} found')
    return bool(leaks + paths)


if __name__ == '__main__': sys.exit(main())
