"""The map types of statistic maps, and how people write them.

To recognise another spelling, add it to `SPELLINGS`. Snakemake imports this module at each start, so it imports only
the standard library.
"""

import re
import unicodedata

# NeuroVault's map types and three of ours -> their spellings, as `_reduce` leaves them.
SPELLINGS = {
    "Z map": "z zstat zstats zstatistic zstatistics zscore zscores zvalue zvalues zval zfstat spmz zgstat statz",
    "T map": "t tstat tstats tstatistic tstatistics tscore tscores tvalue tvalues tval spmt studentt studentst statt",
    "F map": "f fstat fstats fstatistic fstatistics fscore fvalue fvalues fval spmf statf",
    "Chi squared map": "chi chisq chisquare chisquared χ χsquared x2",
    "P map (given null hypothesis)": "p pvalue pvalues pval pvals punc puncorr pfwe pfdr q qvalue qvalues qval fdr fwe"
    " probability statp",
    '1-P map ("inverted" probability)': "1p 1pvalue oneminusp 1minusp corrp pcorr invertedp invertedprobability",
    "univariate-beta map": "univariatebeta beta betas betaweight betaweights betacoefficient betaestimate β b cope con"
    " contrast contrastestimate parameterestimate pe effect effectestimate coefficient coefficients coef psc"
    " stateffect percentsignalchange percentchange signalchange",
    "multivariate-beta map": "multivariatebeta classifierweight classifierweights svmweights mvpaweights",
    "variance": "variance statvariance var varcope stderr standarderror se stdev standarddeviation sd sigmasquared"
    " resms",
    "ROI/mask": "roimask roi rois mask masks binarymask",
    "parcellation": "parcellation parcels atlas labels",
    "anatomical": "anatomical anatomy anat structural t1 t1w t2w",
    "Other": "other",
    "correlation map": "correlation correlations r rvalue pearson pearsonr spearman fisherz fisherzr fisherr2z rtoz zr"
    " connectivity",
    "effect size map": "effectsize cohend cohensd hedgesg hedgeg",
    "log P map": "logp log10p lnp logpvalue log10pvalue minuslog10p neglog10p",
}
TYPE_OF = {spelling: name for name, spellings in SPELLINGS.items() for spelling in spellings.split()}
# Words that do not change the type.
FILLERS = set(
    re.findall(
        r"\w+",
        """map maps image images img nii gz hdr group level statmap unthresholded thresholded thresh
        uncorrected raw wholebrain whole brain
        voxelwise statistical parametric test paired one two sample unpaired random mixed fixed the""",
    )
)


def known_type(map_type: str | None) -> str | None:
    """Return the map type that a text means, such as ``Z map`` for ``zstat1``, ``Z-map`` and ``z-score``.

    Parameters
    ----------
    map_type : str or None
        As NeuroVault or a person writes it. Case, spaces, signs, a number at the end and text in brackets do not
        matter.

    Returns
    -------
    str or None
        A key of `SPELLINGS`; None if the type is not known.
    """
    text = unicodedata.normalize("NFKC", map_type or "").casefold()
    # First with the text in brackets, then without: "SPM (T)" needs it, "P map (given null hypothesis)" does not.
    for part in (text, re.sub(r"\(.*", "", text)):
        words = [word for word in re.findall(r"[^\W_]+", part) if word not in FILLERS]
        for reduced in _reduce("".join(words)):
            if reduced in TYPE_OF:
                return TYPE_OF[reduced]
    return None


def _reduce(word: str) -> list[str]:
    """Return the spellings of a word to look up: as written, and without a final number, ``map`` or ``image``."""
    # The number of spmT_0001 is removed, but not that of t1, which means anatomical.
    unnumbered = re.sub(r"(?<=[^\W\d]{2})\d+$", "", word)
    numbered_chi = re.sub(r"(?<=^χ)2$", "", word)
    return [word, numbered_chi, unnumbered, re.sub(r"(maps?|images?|img)$", "", unnumbered)]


def as_known(value: object) -> object:
    """Return the known map type that a text means; any other value unchanged."""
    return (known_type(value) or value) if isinstance(value, str) else value
