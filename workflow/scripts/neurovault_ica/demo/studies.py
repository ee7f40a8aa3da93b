"""Define the collections of the demo: topics, format of their images, and images with faults."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Study:
    """A collection: its topics, and the format of its images.

    Attributes
    ----------
    topics : tuple of str
        Networks of `networks.NETWORKS` that its images show.
    grid : str
        Key of `volumes.GRIDS`.
    unit : float
        All values are multiplied by it. The unit of beta maps depends on the software.
    dtype : str
        Type of the stored voxels.
    background : str
        Voxels outside the brain: ``zero`` or ``NaN``.
    doi : bool
        Whether the collection has a DOI and authors.
    """

    id: int
    name: str
    topics: tuple[str, ...]
    grid: str
    map_type: str = "Z map"
    unit: float = 1.0
    dtype: str = "float32"
    big_endian: bool = False
    background: str = "zero"
    doi: bool = False


# fmt: off
STUDIES = (
    Study(4101, "Seeing and hearing (simulated)", ("visual", "auditory"),
          "FSL 2 mm", doi=True),
    Study(4108, "Finger tapping across sites (simulated)", ("hand_motor", "cerebellum", "visual"),
          "SPM 3 mm radiological", "T map", background="NaN"),
    Study(4115, "Rest, self and others (simulated)", ("default_mode", "memory", "salience"),
          "FSL 4 mm"),
    Study(4122, "N-back load (simulated)", ("left_frontoparietal", "right_frontoparietal", "default_mode"),
          "SPM 3 mm neurological", "T map", background="NaN", doi=True),
    Study(4129, "Stop signal (simulated)", ("right_frontoparietal", "salience", "hand_motor"),
          "3 x 3 x 4 mm", "univariate-beta map", unit=1e3),
    Study(4136, "Heat pain (simulated)", ("salience", "emotion", "cerebellum"),
          "SPM 3 mm radiological", "T map", background="NaN", dtype="float64"),
    Study(4143, "Récits et calcul – Geschichten (simulated)", ("language", "auditory", "left_frontoparietal"),
          "SPM 2 mm", "T map", background="NaN", doi=True),
    Study(4150, "Monetary incentive delay (simulated)", ("reward", "visual", "salience"),
          "2.5 mm", "Z map"),
    Study(4157, "Emotional faces (simulated)", ("emotion", "visual", "reward"),
          "FSL 2 mm", "Z map", dtype="int16"),
    Study(4164, "Remember / know (simulated)", ("memory", "default_mode", "language"),
          "SPM 3 mm neurological", "T map", background="NaN"),
    Study(4171, "Timing and prediction (simulated)", ("cerebellum", "auditory", "hand_motor"),
          "FSL 4 mm", "univariate-beta map", unit=1e-3),
    Study(4178, "Words, sounds, scenes (simulated)", ("language", "visual", "auditory"),
          "3 mm permuted axes", "T map"),
    Study(4185, "Value of faces (simulated)", ("reward", "emotion", "memory"),
          "SPM 3 mm radiological", "T map", background="NaN", doi=True),
    Study(4192, "Task switching (simulated)", ("left_frontoparietal", "hand_motor", "right_frontoparietal"),
          "3.5 mm oblique", "Z map"),
    Study(4199, "Scene memory (simulated)", ("memory", "visual", "left_frontoparietal"),
          "fMRIPrep 2 mm", "Z map", dtype="int16"),
    Study(4206, "Mentalizing (simulated)", ("default_mode", "language", "emotion"),
          "3 x 3 x 4 mm", "univariate-beta map", unit=40.0),
    Study(4213, "Music and rhythm (simulated)", ("auditory", "cerebellum", "reward"),
          "SPM 3 mm neurological", "Z map", big_endian=True),
    Study(4220, "Sustained attention (simulated)", ("right_frontoparietal", "visual", "default_mode"),
          "FSL 4 mm", "Z map"),
    Study(4227, "Fear and pain (simulated)", ("emotion", "salience", "right_frontoparietal"),
          "2.5 mm", "T map", dtype="int16"),
    Study(4234, "Reading (simulated)", ("language", "left_frontoparietal", "memory"),
          "SPM 3 mm radiological", "T map", background="NaN"),
    Study(4241, "Motor learning for money (simulated)", ("hand_motor", "reward", "cerebellum"),
          "FSL 4 mm", "univariate-beta map", unit=1e3),
    Study(4248, "Listening to stories (simulated)", ("auditory", "default_mode", "emotion"),
          "SPM 3 mm neurological", "T map", background="NaN"),
    Study(4255, "Reward, pain and control (simulated)", ("salience", "reward", "right_frontoparietal"),
          "FSL 4 mm", "Z map"),
    Study(4262, "Face memory (simulated)", ("memory", "emotion", "hand_motor"),
          "3 x 3 x 4 mm", "univariate-beta map", unit=1e-2),
)
# Unusual but usable images: key of dirt.DIRT by study and position in the study.
ODDITIES = {
    (4115, 1): "4-D with one volume",
    (4136, 1): "infinite background",
    (4157, 0): "name with markup",
    (4164, 2): "name with a word inside a word",
    (4199, 2): "field of view cut below",
    (4241, 0): "Unicode name",
}
# Images with faults, in addition to the clean ones: (study, key of dirt.DIRT, original). If the image is a copy, the
# original is (study, position in the study), otherwise None.
FAULTY_IMAGES: tuple[tuple[int, str, tuple[int, int] | None], ...] = (
    (4108, "single subject", None),
    (4115, "truncated gzip", None),
    (4115, "all NaN", None),
    (4122, "thresholded", None),
    (4122, "one sign", None),
    (4129, "file missing", None),
    (4136, "slab", None),
    (4143, "binary mask called Z map", None),
    (4150, "PET", None),
    (4150, "constant", None),
    (4164, "exact duplicate", (4122, 1)),
    (4171, "parcellation called Z map", None),
    (4171, "HTML page saved as image", None),
    (4178, "4-D with several volumes", None),
    (4185, "three values", None),
    (4185, "far outside", None),
    (4192, "grey matter volume", None),
    (4206, "duplicate in another unit", (4171, 0)),
    (4213, "thresholded, flag unknown", None),
    (4220, "no mask", None),
    (4220, "F map", None),
    (4227, "affine of zeros", None),
    (4234, "sign-flipped copy", (4164, 0)),
    (4234, "displaced", None),
    (4241, "beta called Z map", None),
    (4248, "effect size called T map", None),
    (4255, "parcellation", None),
    (4255, "all zero", None),
    (4262, "atlas", None),
)
# Clean images without usable term weights: state of the term file by study and position in the study.
TERM_FILES = {
    (4115, 2): "absent",
    (4136, 2): "absent",
    (4150, 1): "error answer",
    (4164, 1): "absent",
    (4185, 2): "truncated",
    (4213, 0): "absent",
    (4227, 1): "absent",
    (4255, 1): "absent",
}
