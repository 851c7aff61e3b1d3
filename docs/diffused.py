"""The figure of diffused.md: what noise makes of a label in training, and a walk of the shipped `phantom` model
from pure noise to its answer for a phantom. A square is a point of the label grid; a tile shows the grid in slices.
"""
import nibabel as nib
import torch
from mediscope.data import to_scan
from mediscope.diffusion import MediScope, add_noise, ddim, draw_noise, label_map
from mediscope.phantom import make_phantom

SIDE, GAP, TILE, LEFT, TOP = 16, 8, 170, 10, 40  # px
RED, WHITE, BLUE = torch.tensor([[192., 57., 43.], [255., 255., 255.], [36., 113., 163.]])


def noised(y0, eps, abar, steps):
    "y_t at some steps."
    return [add_noise(y0, eps, torch.tensor([[[[t]]]]), abar) for t in steps]


def walked(model, scan, eps, steps):
    "The map at some steps of a walk of `model` for `scan`, the answer last."
    x, seen = model.prep(scan)[None], {}
    with torch.no_grad():
        logits = model.logits(model.guide(x))
        def denoise(y, t):
            seen[int(t.flatten()[0])] = y
            return 2*logits(y, t).softmax(1).expand_as(y) - 1
        seen[0] = ddim(denoise, eps, model.abar)[-1]
    return [seen[t] for t in steps]


def colour(v):
    v = max(-1., min(1., v/1.5))
    return '#' + ''.join(f'{round(float(c)):02x}' for c in WHITE + abs(v)*((RED if v > 0 else BLUE) - WHITE))


def tile(y, left, top):
    "The last class of a map (1, k, p, p, p), slices in a square."
    p = y.shape[-1]
    across = round(p**.5)
    for (i, j, k), v in zip(torch.cartesian_prod(*[torch.arange(p)]*3).tolist(), y[0,-1].flatten().tolist()):
        x, z = left + (k % across)*(p*SIDE + GAP) + i*SIDE, top + (k // across)*(p*SIDE + GAP) + (p - 1 - j)*SIDE
        yield f'<rect x="{x}" y="{z}" width="{SIDE}" height="{SIDE}" fill="{colour(v)}"/>'


def row(title, maps, steps, abar, top):
    yield f'<text class="t" x="{LEFT}" y="{top + 16}">{title}</text>'
    for n, (y, t) in enumerate(zip(maps, steps)):
        yield from tile(y, LEFT + n*TILE, top + TOP - 12)
        yield f'<text x="{LEFT + n*TILE}" y="{top + TOP + 142}">t = {t}, ᾱ = {float(abar[t]):.2f}</text>'


def figure():
    "The figure as SVG."
    model = MediScope.from_pretrained('phantom').eval()
    c, steps = model.config, [0, 100, 300, 600, 1000]
    eps = draw_noise(2, len(model.classes), c.points, seed=1)
    ph = make_phantom(True, seed=2025, difficulty=0.)
    scan, name = to_scan(nib.Nifti1Image(ph.hu, ph.affine), 'phantom'), model.classes[-1]
    training = noised(label_map(torch.tensor([1]), 2, c.points), eps[:1], model.abar, steps)
    walk = walked(model, scan, eps[1:], steps[::-1])
    body = [*row(f'Training: the label “{name}” is drowned in noise', training, steps, model.abar, 0),
            *row('Prediction: from noise alone to an answer, guided by the scan of an abnormal phantom', walk, steps[::-1], model.abar, 200)]
    return '\n'.join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + 5*TILE} 395" role="img">',
                      f'<title>A label map of {c.points}×{c.points}×{c.points} points, noised and denoised</title>',
                      '<style>text{font:13px system-ui,sans-serif;fill:#222}.t{font-weight:600;font-size:14px}rect{stroke:#8886;stroke-width:.5}</style>',
                      f'<rect width="{LEFT + 5*TILE}" height="395" fill="#fff"/>', *body, '</svg>'])
