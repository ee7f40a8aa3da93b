"""Define the twelve networks of the demo: positions, terms and sources.

Positions are in mm in MNI space. They follow the regions reported in the sources, but they are rounded, and some are
shifted by a few mm to separate neighbouring networks. Do not cite them as coordinates from these papers.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A blob is set to zero where it is below this share of its height, because ICA finds sparse networks better.
TAIL = 0.02


@dataclass(frozen=True)
class Network:
    """One network to plant.

    Attributes
    ----------
    name : str
        Identifier, as in ``truth/networks.tsv``.
    foci : tuple of (x, y, z, height, radius)
        Blobs: centre in MNI mm; height, negative for a decrease; and radius in mm, the standard deviation.
    stretch : tuple of three floats
        Factors for the radius along x, y and z.
    sharpness : float
        1 is a Gaussian. Larger values give a flatter top and steeper sides.
    terms, related : tuple of str
        Neurosynth terms: those that are specific to this network, and those that are only weakly related to it.
    contrasts : tuple of (str, str)
        Contrasts of its studies: (condition, baseline).
    paradigm : str
        Task, named as in the Cognitive Atlas.
    source : str
        Papers that reported these regions.
    """

    name: str
    foci: tuple[tuple[float, float, float, float, float], ...]
    stretch: tuple[float, float, float]
    sharpness: float
    terms: tuple[str, ...]
    related: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    paradigm: str
    source: str


NETWORKS = (
    Network(
        "visual",
        (
            (-10, -94, 2, 1.0, 14),
            (11, -92, 4, 1.0, 14),
            (0, -78, 6, 0.8, 13),
            (-30, -88, -6, 0.7, 12),
            (32, -86, -6, 0.7, 12),
        ),
        (1.0, 1.1, 1.0),
        1.3,
        ("visual", "occipital", "v1", "visual cortex"),
        ("sighted", "stimulus", "lingual gyrus", "early visual"),
        (("checkerboard", "fixation"), ("moving dots", "static dots"), ("natural scenes", "scrambled scenes")),
        "passive viewing",
        "Smith et al. 2009, components 1-3, doi:10.1073/pnas.0905267106; Yeo et al. 2011, visual,"
        " doi:10.1152/jn.00338.2011",
    ),
    Network(
        "auditory",
        ((-52, -20, 6, 1.0, 12), (54, -16, 4, 1.0, 12), (-60, -28, 14, 0.7, 9), (62, -26, 12, 0.7, 9)),
        (0.8, 1.3, 0.8),
        1.0,
        ("auditory", "sounds", "acoustic", "heschl gyrus"),
        ("listening", "pitch", "music", "temporal gyrus"),
        (("tones", "silence"), ("music", "silence"), ("vocal", "non-vocal sounds")),
        "auditory localization task",
        "Smith et al. 2009, component 7, doi:10.1073/pnas.0905267106; Binder et al. 1994,"
        " doi:10.1016/0926-6410(94)90018-3",
    ),
    Network(
        "hand_motor",
        (
            (-38, -24, 56, 1.0, 13),
            (0, -6, 58, 0.75, 12),
            (20, -50, -20, 0.7, 10),
            (-14, -20, 8, 0.4, 9),
            (40, -22, 56, -0.45, 12),
        ),
        (1.0, 1.0, 1.2),
        1.0,
        ("motor", "hand", "finger", "movement"),
        ("m1", "premotor", "sensorimotor", "tapping"),
        (("right finger tapping", "rest"), ("motor execution", "motor imagery"), ("button press", "fixation")),
        "finger tapping task",
        "Mayka et al. 2006, doi:10.1016/j.neuroimage.2006.02.004; Witt et al. 2008,"
        " doi:10.1016/j.neuroimage.2008.04.025 (finger tapping; ipsilateral decrease: Allison et al. 2000)",
    ),
    Network(
        "default_mode",
        (
            (0, -54, 28, 1.0, 14),
            (0, 54, 14, 0.95, 14),
            (-46, -66, 30, 0.8, 12),
            (49, -63, 32, 0.8, 12),
            (-61, -22, -12, 0.45, 10),
            (60, -22, -12, 0.45, 10),
            (-26, -58, 54, -0.35, 12),
            (26, -58, 54, -0.35, 12),
        ),
        (1.0, 1.0, 1.1),
        1.0,
        ("default mode", "resting state", "self referential", "mind wandering"),
        ("precuneus", "mentalizing", "posterior cingulate", "autobiographical"),
        (("self", "other"), ("rest", "task"), ("theory of mind", "physical story")),
        "rest eyes open",
        "Raichle 2011, doi:10.1089/brain.2011.0019; Raichle 2015, doi:10.1146/annurev-neuro-071013-014030;"
        " anticorrelated parietal: Fox et al. 2005, doi:10.1073/pnas.0504136102",
    ),
    Network(
        "left_frontoparietal",
        ((-40, 48, 8, 0.9, 12), (-44, 20, 36, 0.9, 12), (-46, -54, 46, 1.0, 13), (-60, -48, -16, 0.4, 9)),
        (1.0, 1.1, 1.0),
        1.2,
        ("working memory", "executive", "n back", "maintenance"),
        ("prefrontal", "intraparietal", "cognitive control", "demands"),
        (("2-back", "0-back"), ("working memory load", "baseline"), ("rule switch", "rule repeat")),
        "n-back task",
        "Smith et al. 2009, component 10, doi:10.1073/pnas.0905267106; Vincent et al. 2008, doi:10.1152/jn.90355.2008",
    ),
    Network(
        "right_frontoparietal",
        ((40, 48, 8, 0.9, 12), (44, 20, 38, 0.9, 12), (48, -52, 46, 1.0, 13), (62, -44, -16, 0.4, 9)),
        (1.0, 1.1, 1.0),
        1.2,
        ("attention", "inhibition", "response inhibition", "stop signal"),
        ("prefrontal", "intraparietal", "cognitive control", "orienting"),
        (("stop", "go"), ("invalid cue", "valid cue"), ("sustained attention", "rest")),
        "stop signal task",
        "Smith et al. 2009, component 9, doi:10.1073/pnas.0905267106; Vincent et al. 2008, doi:10.1152/jn.90355.2008",
    ),
    Network(
        "salience",
        (
            (-38, 14, -4, 1.0, 12),
            (40, 14, -4, 1.0, 12),
            (0, 22, 36, 0.9, 12),
            (-62, -38, 30, 0.4, 9),
            (62, -38, 30, 0.4, 9),
        ),
        (0.9, 1.1, 1.1),
        1.0,
        ("pain", "noxious", "anterior insula", "salience network"),
        ("insula", "heat", "somatosensory", "anterior cingulate"),
        (("painful heat", "warm"), ("oddball", "standard"), ("error", "correct")),
        "pain monitor/discrimination task",
        "Seeley et al. 2007, doi:10.1523/JNEUROSCI.5587-06.2007; Raichle 2011, doi:10.1089/brain.2011.0019",
    ),
    Network(
        "language",
        (
            (-51, 27, 6, 0.9, 9),
            (-58, -48, 4, 1.0, 10),
            (-54, 4, -22, 0.75, 10),
            (-46, 0, 50, 0.6, 9),
            (56, 4, -22, 0.35, 9),
        ),
        (0.9, 1.2, 1.0),
        1.0,
        ("language", "sentence", "semantic", "comprehension"),
        ("reading", "words", "linguistic", "broca"),
        (("story", "math"), ("sentences", "word lists"), ("semantically related", "unrelated words")),
        "language processing fMRI task paradigm",
        "Fedorenko et al. 2010, doi:10.1152/jn.00032.2010; Vigneau et al. 2006, doi:10.1016/j.neuroimage.2005.11.002",
    ),
    Network(
        "reward",
        (
            (-11, 10, -8, 1.0, 9),
            (12, 10, -8, 1.0, 9),
            (0, 46, -12, 0.9, 12),
            (0, -22, -10, 0.45, 8),
            (0, -32, 36, 0.45, 9),
        ),
        (1.0, 1.0, 1.0),
        1.0,
        ("reward", "monetary", "ventral striatum", "incentive"),
        ("striatum", "gain", "nucleus accumbens", "dopamine"),
        (("win", "loss"), ("monetary gain", "no gain"), ("large reward", "small reward")),
        "monetary incentive delay task",
        "Bartra et al. 2013, doi:10.1016/j.neuroimage.2013.02.063; Clithero and Rangel 2014, doi:10.1093/scan/nst106",
    ),
    Network(
        "emotion",
        (
            (-22, -2, -20, 1.0, 9),
            (23, -2, -20, 1.0, 9),
            (42, -50, -20, 0.75, 10),
            (-40, -50, -20, 0.6, 10),
            (48, 24, 16, 0.45, 10),
            (0, -34, -6, 0.35, 8),
        ),
        (1.1, 1.1, 0.9),
        1.0,
        ("emotion", "amygdala", "faces", "fear"),
        ("emotional", "facial expressions", "fusiform", "valence"),
        (("fearful faces", "neutral faces"), ("negative pictures", "neutral pictures"), ("faces", "shapes")),
        "emotion processing fMRI task paradigm",
        "Sabatinelli et al. 2011, doi:10.1016/j.neuroimage.2010.10.011; Costafreda et al. 2008,"
        " doi:10.1016/j.brainresrev.2007.10.012",
    ),
    Network(
        "memory",
        (
            (-28, -30, -12, 1.0, 9),
            (29, -30, -12, 1.0, 9),
            (-14, -56, 10, 0.75, 9),
            (15, -55, 10, 0.75, 9),
            (0, -72, 46, 0.6, 10),
        ),
        (0.9, 1.3, 0.9),
        1.0,
        ("memory", "hippocampus", "retrieval", "episodic"),
        ("encoding", "recollection", "parahippocampal", "recognition"),
        (("hits", "correct rejections"), ("remember", "know"), ("scene encoding", "baseline")),
        "recognition memory test",
        "Spaniol et al. 2009, doi:10.1016/j.neuropsychologia.2009.02.028; Ranganath and Ritchey 2012,"
        " doi:10.1038/nrn3338",
    ),
    Network(
        "cerebellum",
        (
            (-36, -68, -34, 1.0, 14),
            (36, -68, -34, 1.0, 14),
            (0, -72, -22, 0.7, 12),
            (-12, -78, -44, 0.5, 10),
            (14, -78, -44, 0.5, 10),
        ),
        (1.1, 1.0, 0.8),
        1.4,
        ("cerebellum", "cerebellar", "timing", "crus"),
        ("vermis", "prediction", "conditioning", "rhythm"),
        (("timing", "control"), ("eyeblink conditioning", "baseline"), ("predictable", "random sequence")),
        "temporal discrimination task",
        "Smith et al. 2009, component 5, doi:10.1073/pnas.0905267106; Buckner et al. 2011, doi:10.1152/jn.00339.2011;"
        " Stoodley and Schmahmann 2009, doi:10.1016/j.neuroimage.2008.08.039",
    ),
)
NETWORK_NAMES = tuple(network.name for network in NETWORKS)
GENERIC_TERMS = tuple(
    """
    task activation healthy subjects participants brain functional cortex imaging response network regions study
    magnetic resonance neural volunteers condition activated correlates signal contrast processing effects trials
    """.split()  # noqa: SIM905
)
"""Terms that occur in every paper. Their weights are high for every image, so they are specific to no network."""
NOISE_TERMS = tuple(
    """
    abuse adolescents adults age allele ambiguous arithmetic asymmetry beliefs bipolar bodily calcium categories
    children chinese chronic cigarette clinical cocaine complexity cortisol cue deaf deception delay dementia
    depression distance drug dyslexia elderly empathy females food gambling gaze genotype gestures glucose grey
    humor hunger hypnosis illusion insomnia intelligence iq judgments kinematics lesions letters lying males maps
    meditation methylphenidate migraine navigation nicotine numbers obese odor olfactory panic parkinson phobia
    placebo ptsd schizophrenia sex sleep smokers stress taste tinnitus tool trauma twins video voice weight
    """.split()  # noqa: SIM905
)
"""Terms that are unrelated to all planted networks."""


def render(network: Network, xyz_mm: NDArray[np.float32]) -> NDArray[np.float32]:
    """Evaluate a network at points in MNI space.

    Parameters
    ----------
    network : Network
    xyz_mm : array, shape (3, points)
        MNI coordinates in mm.

    Returns
    -------
    array, shape (points,)
        1 at the strongest focus. Where blobs overlap, the larger absolute value is used, because the sum could have a
        peak between the foci.
    """
    field = np.zeros(xyz_mm.shape[1], dtype=np.float32)
    for *centre, height, radius in network.foci:
        squared = np.zeros_like(field)
        for axis, (middle, factor) in enumerate(zip(centre, network.stretch, strict=True)):
            squared += ((xyz_mm[axis] - np.float32(middle)) / np.float32(radius * factor)) ** 2
        near = squared < (-2 * np.log(TAIL)) ** (1 / network.sharpness)
        blob = np.float32(height) * np.exp(-0.5 * squared[near] ** np.float32(network.sharpness))
        field[near] = np.where(np.abs(blob) > np.abs(field[near]), blob, field[near])
    return field
