"AdrenalMNIST3D, normal against hyperplasia: the official split of the archive."
from bench import MLP, NETWORKS, arguments, benchmark

args = arguments(__doc__, seeds=(0, 1, 2))
benchmark(args.data.stem, args, [MLP, *NETWORKS])
