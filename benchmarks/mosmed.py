"""MosMedData, CT-0 against CT-23, as downloaded by `mediscope download DATA`: 5-fold, pooled.

With the settings of `phantoms.py`, which were found on phantoms: no scan of MosMedData had a part in them.
"""
from bench import arguments, benchmark, header, networks
from phantoms import SETTINGS

if __name__ == '__main__':
    args = arguments(__doc__, seeds=(0,))
    benchmark('mosmed', args, header(args.data) | networks(epochs=15), **SETTINGS)
