"""Source of names: labels and words from NeuroVault's own metadata.

Labels are the Cognitive Atlas paradigm and contrast, and the contrast definition. Words come from names and
descriptions. These fields may contain any text, so they are only split into words and never interpreted.
"""

import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from neurovault_ica.images.signs import SIGNS
from neurovault_ica.naming.evidence import (
    Found,
    Inputs,
    Pending,
    count_carriers,
    known_number,
    significance_columns,
)
from neurovault_ica.naming.label_fields import compare_within_fields, fields_of
from neurovault_ica.naming.names import Candidate
from neurovault_ica.statistics.p_values import LARGEST_P_CORRECTED
from neurovault_ica.statistics.permuted_collections import MIN_LABEL_COLLECTIONS, Significance
from neurovault_ica.types import Array, Row

LABEL_FIELDS = ("cognitive_paradigm_cogatlas", "cognitive_contrast_cogatlas", "contrast_definition")
TEXT_FIELDS = ("name", "description", "contrast_definition", "collection_name")
DEACTIVATION = SIGNS[1]
# Value of the column `field` for words.
WORDS_FIELD = "words"
MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|https?://\S+")
# A word consists of letters and digits, and may have hyphens: n-back, 2-back, v1.
WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
# Words with fewer letters, or more characters, are ignored, because most are abbreviations or codes.
MIN_LETTERS = 3
MAX_WORD_LENGTH = 40
# A copy of scikit-learn's English stop words (Glasgow Information Retrieval Group) of at least MIN_LETTERS letters.
# Importing scikit-learn takes 2 s, and nothing else in this rule needs it. A test compares the two lists.
ENGLISH_STOP_WORDS = frozenset(
    """
    about above across after afterwards again against all almost alone along already also although always among
    amongst amoungst amount and another any anyhow anyone anything anyway anywhere are around back became
    because become becomes becoming been before beforehand behind being below beside besides between beyond bill
    both bottom but call can cannot cant con could couldnt cry describe detail done down due during each eight
    either eleven else elsewhere empty enough etc even ever every everyone everything everywhere except few
    fifteen fifty fill find fire first five for former formerly forty found four from front full further get
    give had has hasnt have hence her here hereafter hereby herein hereupon hers herself him himself his how
    however hundred inc indeed interest into its itself keep last latter latterly least less ltd made many may
    meanwhile might mill mine more moreover most mostly move much must myself name namely neither never
    nevertheless next nine nobody none noone nor not nothing now nowhere off often once one only onto other
    others otherwise our ours ourselves out over own part per perhaps please put rather same see seem seemed
    seeming seems serious several she should show side since sincere six sixty some somehow someone something
    sometime sometimes somewhere still such system take ten than that the their them themselves then thence
    there thereafter thereby therefore therein thereupon these they thick thin third this those though three
    through throughout thru thus together too top toward towards twelve twenty two under until upon very via was
    well were what whatever when whence whenever where whereafter whereas whereby wherein whereupon wherever
    whether which while whither who whoever whole whom whose why will with within without would yet you your
    yours yourself yourselves
    """.split()  # noqa: SIM905
)
# Words about how a map was made, not about what participants did. They say nothing about a component.
STOP_WORDS = ENGLISH_STOP_WORDS | set(
    """
    activation activations activity adult adults analyse analyses analysis analyze analyzed article atlas author
    authors available average averaged based baseline beta betas bold brain change changes cluster clusters cohort
    collection compared comparison condition conditions conducted contain contains contrast contrasts controls
    corrected correction correlated correlation covariate covariates current data dataset datasets deactivation
    decrease derived description descriptions difference differences downloaded effect effects estimate estimates
    experiment experiments fdr fig figure file files fixed fmri fsl functional fwe generated glm group group-level
    groups healthy higher human humans image images imaging included including increase individual investigate
    investigated level lower magnetic main manuscript map maps mask masked mean meta-analysis mixed mni model models
    mri neural neuroimaging neurovault nifti nii obtained ones online package paper parameter parametric participant
    participants peak performed pipeline preprint preprocessed preprocessing present previous project provided
    published random regression regressor related reported resonance response responses result results sample script
    scripts second-level session sessions show showing shown significant size sizes smoothed software spm stat
    statistic statistical statistics stats studies study subject subjects supplemental supplementary table task
    tasks template test tests threshold thresholded toolbox trial trials uncorrected univariate univariate-beta
    unthresholded used using value values variance versus volume voxel voxels vs whole whole-brain zmap zstat
    """.split()  # noqa: SIM905
)

