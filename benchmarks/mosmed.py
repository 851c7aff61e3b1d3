"MosMedData, CT-0 against CT-23, as downloaded by `mediscope download DATA`: 5-fold, pooled."
from bench import MLP, NETWORKS, arguments, benchmark, header

args = arguments(__doc__, seeds=(0,))
benchmark('mosmed', args, [MLP, header(args.data), *NETWORKS])
