"""Hostile and broken files, thrown at the command line: `python torture/hostile.py [--long]`.

A corpus is written into a temporary folder. Every case runs in a process of its own, with a limit on memory,
file size and time. It survives if the command ends with exit code 2 and one sentence that names the file, and
nothing appears outside the output folder. A file that is odd but legal must be read, and right. Then hypothesis
changes good files at random, a fixed number of times. Exit code 0: nothing was lost.
"""
import argparse, gc, gzip, io, json, os, pickle, re, resource, shutil, signal, stat, struct, sys, tempfile, time, traceback, zipfile
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Callable, NamedTuple
os.environ['OMP_NUM_THREADS'] = '1'
import joblib, nibabel as nib, numpy as np, pandas, safetensors.torch, scipy.spatial, torch  # once, not in every case
import mediscope.data as data, mediscope.dcg as dcg, mediscope.evaluate
from mediscope.cli import main as mediscope
from mediscope.diffusion import MediScope
from table import show
if find_spec('SimpleITK'): import SimpleITK

MEMORY, SECONDS = 2**28, 20 # for a case, beyond what the imports take; four times as much for a prediction and a list
LIMIT_MB = 64
HU = np.random.default_rng(0).integers(-1000, 400, (20,16,12)).astype(np.int16)
AFFINE = np.diag([1,2,3,1.])


class Case(NamedTuple):
    family: str
    name: str
    make: Callable      # folder → file
    command: Callable   # (file, output folder) → exit code
    odd: bool = False   # legal: it must end with exit code 0
    seconds: float = SECONDS


# --- commands ---

def predict(file, out): return mediscope(['predict', 'phantom', str(file), '--out', str(out), '--limit-mb', str(LIMIT_MB)])
def check(file, out): return mediscope(['check', str(file), '--limit-mb', str(LIMIT_MB)])
def predict_by(model, out): return mediscope(['predict', str(model), str(model.parent/'good.nii'), '--out', str(out)])

def download(archive, out):
    "`mediscope download` of an archive that has arrived, with one scan; a bad one leaves nothing but itself."
    out.mkdir()
    shutil.copy(archive, out)
    try: data.download_mosmed(out, 'nowhere', {'CT-0.zip': (out/'CT-0.zip').stat().st_size}, scans=1)
    except data.InputError as e:
        print(e, file=sys.stderr)
        assert [f.name for f in out.iterdir()] == ['CT-0.zip']
        return 2
    return 0

def reads(file, out):
    "The scan is read as it is meant."
    scan = data.read_scan(file, LIMIT_MB)
    assert np.array_equal(scan.hu, HU[:,:,:scan.hu.shape[2]]) and np.allclose(scan.affine, AFFINE, atol=1e-4), (scan.hu.shape, scan.affine)
    return 0


# --- NIfTI ---

def nifti(order='<', voxels=None, extension=b'', **fields):
    "A NIfTI-1 file, right but for `fields` of its header."
    header = np.zeros((), nib.nifti1.header_dtype.newbyteorder(order))
    voxels = HU if voxels is None else voxels
    right = dict(sizeof_hdr=348, dim=(3, *HU.shape, 1, 1, 1, 1), datatype=4, bitpix=16, pixdim=(1,1,2,3,0,0,0,0), vox_offset=352 + len(extension),
                 scl_slope=1, sform_code=1, srow_x=AFFINE[0], srow_y=AFFINE[1], srow_z=AFFINE[2], magic=b'n+1')
    for key, value in (right | fields).items(): header[key] = value
    raw = voxels.astype(voxels.dtype.newbyteorder(order)).tobytes('F')
    return header.tobytes() + bytes([bool(extension), 0, 0, 0]) + extension + raw

def nifti2(**fields):
    "The same as NIfTI-2."
    header = nib.Nifti2Header()
    header.set_data_shape(HU.shape); header.set_data_dtype(np.int16); header.set_sform(AFFINE, 1); header['vox_offset'] = 544
    for key, value in fields.items(): header[key] = value
    return header.binaryblock + bytes(4) + HU.tobytes('F')

def dim(*sizes): return dict(dim=(len(sizes), *sizes, *[1]*(7 - len(sizes))))
def sform(value): return dict(srow_x=[value]*4, srow_y=[value]*4, srow_z=[value]*4)
def extension(size): return struct.pack('<ii', size, 6) + bytes(24)

