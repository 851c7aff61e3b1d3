"""Is a scan ever on both sides of a split? `python torture/twins.py [--long]`.

Phantoms get a twin: the same scan under another name, in another orientation, packed, typed or labelled otherwise. The
twin must be in the group of its original and in its part in every fold of every split, or the data set must be refused by a sentence that
names one of the two. So must a twin that has a little noise or was mirrored. Where its axes were exchanged, without a word in the header, `mediscope
check` must note it; of other changes it is said what was found, and nothing promised. Exit code 0: every promise is kept.
"""
import argparse, gzip, os, sys, tempfile, time
from pathlib import Path
from typing import Callable, NamedTuple
os.environ['OMP_NUM_THREADS'] = '1'
import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from mediscope.data import InputError, Prep, check_scans, find_scans, prepared, read_scan, write_nifti
from mediscope.phantom import write_phantoms
from mediscope.train import plan_split

PREP = Prep((32,32,16))
FOLDS = 3


class Twin(NamedTuple):
    family: str
    name: str
    write: Callable           # (scan, path without its ending) → the file
    promised: str = 'together' # or 'noted', or '': nothing


# --- the same scan in another file ---

def turned(axcodes): return lambda scan, to: wrote(to, '.nii.gz', lambda p: write_nifti(p, scan.hu, scan._replace(axcodes=tuple(axcodes))))
def typed(dtype, slope=1, inter=0, kind=nib.Nifti1Image, ending='.nii.gz', **fields):
    "The same Hounsfield units as other numbers, in another kind of file, or with other words in the header."
    def write(scan, to):
        image = kind(scan.hu, scan.affine)
        image.header.set_data_dtype(dtype)
        if slope != 1: image = kind(np.rint((scan.hu.astype(float) - inter)/slope).astype(dtype), scan.affine); image.header.set_slope_inter(slope, inter)
        for field, value in fields.items(): image.header[field] = value
        return wrote(to, ending, lambda p: nib.save(image, p))
    return write
def packed(level):
    def write(scan, to): return wrote(to, '.nii.gz', lambda p: p.write_bytes(gzip.compress(nib.Nifti1Image(scan.hu, scan.affine).to_bytes(), level)))
    return write
def big_endian(scan, to):
    header = nib.Nifti1Header(endianness='>')
    header.set_data_shape(scan.hu.shape); header.set_data_dtype(np.int16); header.set_sform(scan.affine, 1); header['vox_offset'] = 352
    return wrote(to, '.nii', lambda p: p.write_bytes(header.binaryblock + bytes(4) + scan.hu.astype('>i2').tobytes('F')))
def changed(f, **fields):
    "Other voxels, or another place."
    return lambda scan, to: wrote(to, '.nii.gz', lambda p: write_nifti(p, f(scan.hu.astype(np.float32)), scan._replace(**fields)))
def forgotten(codes):
    "The voxels in another order, and a header that does not say so."
    def write(scan, to):
        turned(codes)(scan, to)
        voxels = np.asarray(nib.load(to.with_name(f'{to.name}.nii.gz')).dataobj)
        return wrote(to, '.nii.gz', lambda p: nib.save(nib.Nifti1Image(voxels, np.diag([*scan.spacing, 1])), p))
    return write
def wrote(to, ending, write):
    path = to.with_name(to.name + ending)
    write(path)
    return path

