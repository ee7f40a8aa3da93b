"""Simulate a small NeuroVault with known truth: twelve planted networks, 24 studies, and the faults of real archives.

Each image is a sum of one to three networks, with positive or negative weights, and smooth noise. The images of a study
share a nuisance field, a grid and a unit. No image contains measured data. A database of coordinates, with peaks around
the foci of the same networks, is simulated too.
"""

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from neurovault_ica.archive.cache import image_file, terms_file
from neurovault_ica.archive.database_files import DatabaseFiles
from neurovault_ica.demo.database import simulate_database, write_database
from neurovault_ica.demo.dirt import DIRT
from neurovault_ica.demo.networks import NETWORK_NAMES, NETWORKS, Network
from neurovault_ica.demo.records import collection_record, image_record, term_weights, terms_answer, voxel_flags
from neurovault_ica.demo.studies import FAULTY_IMAGES, ODDITIES, STUDIES, TERM_FILES, Study
from neurovault_ica.demo.volumes import (
    Scene,
    SimulatedVolume,
    compress,
    make_scene,
    nifti_bytes,
    render_all,
    smooth_noise,
)
from neurovault_ica.runtime.files import replacing, write_json
from neurovault_ica.runtime.log import log_to, progress
from neurovault_ica.runtime.tables import write_table
from neurovault_ica.runtime.wording import counted
from nibabel.affines import apply_affine
from numpy.typing import NDArray

SIGNAL = 1.4
"""Standard deviation over the brain of a network with weight 1, relative to the noise. The peak is about z = 8."""
NUISANCE = 0.3
"""Standard deviation of the field shared by the images of a study, relative to the noise."""
NUISANCE_FWHM_MM = 30.0
"""Smoothness of that field. Its blobs are much wider than those of the networks."""
IMAGES_PER_STUDY = 3
"""Number of clean images in each study: one for each topic."""


@dataclass(frozen=True)
class ImagePlan:
    """One image to make.

    Attributes
    ----------
    id : int
    study : Study
        Its collection.
    weights : dict
        Signed weight by network.
    dirt : str
        Key of `DIRT`.
    terms : str
        ``known``, ``absent``, ``truncated`` or ``error answer``.
    origin : ImagePlan or None
        The original if this image is a copy.
    """

    id: int
    study: Study
    weights: dict[str, float]
    dirt: str = "none"
    terms: str = "known"
    origin: "ImagePlan | None" = None


@dataclass(frozen=True)
class SimulatedImage:
    """Content of an image's file, its record, and content of its term file. None if a file is missing."""

    content: bytes | None
    record: dict[str, Any]
    terms: str | None


def plan_archive(random_state: int) -> list[ImagePlan]:
    """Choose the networks and the fault of each image. Plans are sorted by id."""
    clean = {}
    for study in STUDIES:
        for place in range(IMAGES_PER_STUDY):
            image_id = study.id * 100 + place + 1
            weights = draw_weights(study, place, np.random.default_rng([random_state, image_id]))
            spot = study.id, place
            dirt, terms = ODDITIES.get(spot, "none"), TERM_FILES.get(spot, "known")
            clean[spot] = ImagePlan(image_id, study, weights, dirt, terms)
    spoiled = []
    for place, (study_id, kind, copied) in enumerate(FAULTY_IMAGES):
        # A copy has the voxels of its original. Other faulty images have the weights of their study's first image, and
        # new noise.
        model = clean[copied or (study_id, 0)]
        study = clean[study_id, 0].study
        image_id = study_id * 100 + 50 + place
        spoiled.append(ImagePlan(image_id, study, model.weights, kind, origin=model if copied else None))
    return sorted([*clean.values(), *spoiled], key=lambda plan: plan.id)


