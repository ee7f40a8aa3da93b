"""Types of NeuroVault's metadata fields, to read values that people typed into a table."""

# Types as in NeuroVault's API. Only its web pages have the field `image_type`.
_FIELDS = {
    "image": {
        "integer": "file_size number_of_subjects",
        "number": """
            BMI age bis11_score bis_bas_score brain_coverage days_since_menstruation fat_percentage
            hours_since_last_meal mean_PDS_score perc_bad_voxels perc_voxels_outside smoothness_fwhm spsrq_score
            statistic_parameters waist_hip_ratio""",
        "boolean": "is_thresholded is_valid not_mni",
        "string": """
            add_date analysis_level cognitive_contrast_cogatlas cognitive_contrast_cogatlas_id
            cognitive_paradigm_cogatlas cognitive_paradigm_cogatlas_id cognitive_paradigm_description_url
            cognitive_paradigm_name cognitive_paradigm_short_description collection contrast_definition
            contrast_definition_cogatlas data data_origin description ethnicity figure file handedness image_type
            label_description_file map_type modality modify_date name nidm_results nidm_results_ttl race
            reduced_representation sex subject_species surface_left_file surface_right_file tanner_stage
            target_template_image terms thumbnail url""",
    },
    "collection": {
        "integer": """
            matrix_size number_of_experimental_units number_of_images number_of_imaging_runs
            number_of_rejected_subjects""",
        "number": """
            echo_time field_of_view field_strength flip_angle length_of_blocks length_of_runs proportion_male_subjects
            repetition_time resampled_voxel_size skip_distance slice_thickness smoothing_fwhm subject_age_max
            subject_age_mean subject_age_min target_resolution""",
        "boolean": """
            functional_coregistered_to_structural group_comparison group_repeated_measures optimization private
            used_b0_unwarping used_dispersion_derivatives used_high_pass_filter used_intersubject_registration
            used_motion_correction used_motion_regressors used_motion_susceptibiity_correction used_orthogonalization
            used_reaction_time_regressor used_slice_timing_correction used_smoothing used_temporal_derivatives""",
        "string": """
            DOI acquisition_orientation add_date authors autocorrelation_model b0_unwarping_software communities
            contributors coordinate_space description doi_add_date download_url full_dataset_url
            functional_coregistration_method group_description group_estimation_type group_inference_type
            group_model_multilevel group_model_type group_modeling_software group_repeated_measures_method handedness
            hemodynamic_response_function high_pass_filter_method inclusion_exclusion_criteria interpolation_method
            intersubject_registration_software intersubject_transformation_type intrasubject_estimation_type
            intrasubject_model_type intrasubject_modeling_software journal_name length_of_trials modify_date
            motion_correction_interpolation motion_correction_metric motion_correction_reference
            motion_correction_software name nonlinear_transform_type nutbrain_food_choice_type
            nutbrain_food_viewing_conditions nutbrain_hunger_state nutbrain_odor_conditions nutbrain_taste_conditions
            object_image_type optimization_method order_of_acquisition order_of_preprocessing_operations
            orthogonalization_description owner owner_name paper_url parallel_imaging preprint_DOI publication_status
            pulse_sequence quality_control scanner_make scanner_model slice_timing_correction_software smoothing_type
            software_package software_version target_template_image transform_similarity_metric type_of_design url""",
    },
}
_TYPES = {
    level: {field: kind for kind, fields in kinds.items() for field in fields.split()}
    for level, kinds in _FIELDS.items()
}


def type_of(column: str) -> str | None:
    """Return the type of a column: integer, number, boolean or string; None if it is no field of NeuroVault.

    Columns that begin with ``collection_`` are fields of the collection.
    """
    field = column.removeprefix("collection_")
    return _TYPES["image" if field == column else "collection"].get(field)