NAN, INF = float('nan'), float('inf')
BAD_HEADERS = {
    '30000³ voxels': dim(30000,30000,30000), 'more voxels than bytes': dim(20,16,13), 'negative size': dim(-20,16,12), 'zero size': dim(20,0,12),
    'no axes': dict(dim=(0,)*8), 'nine axes': dict(dim=(9,)*8), 'minus one axes': dict(dim=(-1,)*8), 'vector hack': dim(-1,1,1) | dict(glmin=2**31-1),
    '2D': dim(20,192), '4D': dim(20,16,6,2), '5D': dim(20,16,3,2,2), '7D': dim(5,4,4,4,3,2,2),
    'RGB': dict(datatype=128, bitpix=24), 'RGBA': dict(datatype=2304, bitpix=32), 'complex': dict(datatype=32, bitpix=64),
    'bits': dict(datatype=1, bitpix=1), 'unknown type': dict(datatype=3), 'no type': dict(datatype=0),
    'NaN affine': sform(NAN), 'infinite affine': sform(INF), 'zero affine': sform(0), 'singular affine': sform(1), 'absurd affine': sform(1e30),
    'vast spacing': dict(srow_x=[1e6,0,0,0]), 'NaN spacing': dict(sform_code=0, pixdim=[1]+[NAN]*7), 'zero spacing': dict(sform_code=0, pixdim=[0]*8),
    'negative spacing': dict(sform_code=0, pixdim=[1,-1,-1,-1,0,0,0,0]), 'NaN rotation': dict(sform_code=0, qform_code=1, quatern_b=NAN),
    'impossible rotation': dict(sform_code=0, qform_code=1, quatern_b=7), 'infinite slope': dict(scl_slope=INF), 'absurd slope': dict(scl_slope=3e38),
    'NaN intercept': dict(scl_inter=NAN), 'infinite intercept': dict(scl_inter=INF), 'voxels inside the header': dict(vox_offset=100),
    'voxels nowhere': dict(vox_offset=0), 'voxels before the file': dict(vox_offset=-1e9), 'voxels after the file': dict(vox_offset=1e6),
    'voxels at NaN': dict(vox_offset=NAN), 'voxels at infinity': dict(vox_offset=INF), 'two files': dict(magic=b'ni1'), 'no magic': dict(magic=b''),
}
FLOATS = dict(datatype=16, bitpix=32)
BAD_NIFTI = {name: nifti(**fields) for name, fields in BAD_HEADERS.items()} | {
    'empty': b'', 'text': b'not an image', 'zeros': bytes(10**5), 'gzip inside': gzip.compress(nifti()),
    'NaN voxels': nifti(voxels=np.full(HU.shape, NAN, np.float32), **FLOATS), 'infinite voxels': nifti(voxels=np.full(HU.shape, INF, np.float32), **FLOATS),
    'NIfTI-2 with 2⁶² voxels': nifti2(dim=[3,2**62,1,1,1,1,1,1]), 'NIfTI-2 with overflow': nifti2(dim=[3,2**32,2**32,2,1,1,1,1]),
    'NIfTI-2 with a vast side': nifti2(dim=[3,10**6,1,1,1,1,1,1], datatype=2), 'NIfTI-2 at 2⁶²': nifti2(vox_offset=2**62),
    'goes on': nifti() + bytes(2**21),
}
ODD_NIFTI = {
    'plain': nifti(), 'big-endian': nifti('>'), 'one point in time': nifti(**dim(*HU.shape, 1)), 'NIfTI-2': nifti2(), 'no scaling (0)': nifti(scl_slope=0),
    'no scaling (NaN)': nifti(scl_slope=NAN), 'float64': nifti(voxels=HU.astype(float), datatype=64, bitpix=64), 'int64': nifti(voxels=HU.astype(np.int64), datatype=1024, bitpix=64),
    'scaled': nifti(voxels=2*(HU - 7), scl_slope=.5, scl_inter=7), 'one slice': nifti(voxels=HU[:,:,:1], **dim(20,16,1)),
    'unaligned voxels': nifti(extension=bytes(33)), **{f'extension of {n} bytes': nifti(extension=extension(n)) for n in (-8, 0, 7, 32, 2**31-1, -2**31)},
}

def bomb(head:bytes, megabytes:int): return gzip.compress(head) + gzip.compress(bytes(2**20))*megabytes  # a thousandfold

def nifti_cases(long):
    whole, packed = nifti(), gzip.compress(nifti(), mtime=0)
    flipped = packed[:2000] + bytes([packed[2000] ^ 1]) + packed[2001:]
    cuts = (1, 4, 40, 344, 347, 348, 351, 352, 353, 5000, len(whole)-1)
    gz_cuts = (1, 2, 3, 9, 10, 11, 300, 5000, len(packed)-9, len(packed)-8, len(packed)-4, len(packed)-1)
    for n in cuts: yield Case('NIfTI, truncated', f'{n} bytes', written('cut.nii', whole[:n]), predict)
    for n in gz_cuts: yield Case('gzip, truncated', f'{n} bytes', written('cut.nii.gz', packed[:n]), predict)
    yield Case('gzip, altered', 'a bit of a voxel', written('flip.nii.gz', flipped), predict)
    yield Case('gzip, altered', 'the checksum', written('sum.nii.gz', packed[:-8] + bytes(4) + packed[-4:]), predict)
    yield Case('gzip, altered', 'not gzip', written('plain.nii.gz', whole), predict)
    yield Case('gzip, altered', 'two members', written('two.nii.gz', gzip.compress(whole[:999]) + gzip.compress(whole[999:])), reads, odd=True)
    yield Case('gzip, altered', 'stored', written('stored.nii.gz', gzip.compress(whole, 0)), reads, odd=True)
    yield Case('gzip, altered', 'upper case', written('UPPER.NII.GZ', packed), reads, odd=True)
    size = 4000 if long else 600
    for name, head in {'behind the voxels': whole, 'in an extension': nifti(extension=struct.pack('<ii', -8, 6))[:360], 'before the voxels': nifti(vox_offset=2**30)[:352],
                       'as voxels': nifti(**dim(30000,30000,3))[:352], 'instead of a header': b''}.items():
        yield Case('gzip bombs', name, written('bomb.nii.gz', bomb(head, size)), predict)
    for name, raw in BAD_NIFTI.items():
        yield Case('NIfTI, broken', name, written('bad.nii', raw), predict)
        if long: yield Case('NIfTI, broken', f'{name}, gzip', written('bad.nii.gz', gzip.compress(raw, 1)), predict)
    for name, raw in ODD_NIFTI.items():
        yield Case('NIfTI, odd', name, written('odd.nii', raw), reads, odd=True)
        yield Case('NIfTI, odd', f'{name}, gzip', written('odd.nii.gz', gzip.compress(raw, 1)), reads, odd=True)
    yield Case('no plain files', 'a pipe', lambda folder: made(os.mkfifo, folder/'pipe.nii.gz'), predict)
    yield Case('no plain files', 'a device', lambda folder: made(lambda p: p.symlink_to('/dev/zero'), folder/'device.nii'), predict)
    yield Case('no plain files', 'a link to itself', lambda folder: made(lambda p: p.symlink_to(p), folder/'loop.nii'), predict)
    for name in ('list.csv', 'set.npz'):
        yield Case('no plain files', f'a pipe, {name}', lambda folder, name=name: made(os.mkfifo, folder/name), check)
        yield Case('no plain files', f'a device, {name}', lambda folder, name=name: made(lambda p: p.symlink_to('/dev/zero'), folder/name), check)
    yield Case('no plain files', 'an empty folder', lambda folder: made(Path.mkdir, folder/'folder.nii'), predict)
    yield Case('no plain files', 'a terabyte of nothing', lambda folder: in_classes(folder, lambda p: sparse(p, 2**40)), check)


