"MosMedData, CT-0 against CT-23, as downloaded by `mediscope download DATA`: 5-fold, pooled."
from bench import arguments, benchmark, header, networks

args = arguments(__doc__, seeds=(0,))
benchmark('mosmed', args, header(args.data) | networks(epochs=15))
