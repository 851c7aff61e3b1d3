"LIDC nodules, benign against malignant, from the image alone: 5-fold by patient, pooled."
import numpy as np
import pandas as pd
from bench import arguments, benchmark, header, networks, regression

ABOUT = (
    'Lung nodules of LIDC-IDRI (Armato et al., Medical Physics 2011; doi 10.7937/K9/TCIA.2015.LO9QL9SX; CC BY 3.0), candidates of LUNA16 '
    '(Setio et al., MedIA 2017; CC BY 4.0); benign or malignant by the vote of radiologists, not by histology. The authors acknowledge the '
    'National Cancer Institute and the Foundation for the National Institutes of Health and their critical role in the creation of the free '
    'publicly available LIDC/IDRI Database.')

SETTINGS = dict(classes=('benign', 'malignant'), spacing=(1., 1., 1.), shape=(48, 48, 32), about=ABOUT)

if __name__ == '__main__':
    args = arguments(__doc__, seeds=(0, 1, 2))
    table = pd.read_csv(args.data).set_index('path')
    diameter = regression('diameter', lambda paths: np.log(table.diameter_mm[paths].to_numpy()[:, None]))
    benchmark('lidc', args, diameter | header(args.data.parent) | networks(epochs=15), **SETTINGS)
