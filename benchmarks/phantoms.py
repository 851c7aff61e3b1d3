"200 phantoms of the default difficulty, 128×128×64 voxels: 5-fold, pooled. They are written into DATA if it does not exist."
from bench import arguments, benchmark, header, networks
from mediscope.phantom import write_phantoms

args = arguments(__doc__, seeds=(0,))
if not args.data.exists(): write_phantoms(args.data, n=200)
benchmark('phantoms', args, header(args.data) | networks(epochs=15))
