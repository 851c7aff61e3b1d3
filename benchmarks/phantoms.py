"""200 phantoms of the default difficulty, 128×128×64 voxels: 5-fold, pooled. They are written into DATA if it does not exist.

From random weights phase 1 stays at chance for tens of epochs on 160 such scans, so it starts from the
shipped `phantom`, which has seen other, easier phantoms (difficulty 0). The networks start from random weights.

Another kind of processor writes and learns other last digits. What mediscope answered on one is kept as `processor`, and
its figures are computed once more beside the others.
"""
from bench import COMMIT, ROOT, Recipe, arguments, benchmark, densenet121_half, header, network, networks, phantoms, reported, write_json

SETTINGS = dict(init='phantom', epochs_dcg=12, epochs_diffusion=8, batch_size=4, lr=1e-3)

if __name__ == '__main__':
    args = arguments(__doc__, seeds=(0,))
    halved = network('densenet121_half', Recipe(densenet121_half, 15))
    benchmark('phantoms', args, header(phantoms(args.data, n=200)) | networks(epochs=15) | halved, **SETTINGS)
    write_json(dict(benchmark='processor', commit=COMMIT, phantoms=reported('processor', 0, args.data, SETTINGS)), ROOT/'mediscope/results/processor.json')