# --- writing ---

def written(name, raw): return lambda folder: made(lambda p: p.write_bytes(raw), folder/name)
def made(make, path):
    make(path)
    return path

def sparse(path, size):
    path.write_bytes(nifti())
    os.truncate(path, size)

def in_classes(folder, make):
    "Two classes of good scans, and in one of them what `make` makes."
    for label in 'AB':
        (folder/'set'/label).mkdir(parents=True)
        for i in range(3): (folder/'set'/label/f'{i}.nii').write_bytes(nifti(voxels=HU + i + 9*(label == 'A')))
    make(folder/'set'/'A'/'spoilt.nii')
    return folder/'set'


# --- DICOM ---

def element(tag, vr, value):
    "An element with an explicit type, little-endian."
    value += (b'\0' if vr in ('UI', 'OB', 'OW') else b' ')*(len(value) % 2)
    size = struct.pack('<HI', 0, len(value)) if vr in ('OB', 'OW', 'UN') else struct.pack('<H', len(value))
    return struct.pack('<HH2s', tag >> 16, tag & 0xffff, vr.encode()) + size + value

CODES = dict(sop=0x80016, number=0x200013, position=0x200032, orientation=0x200037, spacing=0x280030, slope=0x281053, intercept=0x281052, series=0x20000e, frames=0x280008, rows=0x280010,
             columns=0x280011, bits=0x280100, stored=0x280101, samples=0x280002, photometric=0x280004, pixels=0x7fe00010)

def dicom(i, syntax='1.2.840.10008.1.2.1', **fields):
    "A CT slice, right but for `fields`; a field that is None is left out."
    us = lambda v: v if isinstance(v, bytes) else struct.pack('<H', v)
    text = lambda v: v if isinstance(v, bytes) else v.encode()
    right = dict(sop='1.2.840.10008.5.1.4.1.1.2', number=str(i), position=f'-19\\-30\\{3*i}', orientation='1\\0\\0\\0\\1\\0', spacing='2\\1', slope='1', intercept='0', series='1.2.3.4', rows=16, columns=20, bits=16,
                 stored=16, samples=1, photometric='MONOCHROME2', pixels=HU[::-1,::-1,i].tobytes('F'))
    kinds = dict(sop='UI', series='UI', number='IS', frames='IS', photometric='CS', pixels='OW', **dict.fromkeys(('rows', 'columns', 'bits', 'stored', 'samples'), 'US'))
    body = {0x80018: ('UI', f'1.2.3.4.{i+1}'.encode()), 0x80060: ('CS', b'CT'), 0x20000d: ('UI', b'1.2.3'),
            0x280102: ('US', us(15)), 0x280103: ('US', us(1))}
    for name, value in (right | fields).items():
        kind = kinds.get(name, 'DS')
        if value is not None: body[CODES[name]] = kind, (us if kind == 'US' else text)(value)
    meta = element(0x20001, 'OB', b'\0\1') + element(0x20002, 'UI', b'1.2.840.10008.5.1.4.1.1.2') + element(0x20003, 'UI', b'1.2.3.4') + element(0x20010, 'UI', syntax.encode())
    return bytes(128) + b'DICM' + element(0x20000, 'UL', struct.pack('<I', len(meta))) + meta + b''.join(element(t, *body[t]) for t in sorted(body))

def series(change):
    "Twelve slices on disk; `change(i)` gives the fields that are wrong in slice i, or its bytes."
    def make(folder):
        (folder/'series').mkdir()
        for i in range(12):
            spoilt = change(i)
            (folder/'series'/f'{i:02}.dcm').write_bytes(spoilt if isinstance(spoilt, bytes) else dicom(i, **spoilt))
        return folder/'series'
    return make

def bare(n):
    "Twelve slices without an ending, the last one cut to n bytes."
    def make(folder):
        (folder/'series').mkdir()
        for i in range(12): (folder/f'series/IM{i:04}').write_bytes(dicom(i)[:n if i == 11 else None])
        return folder/'series'
    return make

def item(raw): return b'\xfe\xff\x00\xe0' + struct.pack('<I', len(raw)) + raw
def encapsulated(i, syntax, raw):
    "A slice whose voxels are the compressed stream `raw`."
    plain = dicom(i, syntax, pixels=b'')
    return plain[:-4] + b'\xff'*4 + item(b'') + item(raw) + b'\xfe\xff\xdd\xe0' + bytes(4)