# Words about licenses, repositories and files, which descriptions of collections name.
PUBLICATION_WORDS = frozenset(
    """
    apache api archive archived arxiv biorxiv bitbucket bsd cite cited citation code com commit copyright
    creativecommons csv dataverse doi dryad dropbox edu email figshare folder ftp git github gitlab gnu gpl gui html
    http https jpeg json lgpl licence licences license licensed licenses link links master matlab meta metadata mit
    mpl neurosynth nidm online-only open-source openfmri openneuro org osf pdf php png preregistered preregistration
    public-domain pubmed python readme release releases repo repos repositories repository svn tar terms testdata
    toolboxes txt uploaded upload url urls version versions website wiki www xml yaml zenodo zip
    """.split()  # noqa: SIM905
)
# Words for licenses and versions, such as gpl-3, cc-by-nc-sa-4 and bsd-3-clause.
LICENSE = re.compile(r"(?:cc-(?:by|zero|0)|a?gpl|lgpl|bsd|mit|apache|mpl|version|ver|release)(?:-\w+)*")


class Enrichment(NamedTuple):
    """Labels and words of the images, and the test of their association with the loadings."""

    sides: list[Row]  # component, and sign if signs are split, of each column of `loadings`
    loadings: Array  # (n_images, n_sides)
    collections: list[str]  # of the images
    labels: list[tuple[str, str]]  # field, label
    has_label: npt.NDArray[np.float32]  # (n_images, n_labels), see `label_matrix`
    significance: Significance | None


def find_labels(inputs: Inputs) -> Found | Pending:
    """Find labels and words whose images load higher on a component than the other images."""
    enrichment = enrich(
        inputs.metadata,
        inputs.collections,
        inputs.loadings,
        inputs.components,
        n_permutations=inputs.n_permutations,
        random_state=inputs.random_state,
        split=inputs.is_split,
    )
    if enrichment.significance is None:
        return _found(enrichment, None)
    # Imported here because scipy takes longer than all sources of names without tests.
    from neurovault_ica.naming.label_test import label_test, products_with_images

    products = products_with_images(inputs)
    test = label_test(
        enrichment.significance.r_images,
        enrichment.has_label,
        enrichment.collections,
        fields_of(enrichment.labels, enrichment.has_label),
        products,
    )
    return Pending(test, partial(_found, enrichment))


def _found(enrichment: Enrichment, p: Array | None) -> Found:
    """Make the table and the candidates, given the p values of `label_test` for all components."""
    # Sides are sorted by sign, then by component.
    corrected = None if p is None else np.concatenate(np.swapaxes(p, 0, 1))
    table = tabulate_labels(enrichment, corrected)
    candidates = [
        Candidate(
            row["component"],
            label_with_sign(row),
            row["difference"],
            row["q"],
            # A task that deactivates a network does not describe its function, so such labels give no name.
            may_name=row.get("sign") != DEACTIVATION
            and (row["p_corrected"] is None or row["p_corrected"] <= LARGEST_P_CORRECTED),
        )
        for row in table
        if row["difference"] > 0
    ]
    return Found(candidates, table)


def label_with_sign(row: Row) -> str:
    """Return the label of a row of desc-ICA_enrichment.tsv, such as ``deactivation in n-back``."""
    return f"{DEACTIVATION} in {row['label']}" if row.get("sign") == DEACTIVATION else row["label"]


@cache
def words_of(text: str) -> frozenset[str]:
    """Split a text into lower-case words, without markup, addresses, numbers, codes and stop words."""
    plain = unicodedata.normalize("NFKC", MARKUP.sub(" ", html.unescape(text))).casefold()
    return frozenset(word for word in WORD.findall(plain) if _is_informative(word))


def _is_informative(word: str) -> bool:
    """Return whether a word is no stop word, license, number, code (zstat1) or abbreviation of one or two letters."""
    if word in STOP_WORDS or word in PUBLICATION_WORDS or LICENSE.fullmatch(word):
        return False
    if len(word) > MAX_WORD_LENGTH or sum(sign.isalpha() for sign in word) < MIN_LETTERS:
        return False
    return all(part.isalpha() or part.isdigit() for part in word.split("-"))


