"""ICASSO with robustica. compare_example.py runs this file in the environment of robustica.lock.

    python steps_of_robustica.py MATRIX.npy N_COMPONENTS N_RUNS FOLDER

The matrix is images x voxels. All options but the number of runs are robustica's own. Maps, loadings and the stability
of the clusters are written to the folder.
"""

import sys
import warnings

import numpy as np
from robustica import RobustICA

warnings.simplefilter("ignore")
matrix, n_components, n_runs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
X = np.load(matrix)
ica = RobustICA(n_components=n_components, robust_runs=n_runs, random_state=0, verbose=False)
S, A = ica.fit_transform(X.T)
np.savez(f"{folder}/robustica.npz", S=S, A=A)
ica.evaluate_clustering(ica.S_all, ica.clustering.labels_, ica.signs_, ica.orientation_).to_csv(
    f"{folder}/clusters.csv"
)