EVERY = {
    'sides of 65535': dict(rows=65535, columns=65535), 'a million frames': dict(frames='1000000'), 'no side': dict(rows=0), 'no rows': dict(rows=None),
    'colours': dict(samples=3, photometric='RGB', bits=8, stored=8, pixels=bytes(960)), 'no bits': dict(bits=None), '7 bits': dict(bits=7, stored=7), '64 bits': dict(bits=64, stored=64),
    '32 bits claimed': dict(bits=32, stored=32), 'no voxels': dict(pixels=None), 'few voxels': dict(pixels=bytes(64)), 'no position': dict(position=None),
    'one position': dict(position='0\\0\\0'), 'NaN position': dict(position='nan\\0\\0'), 'no spacing': dict(spacing=None), 'zero spacing': dict(spacing='0\\0'),
    'negative spacing': dict(spacing='-1\\-1'), 'NaN spacing': dict(spacing='nan\\nan'), 'text as spacing': dict(spacing='one\\two'), 'no orientation': dict(orientation=None),
    'zero orientation': dict(orientation='0\\0\\0\\0\\0\\0'), 'NaN slope': dict(slope='nan'), 'zero slope': dict(slope='0'), 'absurd slope': dict(slope='1e300'),
    'unknown syntax': dict(syntax='1.2.3.4.5'), 'deflate, but plain': dict(syntax='1.2.840.10008.1.2.1.99'),
}
ONE = {
    'another series': dict(series='1.2.3.5'), 'another side': dict(rows=8, pixels=bytes(320)), 'another spacing': dict(spacing='3\\3'),
    'another orientation': dict(orientation='0\\1\\0\\0\\0\\1'), 'another place': dict(position='0\\0\\1000'), 'few voxels': dict(pixels=bytes(64)), 'frames': dict(frames='5'),
    'colours': dict(samples=3, photometric='RGB', bits=8, stored=8, pixels=bytes(960)), 'empty': b'', 'text': b'not an image'*99,
}

def dicom_cases(long):
    if not find_spec('SimpleITK'): return print('DICOM: skipped, SimpleITK is not installed')
    yield Case('DICOM, odd', 'plain', series(lambda i: {}), reads, odd=True)
    yield Case('DICOM, odd', 'slope and intercept', series(lambda i: dict(intercept='-24', pixels=(HU[::-1,::-1,i] + 24).tobytes('F'))), reads, odd=True)
    yield Case('DICOM, odd', '12 bits stored', series(lambda i: dict(stored=12)), reads, odd=True)
    for name, fields in {'': {}, ', a secondary capture without numbers': dict(sop='1.2.840.10008.5.1.4.1.1.7', number='')}.items():
        yield Case('DICOM, odd', f'names without order{name}', lambda folder, fields=fields: made(lambda p: [f.rename(f.with_name(f'{(7*int(f.stem)) % 13}x.dcm')) for f in sorted(p.iterdir())], series(lambda i: fields)(folder)), reads, odd=True)
    for name, fields in EVERY.items(): yield Case('DICOM, broken', name, series(lambda i, fields=fields: fields), predict)
    for name, fields in ONE.items(): yield Case('DICOM, mixed', name, series(lambda i, fields=fields: fields if i == 5 else {}), predict)
    yield Case('DICOM, mixed', 'a slice is missing', lambda folder: made(lambda p: (p/'05.dcm').unlink(), series(lambda i: {})(folder)), predict)
    yield Case('DICOM, mixed', 'a pipe', lambda folder: made(lambda p: os.mkfifo(p/'pipe'), series(lambda i: {})(folder)), predict)
    yield Case('DICOM, mixed', 'a NIfTI file', lambda folder: in_classes(folder, lambda p: (series(lambda i: {})(p.parent)/p.name).write_bytes(nifti())), check)
    whole = dicom(5)
    for n in (100, 131, 132, 200, 300, len(whole)-641, len(whole)-100, len(whole)-1):
        yield Case('DICOM, truncated', f'{n} bytes', series(lambda i, n=n: whole[:n] if i == 5 else {}), predict)
    for n in (0, 100, 131): yield Case('DICOM, truncated', f'the last slice, named without an ending, {n} bytes', bare(n), predict)
    yield Case('DICOM, mixed', 'a slice by itself in a class folder', lambda folder: in_classes(folder, lambda p: p.with_suffix('.dcm').write_bytes(whole)), check)
    for syntax in ('4.50', '4.57', '4.70', '4.80', '4.90', '4.201', '5'):
        for name, raw in {'garbage': bytes(range(256))*4, 'nothing': b'', 'JPEG header': b'\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\3', 'JPEG 2000 header': b'\xff\x4f\xff\x51\0\x29' + b'\xff'*60}.items():
            yield Case('DICOM, compressed', f'{syntax}: {name}', series(lambda i, s=f'1.2.840.10008.1.2.{syntax}', raw=raw: encapsulated(i, s, raw)), predict)


# --- npz ---

class Trap:
    "Unpickled, it writes a file."
    def __reduce__(self): return Path.write_text, (Path('trapped'), 'x')

def npy(shape, dtype='|u1', body=b'', header=None):
    "A .npy file with a header of free choice."
    header = header or repr(dict(descr=dtype, fortran_order=False, shape=shape))
    return b'\x93NUMPY\1\0' + struct.pack('<H', len(header) + 1) + header.encode() + b'\n' + body

def npz(**members):
    "A small MedMNIST3D archive, right but for `members`: bytes of arrays, or None to leave one out."
    right = {f'{s}_{k}': npy((4,9,9,9), body=bytes(np.random.default_rng(i).integers(0, 255, 2916, np.uint8))) if k == 'images' else npy((4,1), body=b'\0\1\0\1')
             for i, s in enumerate(('train', 'val', 'test')) for k in ('images', 'labels')}
    out = io.BytesIO()
    with zipfile.ZipFile(out, 'w', zipfile.ZIP_DEFLATED, compresslevel=1) as z:
        for name, raw in (right | members).items():
            if raw is not None: z.writestr(f'{name}.npy', raw)
    return out.getvalue()