def label_matrix(
    images: Sequence[Row], collections: Mapping[Any, Row]
) -> tuple[list[tuple[str, str]], npt.NDArray[np.float32]]:
    """Make a matrix of images and their labels or words.

    Labels of one or two collections are left out, because they describe only these studies. Labels that all images with
    the field have are left out, too, because they distinguish no images.

    Parameters
    ----------
    images : sequence of mappings
        Rows of fetch_metadata/images.tsv.
    collections : mapping of id to mapping
        Rows of fetch_metadata/collections.tsv by id. All images of a collection get the words of its description.

    Returns
    -------
    labels : list of (field, label)
        Sorted. The field of a word is ``words``.
    has_label : array of shape (n_images, n_labels)
        1 or 0; NaN if the image has no label in that field.
    """
    rows_of: dict[tuple[str, str], list[int]] = defaultdict(list)
    described: dict[str, list[int]] = defaultdict(list)
    for number, image in enumerate(images):
        labels = set(_labels_of(image, collections[image["collection_id"]]))
        for label in labels:
            rows_of[label].append(number)
        for field in {field for field, _ in labels}:
            described[field].append(number)
    known = {
        label: rows
        for label, rows in sorted(rows_of.items())
        if len({images[row]["collection_id"] for row in rows}) >= MIN_LABEL_COLLECTIONS
        and len(rows) < len(described[label[0]])
    }
    has_label = np.full((len(images), len(known)), np.nan, dtype=np.float32)
    for column, ((field, _), rows) in enumerate(known.items()):
        has_label[described[field], column] = 0
        has_label[rows, column] = 1
    return list(known), has_label


def _labels_of(image: Row, collection: Row) -> Iterator[tuple[str, str]]:
    """List the labels and words of an image as (field, label)."""
    for field in LABEL_FIELDS:
        if image[field]:
            yield field, str(image[field])
    texts = [*(image[field] for field in TEXT_FIELDS), collection["description"]]
    for word in frozenset().union(*(words_of(text) for text in texts if text)):
        yield WORDS_FIELD, word


def enrich(
    images: Sequence[Row],
    studies: Mapping[Any, Row],
    loadings: Array,
    components: list[str],
    *,
    n_permutations: int,
    random_state: int,
    split: bool = False,
) -> Enrichment:
    """Test for each label and word whether images with it have higher loadings than the other images.

    With split signs, the loadings of activation and of deactivation are tested separately.

    Parameters
    ----------
    images : sequence of mapping
        Rows of fetch_metadata/images.tsv, in the order of the loadings.
    studies : mapping of id to mapping
        Rows of fetch_metadata/collections.tsv by id.
    loadings : array of shape (n_images, n_components), or (2 * n_images, n_components) with split signs
    components : list of str
    n_permutations, random_state : int
    split : bool
    """
    labels, has_label = label_matrix(images, studies)
    sides: list[Row] = [{"component": component} for component in components]
    if split:
        loadings = np.hstack([loadings[place :: len(SIGNS)] for place in range(len(SIGNS))])
        sides = [{"component": component, "sign": sign} for sign in SIGNS for component in components]
    collections = [image["collection_id"] for image in images]
    significance = compare_within_fields(
        fields_of(labels, has_label),
        loadings,
        has_label,
        collections,
        n_permutations=n_permutations,
        random_state=random_state,
    )
    return Enrichment(sides, loadings, collections, labels, has_label, significance)


def tabulate_labels(enrichment: Enrichment, corrected: Array | None = None) -> list[Row]:
    """Make the rows of desc-ICA_enrichment.tsv, sorted by component and by decreasing difference.

    Parameters
    ----------
    enrichment : Enrichment
    corrected : array of shape (n_sides, n_labels), optional
        p corrected for choosing among all labels, from `label_test.label_test`.
    """
    sides, loadings, collections, labels, has_label, significance = enrichment
    counts = count_carriers(has_label == 1, collections)
    means, others = (_means_over((has_label == value).astype(np.float64), loadings) for value in (1, 0))
    rows = [
        side
        | {
            "field": field,
            "label": label,
            "mean_loading": means[number, column],
            "difference": means[number, column] - others[number, column],
        }
        | counts[column]
        | significance_columns(significance, number, column)
        | {"p_corrected": None if corrected is None else known_number(corrected[number, column])}
        for column, (field, label) in enumerate(labels)
        for number, side in enumerate(sides)
    ]
    return sorted(rows, key=lambda row: (row["component"], -row["difference"], row["field"], row["label"]))


def _means_over(chosen: Array, loadings: Array) -> Array:
    """Average the loadings over the images chosen for each label, shape (n_components, n_labels)."""
    return loadings.T @ (chosen / chosen.sum(axis=0))
