"AdrenalMNIST3D, normal (0) against hyperplasia (1): the official split of the archive."
from bench import arguments, benchmark, networks

if __name__ == '__main__':
    args = arguments(__doc__, seeds=(0, 1, 2))
    benchmark(args.data.stem, args, networks(epochs=15))