def draw_weights(study: Study, place: int, rng: np.random.Generator) -> dict[str, float]:
    """Draw one to three networks: the topic of the image, often another topic of the study, sometimes any network.

    Number, weights and signs vary between images, so that no two networks always occur together.
    """
    main = study.topics[place % len(study.topics)]
    weights = {main: rng.uniform(0.85, 1.25) * (-1 if rng.random() < 0.2 else 1)}
    others = [topic for topic in study.topics if topic != main]
    if rng.random() < 0.8:
        weights[others[rng.integers(len(others))]] = rng.uniform(0.4, 0.9) * (-1 if rng.random() < 0.35 else 1)
    if rng.random() < 0.45:
        extra = NETWORK_NAMES[rng.integers(len(NETWORK_NAMES))]
        weights.setdefault(extra, rng.uniform(0.3, 0.6) * (-1 if rng.random() < 0.35 else 1))
    return weights


@lru_cache(maxsize=2)
def draw_study(study_id: int, scene: Scene, random_state: int) -> tuple[NDArray[np.float32], float]:
    """Draw what the images of a study share: a field in the brain (n_voxels,), and the FWHM of their noise in mm."""
    rng = np.random.default_rng([random_state, study_id])
    return smooth_noise(scene, NUISANCE_FWHM_MM, rng)[scene.mask], rng.uniform(6, 10)


def simulate(plan: ImagePlan, scene: Scene, random_state: int) -> NDArray[np.float32]:
    """Simulate one clean map (nx, ny, nz) on the grid of the scene: 0 outside the brain, noise of variance 1 inside."""
    rng = np.random.default_rng([random_state, plan.id, 1])
    shared, fwhm_mm = draw_study(plan.study.id, scene, random_state)
    own = smooth_noise(scene, fwhm_mm, rng)
    field = NUISANCE * rng.uniform(0.5, 1.5) * shared + own[scene.mask]
    # Add networks one by one, because the last bits of a matrix product would depend on the number of threads.
    for name, weight in plan.weights.items():
        field += np.float32(SIGNAL * weight) * scene.networks[NETWORK_NAMES.index(name)]
    values = np.zeros(scene.shape, dtype=np.float32)
    values[scene.mask] = field
    return values


def make_image(plan: ImagePlan, scene: Scene, random_state: int) -> SimulatedImage:
    """Make the file, the record and the term file of an image."""
    source = plan.origin or plan
    rng = np.random.default_rng([random_state, plan.id, 2])
    dirt = DIRT[plan.dirt]
    data = simulate(source, scene, random_state) * np.float32(source.study.unit)
    volume = SimulatedVolume(
        data.astype(source.study.dtype if source.study.dtype == "float64" else np.float32), scene.affine
    )
    if source.study.background == "NaN":
        volume = _spoil("NaN background", volume, scene.mask)
    volume = _spoil(plan.dirt, volume, scene.mask)

    whole = compress(nifti_bytes(volume, dtype=_stored_type(source, volume), big_endian=source.study.big_endian))
    content = whole if dirt.file is None else dirt.file(whole)
    # Neurosynth reads the image from NeuroVault, so it cannot decode a missing or damaged file.
    weights = term_weights(volume.data, scene.mask, scene.networks, rng) if dirt.file is None else None
    known = describe_image(plan, rng) | {"file_size": len(whole)} | voxel_flags(volume.data, scene.mask)
    return SimulatedImage(
        content, image_record(plan.id, plan.study.id, known | dict(dirt.record)), _terms_text(plan, weights)
    )