def npz_cases(long):
    trap = npy((), '|O', pickle.dumps(Trap()))
    images = {'a pickle': trap, 'a bare pickle': pickle.dumps(Trap()), 'claims 10¹² bytes': npy((10**12,)), 'claims 100 MB': npy((4,300,300,300)), 'a bomb': npy((4,300,300,300), body=bytes(108*10**6)),
              'no header, a bomb': bytes(10**8), 'negative': npy((-4,9,9,9)), 'overflow': npy((2**40,2**40,9,9)), 'short': npy((4,9,9,9), body=bytes(99)), '2D': npy((4,9,9), body=bytes(324)),
              'no axes': npy((), body=b'x'), 'colours': npy((4,9,9,9,3), body=bytes(8748)), 'complex': npy((4,9,9,9), '<c8', bytes(23328)), 'text': npy((4,9,9,9), '<U1', bytes(11664)), 'a record': npy((4,9,9,9), [('a','|u1')], bytes(2916)),
              'NaN': npy((4,9,9,9), '<f4', b'\xff'*11664), 'code as header': npy((), header='__import__("pathlib").Path("trapped").touch()'), 'deep header': npy((), header='('*9000), 'long header': npy((), header='{' + '1,'*30000 + '}'),
              'version 9': b'\x93NUMPY\x09\0', 'missing': None}
    labels = {'a pickle': trap, '10⁹ labels': npy((10**9,)), 'two labels each': npy((4,2), body=bytes(8)), 'long names': npy((4,), '<U9999999'), 'empty names': npy((4,), '<U1', bytes(16)), 'missing': None}
    for name, raw in images.items(): yield Case('npz', f'images: {name}', lambda folder, raw=raw: written('set.npz', npz(train_images=raw))(folder), check)
    for name, raw in labels.items(): yield Case('npz', f'labels: {name}', lambda folder, raw=raw: written('set.npz', npz(val_labels=raw))(folder), check)
    whole = npz()
    for n in (0, 4, 30, 1000, len(whole)-22, len(whole)-1): yield Case('npz', f'{n} bytes', written('cut.npz', whole[:n]), check)
    at = whole.rindex(b'PK\1\2')  # the last member: its flags and its method
    for name, offset, value in (('encrypted', 8, 1), ('unknown compression', 10, 77)):
        raw = bytearray(whole)
        raw[at + offset] = value; raw[raw.rindex(b'PK\3\4') + offset - 2] = value
        yield Case('npz', name, written('odd.npz', bytes(raw)), check)
    yield Case('npz', 'plain', written('set.npz', whole), check, odd=True)


# --- lists ---

def csv_cases(long):
    head = b'path,label\n'
    tables = {'empty': b'', 'header only': head, 'NUL bytes': head + b'a\0.nii,x\nb.nii,\0\n', 'Latin-1': head + 'a.nii,Lungenentzündung\n'.encode('latin1'), 'UTF-16': (head + b'a.nii,x\n').decode().encode('utf-16'),
              'formulas': head + b'=HYPERLINK("http://x"),=cmd|\' /C calc\'!A0\n@SUM(1),+1\n', 'out of the folder': head + b'../../../../../../etc/passwd,x\n/etc/passwd,y\n', 'devices': head + b'/dev/zero,x\n/dev/stdin,y\n',
              'folders': head + b'.,x\n/,y\n', 'a long path': head + b'a'*10**5 + b',x\nb,y\n', 'an open quote': head + b'"a.nii,x\n'*9, 'more fields': head + b'a,b.nii,x\nc,d.nii,y\n', 'fewer fields': head + b'a.nii\nb.nii,y\n',
              'the same column twice': b'path,path,label\na.nii,b.nii,x\n', 'two columns of patients': b'path,label,patient,PatientID\na.nii,x,1,2\nb.nii,y,2,1\n', 'terminal codes in a column': b'path,label,\x1b[2J\na.nii,x,1\nb.nii,y,2\n', '10⁴ columns': b','.join(b'c%d' % i for i in range(10**4)) + b'\n', 'binary': bytes(range(256))*99, 'a long field': head + b'a.nii,' + b'x'*10**6 + b'\n',
              'terminal codes': head + b'\x1b[2Ja.nii,x\n\x1b]0;hi\x07b.nii,y\n', 'new lines': head + b'"a\n.nii","x\n"\nb.nii,y\n', 'members of no archive': head + b'x.npz#train/0,x\nlist.csv.npz#val/-1,y\n', '2·10⁶ rows': head + b'a.nii,x\n'*(2*10**6),
              'a patient of 50 MB': b'path,label,patient\na.nii,x,1\nb.nii,y,' + b'p'*(50*2**20) + b'\n', 'a class of 50 MB': head + b'a.nii,x\nb.nii,' + b'y'*(50*2**20) + b'\n', 'classes that look the same': head + 'a.nii,ä\nb.nii,a\u0308\nc.nii,ä \n'.encode(),
              '300 MB': head + b'x'*(300*2**20) if long else head + b'a.nii,x\n'*(33*2**20)}
    for name, raw in tables.items(): yield Case('CSV', name, written('list.csv', raw), check)
    rows = 10**5 if long else 10**4
    yield Case('CSV', f'{rows} missing files', written('list.csv', head + b''.join(b'%d.nii,%d\n' % (i, i % 2) for i in range(rows))), check, seconds=120)


# --- archives ---

def zipped(**options):
    def make(folder, members, mode=stat.S_IFREG | 0o644):
        with zipfile.ZipFile(folder/'CT-0.zip', 'w', zipfile.ZIP_DEFLATED, **options) as z:
            for name, raw in members.items():
                info = zipfile.ZipInfo(name); info.external_attr = mode << 16; info.compress_type = zipfile.ZIP_DEFLATED
                z.writestr(info, raw)
        return folder/'CT-0.zip'
    return make

