"AdrenalMNIST3D, masks of single glands, normal (0) against hyperplasia (1): the official split of the archive, in which each gland counts as a patient."
from bench import arguments, benchmark, networks

if __name__ == '__main__':
    args = arguments(__doc__, seeds=(0, 1, 2))
    benchmark(args.data.stem, args, networks(epochs=15))