def describe_image(plan: ImagePlan, rng: np.random.Generator) -> dict[str, Any]:
    """Return the fields that the uploader of an image fills in."""
    main = _network(next(iter(plan.weights)))
    condition, baseline = main.contrasts[plan.id % len(main.contrasts)]
    # A negative weight is a decrease, so the name is the opposite contrast.
    name = f"{condition} > {baseline}" if plan.weights[main.name] > 0 else f"{baseline} > {condition}"
    n_subjects = int(rng.integers(14, 120))
    filled: dict[str, Any] = {
        "name": name,
        "description": f"Simulated group map, n = {n_subjects}",
        "map_type": plan.study.map_type,
        "number_of_subjects": n_subjects if rng.random() < 0.6 else None,
        "cognitive_paradigm_cogatlas": main.paradigm if rng.random() < 0.9 else "None / Other",
        "cognitive_paradigm_cogatlas_id": None,
        "contrast_definition": name if rng.random() < 0.5 else None,
        "statistic_parameters": float(n_subjects - 1) if plan.study.map_type == "T map" else None,
        "smoothness_fwhm": 8.0 if rng.random() < 0.3 else None,
    }
    return filled | _CUSTOM_KEYS[plan.id % len(_CUSTOM_KEYS)]


def describe_study(study: Study, n_images: int) -> dict[str, Any]:
    """Build the collection record of a study."""
    known = {
        "name": study.name,
        "number_of_images": n_images,
        "description": "Simulated data: " + ", ".join(topic.replace("_", " ") for topic in study.topics) + ".",
        # The DOI prefix 10.5555 is reserved for examples.
        "DOI": f"10.5555/demo.{study.id}" if study.doi else None,
        "authors": "A. N. Example, B. Öztürk and C. O’Nobody" if study.doi else None,
        "journal_name": "Journal of Simulated Results" if study.doi else None,
        "doi_add_date": "2019-05-03T08:38:04.015516+02:00" if study.doi else None,
        "software_package": study.grid.split()[0] if study.grid[0].isalpha() else None,
        "coordinate_space": "mni",
        "type_of_design": "blocked" if study.id % 2 else "eventrelated",
    }
    return collection_record(study.id, known)


def write_archive(
    archive: Path, plans: list[ImagePlan], brain: SimulatedVolume, sd: NDArray[np.float32], random_state: int
) -> dict[int, str]:
    """Write collections, images and term files in the layout of nilearn's cache.

    Returns
    -------
    dict
        State of the term file by image id: ``known``, ``absent``, ``truncated`` or ``error answer``.
    """
    for study in STUDIES:
        own = [plan for plan in plans if plan.study is study]
        write_json(_collection_file(archive, study.id), describe_study(study, len(own)))
    # Most collections of the real archive are empty, like this temporary one.
    empty = collection_record(4300, {"name": "demo's temporary collection", "number_of_images": 0})
    write_json(_collection_file(archive, 4300), empty)

    terms = {}
    for plan, scene in progress(_with_scene(plans, brain, sd), total=len(plans), unit="image"):
        made = make_image(plan, scene, random_state)
        image_path = archive / image_file(plan.study.id, plan.id)
        write_json(image_path.with_name(f"image_{plan.id}_metadata.json"), made.record)
        if made.content is not None:
            _write_bytes(image_path, made.content)
        if made.terms is not None:
            _write_bytes(archive / terms_file(plan.study.id, plan.id), made.terms.encode())
        terms[plan.id] = "absent" if made.terms is None else plan.terms
    return terms


def network_rows() -> list[dict[str, Any]]:
    """Describe the planted networks, in the order of the volumes of networks.nii.gz."""
    return [
        {
            "network": network.name,
            "terms": ", ".join(network.terms),
            "related_terms": ", ".join(network.related),
            "foci_mni_mm": "; ".join(f"{x} {y} {z} ({height:+g})" for x, y, z, height, _ in network.foci),
            "source": network.source,
        }
        for network in NETWORKS
    ]


def image_rows(plans: list[ImagePlan], terms: dict[int, str]) -> list[dict[str, Any]]:
    """Describe each image: its planted networks, its fault and its expected fate."""
    return [
        {
            "image_id": plan.id,
            "collection_id": plan.study.id,
            "grid": (plan.origin or plan).study.grid,
            "background": (plan.origin or plan).study.background,
            "planted": ", ".join(f"{name}:{weight:+.2f}" for name, weight in plan.weights.items()),
            "dirt": plan.dirt,
            "terms": terms[plan.id],
            "copy_of": plan.origin.id if plan.origin else None,
            "expected_fate": DIRT[plan.dirt].fate,
        }
        for plan in plans
    ]