def zip_cases(long):
    for name, member in {'parent': '../evil', 'deep parent': 'CT-0/../../evil', 'absolute': '/evil', 'home': '../../../../../../../../evil'}.items():
        yield Case('zip', name, lambda folder, member=member: zipped()(folder, {'CT-0/a.nii': b'x', member: b'x'}), download)
    for name, mode in dict(link=stat.S_IFLNK, device=stat.S_IFBLK, terminal=stat.S_IFCHR, pipe=stat.S_IFIFO, socket=stat.S_IFSOCK).items():
        yield Case('zip', name, lambda folder, mode=mode: zipped()(folder, {'CT-0/a.nii': '/etc/passwd'}, mode), download)
    yield Case('zip', 'a bomb', lambda folder: zipped(compresslevel=9)(folder, {'CT-0/a.nii': bytes(10**8)}), download)
    yield Case('zip', 'many members', lambda folder: zipped()(folder, {f'CT-0/{i}': b'' for i in range(20_000)}), download)
    def whole(folder): return zipped()(folder, {'CT-0/a.nii': np.random.default_rng(0).bytes(9999)})
    yield Case('zip', 'plain', whole, download, odd=True)
    for n in (4, 30, 5000, 9990, -22, -1): yield Case('zip', f'cut at {n}', lambda folder, n=n: made(lambda p: p.write_bytes(p.read_bytes()[:n]), whole(folder)), download)
    def corrupt(p):
        raw = bytearray(p.read_bytes()); raw[5000] ^= 255; p.write_bytes(raw)
    yield Case('zip', 'a wrong byte', lambda folder: made(corrupt, whole(folder)), download)
    def lying(p):
        raw = bytearray(p.read_bytes()); raw[(at := raw.rindex(b'PK\1\2')) + 24:at + 28] = struct.pack('<I', 5); p.write_bytes(raw)
    yield Case('zip', 'a wrong size', lambda folder: made(lying, whole(folder)), download)


# --- checkpoints: their hash is taken to be right, as a stranger's would be ---

dcg.hash_of = lambda config, *more: config['hash']

def checkpoint(config=None, weights=None, **arguments):
    "The shipped checkpoint of the phantoms with another file, or with other arguments."
    def make(folder):
        source, to = dcg.find_checkpoint('phantom'), folder/'model'
        to.mkdir()
        (folder/'good.nii').write_bytes(nifti())
        facts = json.loads((source/'config.json').read_text())
        for key, value in arguments.items():
            if key in ('kind', 'arguments'): facts[key] = value
            elif key in facts['arguments']: facts['arguments'][key] = value
            else:
                part = next((p for p in ('config', 'prep') if key in facts['arguments'][p]), 'config')
                facts['arguments'][part][key] = value
        raw = (source/'model.safetensors').read_bytes()
        (to/'config.json').write_bytes(json.dumps(facts).encode() if config is None else config)
        (to/'model.safetensors').write_bytes(raw if weights is None else weights(raw))
        return to
    return make

def piped(model, name):
    (model/name).unlink(); os.mkfifo(model/name)
    return model

def lying_header(change):
    "Replace the header of a safetensors file, a dictionary."
    def weights(raw):
        size = int.from_bytes(raw[:8], 'little')
        header = json.loads(raw[8:8+size])
        text = json.dumps(change(header) or header).encode()
        return struct.pack('<Q', len(text)) + text + raw[8+size:]
    return weights

def each(**fields): return lambda header: [v.update(fields) for k, v in header.items() if k != '__metadata__'] and None
def all_nan(raw): return safetensors.torch.save({k: v*NAN if v.is_floating_point() else v for k, v in safetensors.torch.load(raw).items()})

WEIGHTS = {
    'empty': lambda raw: b'', 'header of 2⁶³ bytes': lambda raw: struct.pack('<Q', 2**63) + raw[8:], 'header of 4 GB': lambda raw: struct.pack('<Q', 2**32) + raw[8:], 'header that ends early': lambda raw: struct.pack('<Q', 9) + raw[8:],
    'cut in the header': lambda raw: raw[:100], 'cut in the weights': lambda raw: raw[:-100], 'more bytes': lambda raw: raw + bytes(9), 'a pickle': lambda raw: pickle.dumps(Trap()), 'a torch file': lambda raw: torch_file(),
    'offsets outside': lying_header(each(data_offsets=[0, 2**40])), 'offsets backwards': lying_header(each(data_offsets=[9, 3])), 'shape of 2⁴⁰': lying_header(each(shape=[2**40])), 'negative shape': lying_header(each(shape=[-1])),
    'unknown type': lying_header(each(dtype='X9')), 'another type': lying_header(each(dtype='I32')), 'a list': lying_header(lambda h: [1]), 'no weights': lying_header(lambda h: {'__metadata__': {}}), 'one missing': lambda raw: without(raw), 'NaN': all_nan,
}
def torch_file():
    out = io.BytesIO()
    torch.save({'a': torch.ones(3)}, out)
    return out.getvalue()
def without(raw):
    weights = safetensors.torch.load(raw); weights.pop(sorted(weights)[0])
    return safetensors.torch.save(weights)

