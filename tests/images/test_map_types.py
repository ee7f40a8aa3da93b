"""Map types are recognised as people write them."""

import pytest
from neurovault_ica.images.map_types import SPELLINGS, TYPE_OF, as_known, known_type

WRITTEN = {
    "Z map": [
        "Z map", "Z-map", "zmap", "Z_map", "z", "zstat", "zstat1", "zstat1.nii.gz", "z-score", "Z scores",
        "z value", "z-statistic", "Z map (meta-analysis, specificity)", "unthresholded Z map", " Z ",
        "group-level z map", "Z statistic image", "z_stat", "ZMAPS", "zval",
        "stat-z_statmap", "stat-z", "thresh_zstat1", "thresholded Z map",
    ],
    "T map": [
        "T map", "T-map", "tmap", "tstat", "tstat2", "spmT", "spmT_0001", "spmT_0001.nii", "SPM{T}", "t-statistic", "t",
        "T values", "one-sample t-test", "paired t test", "T map (df = 23)", "Student's t", "t_stat",
        "stat-t_statmap.nii.gz",
    ],
    "F map": ["F map", "fstat1", "spmF_0002", "F-statistic", "SPM{F}"],
    "Chi squared map": ["Chi squared map", "chi2", "chi-square", "chi^2", "Chi-squared", "chisq", "χ²", "X2"],
    "P map (given null hypothesis)": ["P map (given null hypothesis)", "p", "p-value", "pval", "p map", "p values"],
    '1-P map ("inverted" probability)': ['1-P map ("inverted" probability)', "1-p", "corrp", "1-p map"],
    "univariate-beta map": [
        "univariate-beta map", "beta", "beta_0003", "betas", "cope1", "con_0001", "contrast estimate", "β", "beta map",
        "stat-effect_statmap",
        "parameter estimate", "percent signal change", "pe2",
    ],
    "multivariate-beta map": ["multivariate-beta map", "multivariate beta"],
    "variance": ["variance", "stat-variance", "varcope1", "var map", "standard error"],
    "ROI/mask": ["ROI/mask", "roi", "mask", "binary mask"],
    "parcellation": ["parcellation", "atlas"],
    "anatomical": ["anatomical", "T1", "T1w", "t1-map"],
    "Other": ["Other", "other"],
    "correlation map": ["correlation", "r", "r-map", "Pearson r", "Fisher z", "Fisher-Z map", "fisher r2z"],
    "effect size map": ["effect size", "Cohen's d", "Hedges' g"],
    "log P map": ["-log10(p)", "log10 p", "logp"],
}  # fmt: skip


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in WRITTEN.items() for text in texts])
def test_a_map_type_is_recognised(name, text):
    assert known_type(text) == name


@pytest.mark.parametrize(
    "text", [None, "", "  ", "map", "0001", "heat map", "accuracy", "Zebra", "total", "posterior", "z to t"]
)
def test_other_texts_are_not_known(text):
    assert known_type(text) is None


def test_every_type_is_listed_with_its_own_name_and_no_spelling_has_two_types():
    assert list(WRITTEN) == list(SPELLINGS)
    assert len(TYPE_OF) == sum(len(spellings.split()) for spellings in SPELLINGS.values())


def test_values_that_are_no_map_type_stay():
    assert [as_known(value) for value in ("zmap", "accuracy", None, 3)] == ["Z map", "accuracy", None, 3]