def main(
    archive: str, database: Sequence[str], networks_img: str, networks: str, images: str, *, random_state: int
) -> None:
    """Write the archive, the database of coordinates and the truth."""
    from nilearn.datasets import load_mni152_brain_mask

    template = load_mni152_brain_mask(resolution=2)
    brain = SimulatedVolume(np.asarray(template.dataobj, dtype=np.float32), template.affine)
    rendered = render_all(brain.data > 0, brain.affine)
    sd = rendered.std(axis=1)
    volumes = np.zeros((*brain.data.shape, len(NETWORKS)), dtype=np.float32)
    volumes[brain.data > 0] = (rendered / sd[:, None]).T
    _write_bytes(networks_img, compress(nifti_bytes(SimulatedVolume(volumes, brain.affine))))
    write_table(networks, network_rows())

    brain_mm = apply_affine(brain.affine, np.argwhere(brain.data > 0))
    write_database(DatabaseFiles(*database), simulate_database(brain_mm, random_state))

    plans = plan_archive(random_state)
    terms = write_archive(Path(archive), plans, brain, sd, random_state)
    write_table(images, image_rows(plans, terms))
    n_dirty = sum(DIRT[plan.dirt].fate != "used" for plan in plans)
    logging.info(
        "simulated %s in %s, on %s, with %s; %d must not be used, because of their voxels or their metadata",
        counted(len(plans), "image"),
        counted(len(STUDIES), "collection"),
        counted(len({study.grid for study in STUDIES}), "grid"),
        counted(len(NETWORKS), "planted network"),
        n_dirty,
    )


# Uploaders may add keys of their own, with values of any type, beside the built-in keys.
_CUSTOM_KEYS: tuple[dict[str, Any], ...] = (
    {},
    {"Sample": "control", "covariates": ["age", "sex"]},
    {},
    {"n runs": 4, "preregistered": True},
    {"model": {"type": "random effects", "p": 0.001}, "note": ""},
)


def _network(name: str) -> Network:
    return NETWORKS[NETWORK_NAMES.index(name)]


def _spoil(kind: str, volume: SimulatedVolume, mask: NDArray[np.bool_]) -> SimulatedVolume:
    change = DIRT[kind].voxels
    return volume if change is None else change(volume, mask)


def _stored_type(source: ImagePlan, volume: SimulatedVolume) -> str:
    """Return the type of the stored voxels: that of the study, or float if values are NaN or infinite."""
    return source.study.dtype if np.isfinite(volume.data).all() else str(volume.data.dtype)


def _terms_text(plan: ImagePlan, weights: dict[str, float] | None) -> str | None:
    if plan.terms == "absent" or weights is None:
        return None
    if plan.terms == "error answer":
        return json.dumps({"data": {"error": "An error occurred while decoding."}, "status": 404})
    text = json.dumps(terms_answer(plan.id, weights))
    return text[: len(text) // 3] if plan.terms == "truncated" else text


def _with_scene(
    plans: list[ImagePlan], brain: SimulatedVolume, sd: NDArray[np.float32]
) -> Iterator[tuple[ImagePlan, Scene]]:
    scenes: dict[str, Scene] = {}
    for plan in plans:
        grid = (plan.origin or plan).study.grid
        if grid not in scenes:
            scenes[grid] = make_scene(grid, brain, sd)
        yield plan, scenes[grid]


def _collection_file(archive: Path, collection_id: int) -> Path:
    return archive / "neurovault" / f"collection_{collection_id}" / "collection_metadata.json"


def _write_bytes(path: str | Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


if __name__ == "__main__":
    log_to(snakemake.log[0], snakemake.config["log_level"])
    main(**snakemake.input, **snakemake.output, **snakemake.params)