CONFIGS = {
    'empty': b'', 'null': b'null', 'a list': b'[1, 2]', 'a number': b'NaN', 'not JSON': b'{"kind":', 'deep': b'['*10**5, 'UTF-16': '{}'.encode('utf-16'), 'NUL': b'{"kind": "\0"}', 'nothing in it': b'{}', 'a pickle': pickle.dumps(Trap()),
}
HUGE = 10**9
ARGUMENTS = {
    'unknown kind': dict(kind='os.system'), 'kind as list': dict(kind=[1]), 'no arguments': dict(arguments={}), 'arguments as list': dict(arguments=[]), 'unknown argument': dict(hidden=1), 'wide': dict(widths=[HUGE]*3), 'negative widths': dict(widths=[-1]*3), 'text as widths': dict(widths='abc'),
    'no widths': dict(widths=[]), '10⁵ widths': dict(widths=[16]*10**5), 'wide embedding': dict(embed=HUGE), 'wide latent': dict(latent=HUGE), '10⁹ regions': dict(regions=HUGE), 'no regions': dict(regions=0), 'vast region': dict(roi=[HUGE]*3), 'negative region': dict(roi=[-16]*3), 'top NaN': dict(top=NAN), 'top 99': dict(top=99),
    'T 10¹²': dict(T=10**12), 'T as text': dict(T='1000'), '10⁹ draws': dict(draws=HUGE), 'no draws': dict(draws=0), 'negative steps': dict(steps=-5), '10⁹ points': dict(points=HUGE), 'three points': dict(points=3), 'vast volume': dict(shape=[HUGE]*3), 'large volume': dict(shape=[4096]*3), 'no volume': dict(shape=[0,0,0]), 'negative volume': dict(shape=[-8]*3), 'two sides': dict(shape=[64,64]),
    'volume as text': dict(shape='abc'), 'no window': dict(window=[0,0]), 'window backwards': dict(window=[400,-1000]), 'NaN window': dict(window=[NAN,NAN]), 'infinite window': dict(window=[-INF,INF]), 'zero spacing': dict(spacing=[0,0,0]), 'negative spacing': dict(spacing=[-1,-1,-1]), 'tiny spacing': dict(spacing=[1e-9]*3),
    'no classes': dict(classes=[]), 'one class': dict(classes=['a']), '10⁶ classes': dict(classes=['a']*10**6), 'numbers as classes': dict(classes=[1, 2]), 'one name for both': dict(classes=['a', 'a']), 'classes as text': dict(classes='ab'),
}

def checkpoint_cases(long):
    yield Case('checkpoints', 'plain', checkpoint(), predict_by, odd=True)
    for name in ('config.json', 'model.safetensors'): yield Case('checkpoints', f'a pipe, {name}', lambda folder, name=name: piped(checkpoint()(folder), name), predict_by)
    for name, weights in WEIGHTS.items(): yield Case('safetensors', name, checkpoint(weights=weights), predict_by)
    for name, config in CONFIGS.items(): yield Case('config.json', name, checkpoint(config=config), predict_by)
    for name, arguments in ARGUMENTS.items(): yield Case('config.json', name, checkpoint(**arguments), predict_by)


# --- a case in a process of its own ---

def limited(f, log:Path, seconds:float, memory:int=MEMORY):
    "Call `f` in a child with a limit on memory, file size and time; returns its exit code, or why it has none."
    child = os.fork()
    if child == 0:
        code = 70
        try:
            for stream, name in ((1, 'out'), (2, 'err')): os.dup2(os.open(log.with_suffix(f'.{name}'), os.O_CREAT | os.O_TRUNC | os.O_WRONLY), stream)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            if (statm := Path('/proc/self/statm')).exists():  # other systems do not keep this limit
                used = int(statm.read_text().split()[0])*resource.getpagesize()
                resource.setrlimit(resource.RLIMIT_AS, (used + memory,)*2)
            resource.setrlimit(resource.RLIMIT_FSIZE, (2**27,)*2)
            code = f()
        except SystemExit as e: code = e.code
        except BaseException: traceback.print_exc()
        finally:
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 70)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done: return os.waitstatus_to_exitcode(status)
        time.sleep(.002)
    os.kill(child, signal.SIGKILL); os.waitpid(child, 0)
    return f'not finished after {seconds} s'

def tree(folder): return {p: (p.lstat().st_size, p.lstat().st_mtime_ns) for p in folder.rglob('*')}

def verdict(case, box:Path):
    "Run a case; returns None if it survived, or what went wrong."
    shutil.rmtree(box, ignore_errors=True)
    for name in ('in', 'cwd', 'home', 'cache'): (box/name).mkdir(parents=True)
    file, log = case.make(box/'in'), box.with_name('log')
    before = tree(box)
    def command():
        os.chdir(box/'cwd')
        os.environ |= dict(HOME=str(box/'home'), MEDISCOPE_CACHE=str(box/'cache'), TMPDIR=str(box/'home'), MPLCONFIGDIR=str(box/'cache'))
        return case.command(file, box/'out')
    code = limited(command, log, case.seconds, MEMORY*(4 if case.odd or case.command is check else 1))
    said = log.with_suffix('.err').read_text(errors='replace').splitlines()
    strange = [p for p, facts in tree(box).items() if before.get(p) != facts and not p.is_relative_to(box/'out') and not p.is_relative_to(box/'cache') and p not in (box/'cache', box)]
    if strange: return f'wrote {strange[0].relative_to(box)}'
    if code != (0 if case.odd else 2): return f"{code if isinstance(code, str) else f'exit code {code}'}: {said[-1][:200] if said else 'nothing said'}"
    if case.odd: return None
    if 'compressed' in case.family: said = said[-1:]  # the decoders say a line of their own for every slice
    if not said or len(said) > 1 and case.command is not check: return f'{len(said)} lines: {said[:2]}'
    bad = [s for s in said if not s.endswith('.') or not s.isprintable() or len(s) > 2000]
    if bad: return f'no sentence: {bad[0][:200]!r}'
    if case.family != 'CSV' and not any(p in said[0] for p in (file.name, 'spoilt')): return f'does not name {file.name}: {said[0][:200]}'


# --- random changes ---

def slices(file):
    "Slice 5 of a series is replaced by the file."
    folder = file.parent/'series'
    if not folder.exists(): series(lambda i: {})(file.parent)
    file.rename(folder/'05.dcm')
    return data.read_scan(folder, LIMIT_MB)

def model(file):
    "A file of a checkpoint is replaced by the file."
    folder = file.parent/'model'
    if not folder.exists(): checkpoint()(file.parent)
    file.rename(folder/file.name)
    try: return MediScope.from_pretrained(folder)
    finally: shutil.copy(dcg.find_checkpoint('phantom')/file.name, folder)

def archived(file):
    "A set in an archive and its first scans."
    cohort, problems = data.index_scans(file)
    return [data.read_scan(file.parent/p, LIMIT_MB) for p in cohort.table.path[:2]]

