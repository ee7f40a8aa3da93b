"""Turn the section ``fetch_metadata`` of the configuration into tests of collections and images."""

from collections.abc import Callable, Mapping
from typing import Any

from neurovault_ica.archive.conditions import compile_term, describe_term, load_function, word_pattern
from neurovault_ica.archive.doi import bare_doi
from neurovault_ica.images.map_types import as_known
from neurovault_ica.types import Record

# The name of a criterion in selection.tsv, and the function that tests a record.
Condition = tuple[str, Callable[[Record], bool]]


def collection_criteria(
    *, collection_terms: Mapping[str, Any], collection_filter: str | None, collection_ids: list[Any] | None
) -> list[Condition]:
    """List the tests that a collection must pass."""
    criteria: list[Condition] = []
    if collection_ids is not None:
        criteria.append(("collection_ids", _field_is_in("id", collection_ids)))
    criteria += [_term_criterion(key, term) for key, term in collection_terms.items()]
    if collection_filter is not None:
        criteria.append((f"collection_filter {collection_filter}", load_function(collection_filter)))
    return criteria


def image_criteria(
    *,
    image_terms: Mapping[str, Any],
    image_filter: str | None,
    image_ids: list[Any] | None,
    collection_ids: list[Any] | None,
    exclude_words: list[str],
    min_subjects: int | None,
) -> list[Condition]:
    """List the tests that an image must pass."""
    criteria: list[Condition] = []
    if image_ids is not None:
        of_image, of_collection = _field_is_in("id", image_ids), _field_is_in("collection_id", collection_ids or [])
        name = "image_ids" if collection_ids is None else "image_ids or collection_ids"
        criteria.append((name, lambda image: of_image(image) or of_collection(image)))
    criteria += [_term_criterion(key, term) for key, term in image_terms.items()]
    if exclude_words:
        pattern = word_pattern(exclude_words)
        criteria.append(
            (f"name without {', '.join(exclude_words)}", lambda image: not pattern.search(str(image.get("name") or "")))
        )
    if min_subjects is not None:
        criteria.append((f"number_of_subjects >= {min_subjects} where known", _has_subjects(min_subjects)))
    if image_filter is not None:
        criteria.append((f"image_filter {image_filter}", load_function(image_filter)))
    return criteria


def explicit_collections(
    collection_ids: list[Any] | None,
    image_ids: list[Any] | None,
    collection_terms: Mapping[str, Any],
    image_terms: Mapping[str, Any],
) -> list[Any] | None:
    """Return the ids of the collections that the configuration names; None if it names none.

    With `image_ids`, only `collection_ids` count, because the images may lie in any collection.
    """
    if collection_ids is not None or image_ids is not None:
        return collection_ids
    for term in (collection_terms.get("id"), image_terms.get("collection_id")):
        if type(term) is int:
            return [term]
        if isinstance(term, Mapping) and all(type(number) is int for number in term.get("is_in", [None])):
            return list(term["is_in"])
    return None


def to_integer(value: Any) -> int | None:
    """Convert a value to an integer; None if that fails."""
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _field_is_in(field: str, ids: list[Any]) -> Callable[[Record], bool]:
    # An id may be a number in the configuration and text in the archive.
    accepted = {str(number) for number in ids}
    return lambda record: str(record.get(field)) in accepted


def _term_criterion(key: str, term: Any) -> Condition:
    comparable = COMPARABLE.get(key)
    if comparable is not None:
        if not isinstance(term, Mapping):
            wanted: Any = comparable(term)
        elif term.keys() & {"is_in", "not_in"} and all(isinstance(values, list) for values in term.values()):
            wanted = {name: [comparable(value) for value in values] for name, values in term.items()}
        elif "not_equal" in term:
            wanted = {"not_equal": comparable(term["not_equal"])}
        else:
            # Patterns and substrings are compared with the field as the uploader typed it.
            wanted = None
        if wanted is not None:
            is_wanted = compile_term(key, wanted)
            return describe_term(key, term), lambda record: is_wanted(comparable(record.get(key)))
    if key in ("id", "collection_id"):
        # Ids are numbers in NeuroVault, and may be text in a table of own maps.
        is_meant = compile_term(key, _with_text_ids(term))
        return describe_term(key, term), lambda record: is_meant(_text_or_none(record.get(key)))
    holds = compile_term(key, term)
    return describe_term(key, term), lambda record: holds(record.get(key))


def _text_or_none(value: Any) -> str | None:
    return None if value is None else str(value)


def _with_text_ids(term: Any) -> Any:
    """Convert the ids in a condition to text. Comparisons such as greater_than keep their numbers."""
    if not isinstance(term, Mapping):
        return str(term)
    ((name, argument),) = term.items()
    if name in ("is_in", "not_in"):
        return {name: [str(number) for number in argument]}
    return {name: str(argument)} if name == "not_equal" else term


def _comparable_doi(value: Any) -> Any:
    """Make DOIs comparable. NeuroVault stores them as typed by the uploader, and their case does not matter."""
    return (bare_doi(value) or value.strip()).lower() if isinstance(value, str) else value


# Fields whose values can be written in several ways -> function that makes the values comparable.
COMPARABLE: Mapping[str, Callable[[Any], Any]] = {"DOI": _comparable_doi, "map_type": as_known}


def _has_subjects(minimum: int) -> Callable[[Record], bool]:
    def holds(image: Record) -> bool:
        subjects = to_integer(image.get("number_of_subjects"))
        # NeuroVault writes 0 for maps of NIDM packs, whose number of subjects it does not know.
        return not subjects or subjects >= minimum

    return holds
