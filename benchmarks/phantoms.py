"200 phantoms of the default difficulty, 128×128×64 voxels: 5-fold, pooled. They are written into DATA if it does not exist."
from bench import arguments, benchmark, header, networks, phantoms

args = arguments(__doc__, seeds=(0,))
benchmark('phantoms', args, header(phantoms(args.data, n=200)) | networks(epochs=15))