def read(file): return data.read_scan(file, LIMIT_MB)
def extract(file): return data.unpack(file, Path(tempfile.mkdtemp(dir=file.parent)))

def good_files():
    "What is changed below: {name: (file, bytes, reader)}."
    source = dcg.find_checkpoint('phantom')
    with tempfile.TemporaryDirectory() as t: archive = zipped()(Path(t), {'CT-0/a.nii': nifti(), 'CT-0/b.nii': b'x'}).read_bytes()
    return {'NIfTI': ('a.nii', nifti(), read), 'gzip': ('a.nii.gz', gzip.compress(nifti()), read), 'npz': ('a.npz', npz(), archived), 'zip': ('a.zip', archive, extract),
            **{name: (name, (source/name).read_bytes(), model) for name in ('config.json', 'model.safetensors')}} | ({'DICOM': ('a.dcm', dicom(5), slices)} if find_spec('SimpleITK') else {})

def survives(reader, file, raw):
    "The reader returns or raises an `InputError`; anything else is a fault."
    file.write_bytes(raw)
    try: reader(file)
    except data.InputError as e: assert all(p.isprintable() for p in e.problems)

def in_child(name, attempts, box, seconds):
    "Let `attempts(folder)` yield after each attempt, in a child: (name, tried, what went wrong or None)."
    folder = box/re.sub(r'\W', '-', name)
    folder.mkdir(parents=True)
    tried = folder.with_suffix('.count')
    def command():
        os.chdir(folder)
        os.environ['HYPOTHESIS_STORAGE_DIRECTORY'] = str(folder/'hypothesis')
        return attempts(folder, lambda n: tried.write_text(str(n)))
    code = limited(command, box.with_name('log'), seconds, 4*MEMORY)
    said = box.with_name('log.err').read_text(errors='replace').splitlines()
    return name, int(tried.read_text()) if tried.exists() else 0, None if code == 0 else f'{code}: ' + ' | '.join(s for s in said if s.strip())[-600:]

def truncations(box, most=5000):
    "Cut good files at every byte, or, if they are long, at some evenly spaced ones."
    for name, (file, raw, reader) in good_files().items():
        def attempts(folder, tell):
            for i, n in enumerate(range(0, len(raw), -(-len(raw)//most))):
                survives(reader, folder/file, raw[:n])
                tell(i + 1)
            return 0
        yield in_child(f'every truncation: {name}', attempts, box, 300)

def changes(box, n:int):
    "Change good files at random, n times each."
    try: from hypothesis import HealthCheck, given, settings, strategies as st
    except ImportError: return print('random changes: skipped, hypothesis is not installed')
    def bytes_of(raw): # a few are replaced, inserted or cut
        at = st.one_of(st.integers(0, min(len(raw), 400)), st.integers(0, len(raw)))
        def apply(edits, out=raw):
            for a, cut, new in edits: out = out[:a] + new + out[a+cut:]
            return out
        return st.lists(st.tuples(at, st.integers(0, 4), st.binary(max_size=8)), min_size=1, max_size=4).map(lambda edits: lambda: apply(edits))  # made when it is needed: hypothesis keeps its examples
    fields = sorted((offset, kind.itemsize) for kind, offset, *_ in nib.nifti1.header_dtype.fields.values())
    def header_of(raw): # other values in some fields of a NIfTI header
        field = st.sampled_from(fields).flatmap(lambda f: st.tuples(st.just(f[0]), st.binary(min_size=f[1], max_size=f[1])))
        def apply(edits, out=raw):
            for at, new in edits: out = out[:at] + new + out[at+len(new):]
            return out
        return st.lists(field, min_size=1, max_size=3).map(lambda edits: lambda: apply(edits))
    text = st.text(st.characters(codec='utf-8'), max_size=9)
    table = st.lists(st.lists(text, max_size=4).map(','.join), max_size=6).map(lambda rows: lambda: ('path,label,patient,split\n' + '\n'.join(rows)).encode())
    strategies = {name: (file, bytes_of(raw), reader) for name, (file, raw, reader) in good_files().items()} | {
        'NIfTI header': ('a.nii', header_of(nifti()), read), 'NIfTI header in gzip': ('a.nii.gz', header_of(nifti()).map(lambda make: lambda: gzip.compress(make(), 1)), read), 'CSV': ('a.csv', table, data.index_scans)}
    for name, (file, strategy, reader) in strategies.items():
        def attempts(folder, tell):
            count = Counter()
            @settings(max_examples=n, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
            @given(strategy)
            def attempt(make):
                count['n'] += 1
                tell(count['n'])
                survives(reader, folder/file, make())
            attempt()
            return 0
        yield in_child(f'random changes: {name}', attempts, box, 30 + n/5)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--long', action='store_true', help='every truncation, larger bombs, more random changes (minutes)')
    parser.add_argument('--only', default='', help='families whose name holds this')
    args = parser.parse_args()
    tried, lost, start = Counter(), [], time.monotonic()
    gc.freeze()  # else a collection in a child touches every object, and so copies its page
    with tempfile.TemporaryDirectory(prefix='hostile-') as t:
        box = Path(t).resolve()/'box'
        for cases in (nifti_cases, dicom_cases, npz_cases, csv_cases, zip_cases, checkpoint_cases):
            for case in cases(args.long) or ():
                if args.only not in case.family: continue
                tried[case.family] += 1
                if why := verdict(case, box): lost.append((case.family, f'{case.name}: {why}'))
        shutil.rmtree(box, ignore_errors=True)
        for name, n, why in [*(truncations(box) if args.long else ()), *(changes(box, 1000 if args.long else 40) or ())] if not args.only else ():
            tried[name] += n
            if why: lost.append((name, why))
    return show(tried, lost, start)


if __name__ == '__main__': sys.exit(main())
