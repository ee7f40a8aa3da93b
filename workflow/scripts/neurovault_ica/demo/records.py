"""Make the metadata of the demo: records with all keys of NeuroVault's API, and Neurosynth's answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurovault_ica.demo.networks import GENERIC_TERMS, NETWORKS, NOISE_TERMS
from neurovault_ica.types import Record

# RFC 2606 reserves this top-level domain, so no link in a report leads to a real image.
SITE = "http://neurovault.invalid"
# Keys of a public collection in the order of the API.
_COLLECTION_KEYS = """
id url download_url owner contributors owner_name number_of_images name publication_status DOI preprint_DOI
authors paper_url journal_name description full_dataset_url private add_date modify_date doi_add_date
type_of_design number_of_imaging_runs number_of_experimental_units length_of_runs length_of_blocks
length_of_trials optimization optimization_method subject_age_mean subject_age_min subject_age_max handedness
proportion_male_subjects inclusion_exclusion_criteria number_of_rejected_subjects group_comparison
group_description scanner_make scanner_model field_strength pulse_sequence parallel_imaging field_of_view
matrix_size slice_thickness skip_distance acquisition_orientation order_of_acquisition repetition_time echo_time
flip_angle software_package software_version order_of_preprocessing_operations quality_control used_b0_unwarping
b0_unwarping_software used_slice_timing_correction slice_timing_correction_software used_motion_correction
motion_correction_software motion_correction_reference motion_correction_metric motion_correction_interpolation
used_motion_susceptibiity_correction used_intersubject_registration intersubject_registration_software
intersubject_transformation_type nonlinear_transform_type transform_similarity_metric interpolation_method
object_image_type functional_coregistered_to_structural functional_coregistration_method coordinate_space
target_template_image target_resolution used_smoothing smoothing_type smoothing_fwhm resampled_voxel_size
intrasubject_model_type intrasubject_estimation_type intrasubject_modeling_software
hemodynamic_response_function used_temporal_derivatives used_dispersion_derivatives used_motion_regressors
used_reaction_time_regressor used_orthogonalization orthogonalization_description used_high_pass_filter
high_pass_filter_method autocorrelation_model group_model_type group_estimation_type group_modeling_software
group_inference_type group_model_multilevel group_repeated_measures group_repeated_measures_method
nutbrain_hunger_state nutbrain_food_viewing_conditions nutbrain_food_choice_type nutbrain_taste_conditions
nutbrain_odor_conditions communities
""".split()  # noqa: SIM905
# Keys of a statistic map in the order of the API.
_IMAGE_KEYS = """
url id file collection collection_id file_size cognitive_paradigm_cogatlas cognitive_paradigm_cogatlas_id
cognitive_contrast_cogatlas cognitive_contrast_cogatlas_id map_type analysis_level name description add_date
modify_date is_valid surface_left_file surface_right_file data_origin target_template_image subject_species
figure handedness age sex race ethnicity BMI fat_percentage waist_hip_ratio mean_PDS_score tanner_stage
days_since_menstruation hours_since_last_meal bis_bas_score spsrq_score bis11_score thumbnail
reduced_representation is_thresholded perc_bad_voxels not_mni brain_coverage perc_voxels_outside
number_of_subjects modality statistic_parameters smoothness_fwhm contrast_definition
contrast_definition_cogatlas cognitive_paradigm_description_url cognitive_paradigm_short_description
cognitive_paradigm_name image_type
""".split()  # noqa: SIM905
# Keys of a statistic map that NeuroVault's AtlasSerializer does not give for an atlas.
_NOT_IN_ATLAS = """
cognitive_paradigm_cogatlas cognitive_paradigm_cogatlas_id cognitive_contrast_cogatlas
cognitive_contrast_cogatlas_id map_type analysis_level is_thresholded perc_bad_voxels not_mni brain_coverage
perc_voxels_outside number_of_subjects modality statistic_parameters smoothness_fwhm contrast_definition
contrast_definition_cogatlas cognitive_paradigm_description_url cognitive_paradigm_short_description
cognitive_paradigm_name
""".split()  # noqa: SIM905


def collection_record(collection_id: int, known: Mapping[str, Any]) -> Record:
    """Build the record of a collection: all keys of the API, null for those not in `known`."""
    day = f"20{14 + collection_id % 10}-0{1 + collection_id % 9}-1{collection_id % 10}"
    return dict.fromkeys(_COLLECTION_KEYS) | {
        "id": collection_id,
        "url": f"{SITE}/collections/{collection_id}/",
        "download_url": f"{SITE}/collections/{collection_id}/download",
        "owner": 9000 + collection_id % 7,
        "owner_name": "demo",
        "contributors": "",
        "private": False,
        "add_date": f"{day}T10:21:00.123456+01:00",
        "modify_date": f"{day}T11:43:10.654321+01:00",
        "communities": [],
        "relative_path": f"collection_{collection_id}",
        **known,
    }


def image_record(image_id: int, collection_id: int, known: Mapping[str, Any]) -> Record:
    """Build the record of an image: all keys of its type, null for those not in `known`."""
    record = dict.fromkeys(_IMAGE_KEYS) | {
        "id": image_id,
        "url": f"{SITE}/images/{image_id}/",
        "file": f"{SITE}/media/images/{collection_id}/map_{image_id}.nii.gz",
        "collection": f"{SITE}/collections/{collection_id}/",
        "collection_id": collection_id,
        "description": "",
        "add_date": f"2016-01-21T18:{image_id % 60:02d}:33.834970+01:00",
        "modify_date": f"2018-06-30T06:08:{image_id % 60:02d}.136507+02:00",
        "is_valid": True,
        "data_origin": "volume",
        "target_template_image": "GenericMNI",
        "subject_species": "homo sapiens",
        "modality": "fMRI-BOLD",
        "analysis_level": "group",
        "image_type": "statistic_map",
        **known,
    }
    if record["image_type"] == "atlas":
        record = {key: value for key, value in record.items() if key not in _NOT_IN_ATLAS}
    return record


def voxel_flags(data: NDArray, mask: NDArray[np.bool_]) -> Record:
    """Compute the fields that NeuroVault derives from the voxels on upload; shares are in percent.

    As on the server, ``is_thresholded`` means that more than 85 % of all voxels are zero or not finite.

    Parameters
    ----------
    data : array of shape (nx, ny, nz) or (nx, ny, nz, n_volumes)
        Only the first volume is used.
    mask : bool array of shape (nx, ny, nz)
        Brain mask.
    """
    known = np.isfinite(data) & (data != 0)
    if known.shape[:3] != mask.shape:
        return {"is_thresholded": False, "not_mni": False}
    known = known[..., 0] if known.ndim == 4 else known
    bad = 100 * (1 - known.mean())
    coverage = 100 * known[mask].mean()
    outside = 100 * (known & ~mask).sum() / max(known.sum(), 1)
    return {
        "perc_bad_voxels": float(bad),
        "is_thresholded": bool(bad > 85),
        "brain_coverage": float(coverage),
        "perc_voxels_outside": float(outside),
        "not_mni": bool(coverage < 30 or outside > 20),
    }


def term_weights(volume: NDArray, mask: NDArray[np.bool_], networks: NDArray, rng: np.random.Generator) -> dict | None:
    """Simulate Neurosynth's term weights of an image, which are correlations of the image with the terms' maps.

    The weight of a network's own term is 0.71 to 0.95 times the correlation of the image with the network, plus noise.
    For a related term it is 0.35 times. Generic terms have high weights for every image, and noise terms have weights
    near zero.

    Parameters
    ----------
    volume : array of shape (nx, ny, nz) or (nx, ny, nz, 1)
    mask : bool array of shape (nx, ny, nz)
    networks : array of shape (n_networks, n_voxels)
        Networks in the voxels of the mask.
    rng : Generator

    Returns
    -------
    dict or None
        Weight of each term, rounded to three decimals; None for an image that Neurosynth cannot decode.
    """
    if volume.ndim == 4 and volume.shape[3] == 1:
        volume = volume[..., 0]
    if volume.shape != mask.shape:
        return None
    values = np.nan_to_num(volume[mask].astype(np.float32), posinf=0, neginf=0)
    if values.std() == 0:
        return None
    r = correlate_with_maps(values, networks)
    weights: dict[str, float] = {}
    for network, with_network in zip(NETWORKS, r, strict=True):
        for place, term in enumerate(network.terms):
            weights[term] = (0.95 - 0.08 * place) * with_network + rng.normal(0, 0.02)
        for term in network.related:
            # A term that is related to two networks gets a contribution from each.
            weights[term] = weights.get(term, rng.normal(0, 0.03)) + 0.35 * with_network
    for place, term in enumerate(GENERIC_TERMS):
        weights[term] = 0.38 - 0.01 * place + rng.normal(0, 0.04)
    for term in NOISE_TERMS:
        weights[term] = rng.normal(0, 0.04)
    return {term: round(float(weight), 3) for term, weight in sorted(weights.items())}


def correlate_with_maps(values: NDArray, maps: NDArray) -> NDArray[np.float64]:
    """Return Pearson's r (n_maps,) of an image (n_voxels,) with several maps (n_maps, n_voxels)."""
    centred = values - values.mean()
    maps = maps - maps.mean(axis=1, keepdims=True)
    return np.einsum("mv,v->m", maps, centred) / (np.linalg.norm(maps, axis=1) * np.linalg.norm(centred))


def terms_answer(image_id: int, weights: Mapping[str, float]) -> Record:
    """Return term weights in the form of neurosynth.org/api/decode's answer, which nilearn stores unchanged."""
    return {
        "data": {
            "id": f"nv-{image_id}",
            "url": f"{SITE}/images/{image_id}/",
            "neurovault_id": str(image_id),
            "comments": None,
            "image": f"{SITE}/media/images/map_{image_id}.nii.gz",
            "reference": "terms",
            "values": dict(weights),
        }
    }