RNG = np.random.default_rng(0)
TWINS = [
    Twin('another file', 'the same bytes', lambda scan, to: wrote(to, '.nii.gz', lambda p: write_nifti(p, scan.hu, scan))),
    *[Twin('another file', f'gzip, level {n}', packed(n)) for n in (0, 1, 9)], Twin('another file', 'not compressed', typed(np.int16, ending='.nii')),
    Twin('another file', 'words in the header', typed(np.int16, descrip=b'second look', aux_file=b'b')), Twin('another file', 'NIfTI-2', typed(np.int16, kind=nib.Nifti2Image)), Twin('another file', 'big-endian', big_endian),
    *[Twin('another orientation', codes, turned(codes)) for codes in ('LPS', 'LAS', 'SPL', 'IRP', 'AIR')],
    *[Twin('other numbers', np.dtype(t).name, typed(t)) for t in (np.int32, np.int64, np.float32, np.float64)],
    Twin('other numbers', 'int32 in halves of HU', typed(np.int32, .5, 7)), Twin('other numbers', 'int32 in tenths of HU', typed(np.int32, .1, -1024)), Twin('other numbers', 'uint16 from −1024', typed(np.uint16, 1.0000001, -1024)),
    Twin('other facts', 'another spacing', lambda scan, to: wrote(to, '.nii.gz', lambda p: write_nifti(p, scan.hu, scan._replace(affine=scan.affine @ np.diag([2,2,2,1]))))),
    Twin('other facts', 'other air outside the window', lambda scan, to: wrote(to, '.nii.gz', lambda p: write_nifti(p, np.where(scan.hu <= -1000, -2000, scan.hu).astype(np.int16), scan))),
    Twin('almost the same', 'noise below 1 HU', changed(lambda hu: hu + RNG.uniform(-.9, .9, hu.shape).astype(np.float32))),
    Twin('almost the same', 'noise of 10 HU', changed(lambda hu: hu + RNG.normal(0, 10, hu.shape).astype(np.float32))),
    Twin('almost the same', 'one voxel', changed(lambda hu: np.where(np.arange(hu.size).reshape(hu.shape) == hu.size//2, 399, hu))),
    Twin('almost the same', '20 HU brighter', changed(lambda hu: hu + 20), ''),
    *[Twin('almost the same', f'mirrored, {name}', changed(lambda hu, axis=axis: np.flip(hu, axis).copy())) for axis, name in enumerate(('left-right', 'front-back', 'foot-head'))],
    *[Twin('almost the same', f'{codes}, which the header forgot', forgotten(codes), promise) for codes, promise in (('LPS', 'together'), ('LAS', 'together'), ('SPL', 'noted'), ('AIR', 'noted'))],
    Twin('almost the same', 'turned by 3 degrees', changed(lambda hu: ndimage.rotate(hu, 3, reshape=False, order=1, mode='nearest')), ''),
    Twin('almost the same', 'without a slice', changed(lambda hu: hu[:,:,1:]), ''),
    Twin('almost the same', 'moved by a voxel', changed(lambda hu: np.roll(hu, 1, 0)), ''),
]


# --- a data set with a twin ---

def listed(home, rows, **more)->Path:
    "A list of scans as a CSV."
    pd.DataFrame(rows).assign(**more).to_csv(home/'list.csv', index=False)
    return home/'list.csv'

def together(csv, a, b, seeds)->str:
    "Where a and b are: 'together', 'apart', or what the refusal says."
    try:
        table = prepared(find_scans(csv), PREP)
        for seed in range(seeds):
            split = plan_split(table, FOLDS, seed, PREP.window).set_index('path').drop(columns=['label', 'content'])
            if not split.loc[a].equals(split.loc[b]): return 'apart'  # also for the intervals, which leave out a group at a time
        return 'together'
    except InputError as e: return str(e)

def noted(csv, a, b)->bool:
    "Whether `mediscope check` says that a and b may be one scan."
    check = check_scans(csv)
    return any(a in n and b in n for n in [*check.notes, *check.problems])

def refused(said, *names): return any(n in said for n in names) and said.endswith('.')

def twins(home, base, seeds):
    "Every twin beside its original, which is scan 0: (family, name, what became of it, whether that is as promised)."
    original = read_scan(home/base[0]['path'])
    for i, twin in enumerate(TWINS):
        file = twin.write(original, home/f'twin-{i}').name
        csv = listed(home, [*base, dict(base[0], path=file, patient='somebody else')])
        found = together(csv, base[0]['path'], file, seeds)
        if found == 'apart' and noted(csv, base[0]['path'], file): found = 'apart, noted by check'
        yield twin.family, twin.name, found, dict(together=found == 'together', noted=found in ('together', 'apart, noted by check')).get(twin.promised, True)

def lists(home, base, seeds):
    "Mistakes of a list rather than of a file."
    a, b = base[0]['path'], 'copy.nii.gz'
    (home/b).write_bytes((home/a).read_bytes())
    other = next(r for r in base if r['label'] != base[0]['label'])
    family = [dict(r, patient='one' if r in (base[0], other) else r['patient']) for r in base]
    yield 'lists', 'one patient in two classes', (said := together(listed(home, family), a, other['path'], seeds)), said == 'together'
    chain = [*base[1:], dict(base[0], patient='p'), dict(base[0], path=b, patient='q'), dict(base[0], path='third.nii.gz', patient='q')]
    (home/'third.nii.gz').write_bytes((home/base[2]['path']).read_bytes())  # a patient whose other scan is a twin, of a third patient's
    yield 'lists', 'twins link three patients', (said := together(listed(home, chain), a, base[2]['path'], seeds)), said == 'together'
    csv = listed(home, [*base, dict(base[0], path=b, label=other['label'])])
    yield 'lists', 'one scan with two labels, a problem to check', (said := together(csv, a, b, seeds)), said == 'together' and any(a in p and 'different labels' in p for p in check_scans(csv).problems)
    yield 'lists', 'no twins: nothing is noted', (said := str(sum('nearly' in n or 'times' in n for n in check_scans(listed(home, base)).notes))), said == '0'
    yield 'lists', 'one path in two rows', (said := together(listed(home, [*base, base[0]]), a, a, seeds)), refused(said, a)
    split = ['test' if i in (0, 1, 2, 3) else 'train' for i in range(len(base))]
    for role in ('train', 'val'):
        yield 'a split column', f'a patient in test and {role}', (said := together(listed(home, [*base, dict(base[0], path=b)], split=[*split, role]), a, b, 1)), refused(said, base[0]['patient'], a)
        yield 'a split column', f'the same scan in test and {role}', (said := together(listed(home, [*base, dict(base[0], path=b, patient='z')], split=[*split, role]), a, b, 1)), refused(said, a, b)
        (home/'mirrored.nii.gz').unlink(missing_ok=True); write_nifti(home/'mirrored.nii.gz', read_scan(home/a).hu[::-1], read_scan(home/a))
        csv = listed(home, [*base, dict(base[0], path='mirrored.nii.gz', patient='z')], split=[*split, role])
        yield 'a split column', f'a mirrored scan in test and {role}', (said := together(csv, a, b, 1)), refused(said, a) and any('mirrored.nii.gz' in p for p in check_scans(csv).problems)
    yield 'a split column', 'a test scan twice', (said := together(listed(home, [*base, dict(base[0], path=b, patient='z')], split=[*split, 'test']), a, b, 1)), said == 'together'
    c, d = base[5]['path'], 'copy-5.nii.gz'
    (home/d).write_bytes((home/c).read_bytes())
    yield 'a split column', 'a training scan twice', (said := together(listed(home, [*base, dict(base[5], path=d, patient='z')], split=[*split, 'train']), c, d, seeds)), said == 'together'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='24 splits of every data set instead of 4')
    seeds, start, lost = 24 if parser.parse_args().long else 4, time.monotonic(), 0
    with tempfile.TemporaryDirectory(prefix='twins-') as t:
        home = Path(t).resolve()
        os.environ['MEDISCOPE_CACHE'] = str(home/'cache')
        files = [f for f in sorted(write_phantoms(home/'data', n=20, scale=.2, progress=False).rglob('*.nii.gz')) if '_mask' not in f.name]
        base = [dict(path=f.relative_to(home).as_posix(), label=f.parent.name, patient=f'p{i}') for i, f in enumerate(files)]
        base = base[::2] + base[1::2]
        for check in (twins, lists):
            for family, name, found, kept in check(home, base, seeds):
                print(f"{'    ' if kept else 'LOST'} {family:<20} {name:<46} {found.replace(str(home), '…')}", flush=True)
                lost += not kept
    print(f'{lost} lost, {time.monotonic() - start:.0f} s')
    return lost > 0


if __name__ == '__main__': sys.exit(main())
