"""nilearn's example without its downloads. compare_example.py runs this file in the environment of nilearn.lock.

    python steps_of_nilearn.py FILES.json N_COMPONENTS FOLDER

Prints the wall and CPU time of each step, in seconds, as JSON.
"""

import json
import sys
import time
import warnings

warnings.simplefilter("ignore")
marks = [("start", time.perf_counter(), 0.0)]


def mark(name: str) -> None:
    """Remember when a step ended."""
    marks.append((name, time.perf_counter(), time.process_time()))


import matplotlib  # noqa: E402

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
import numpy as np  # noqa: E402
from nilearn import plotting  # noqa: E402
from nilearn.datasets import load_mni152_brain_mask  # noqa: E402
from nilearn.image import smooth_img  # noqa: E402
from nilearn.maskers import NiftiMasker  # noqa: E402
from scipy import stats  # noqa: E402
from sklearn.decomposition import FastICA  # noqa: E402

mark("start and imports")
with open(sys.argv[1]) as stream:  # noqa: PTH123
    files = json.load(stream)
n_components, folder = int(sys.argv[2]), sys.argv[3]
masker = NiftiMasker(mask_img=load_mni152_brain_mask(resolution=2)).fit()
rows = []
for file in files:
    try:
        rows.append(np.squeeze(masker.transform(smooth_img(file, fwhm=None))))
    except Exception as error:  # noqa: BLE001  the example skips images that fail, whatever the reason
        print(file, error, file=sys.stderr)
X = np.vstack(rows)
mark("masking")
maps = FastICA(n_components=n_components, random_state=0).fit_transform(X.T).T
mark("ICA")
for number, component in enumerate(maps):
    upright = -component if -component.min() > component.max() else component
    threshold = stats.scoreatpercentile(np.abs(upright), 90)
    img = masker.inverse_transform(upright)
    display = plotting.plot_stat_map(img, threshold=threshold, colorbar=False, title=f"{number}")
    display.savefig(f"{folder}/{number}.png")
    plt.close("all")
mark("figures")
print(json.dumps({name: (wall - marks[i][1], cpu - marks[i][2]) for i, (name, wall, cpu) in enumerate(marks[1:])}))
