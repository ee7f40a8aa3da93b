"""State the metadata criteria of collections and images in the methods section, as sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

from neurovault_ica.runtime.yaml_text import as_configured

# For each comparison: the words around its argument, and the word that joins the values of a list.
_COMPARED = {
    "not_equal": ("is not {}", ""),
    "greater_or_equal": ("is at least {}", ""),
    "greater_than": ("is more than {}", ""),
    "less_or_equal": ("is at most {}", ""),
    "less_than": ("is less than {}", ""),
    "is_in": ("is {}", "or"),
    "not_in": ("is not {}", "or"),
    "contains": ("contains {}", "and"),
    "not_contains": ("does not contain {}", "or"),
    "pattern": ("begins with the regular expression {}", ""),
}
# Longer lists of values, such as hundreds of ids, are counted; run.json has them.
_MOST_VALUES = 10


def criteria_sentences(choice: Mapping[str, Any]) -> str:
    """State the conditions of the section ``fetch_metadata`` in one sentence for collections and one for images.

    Parameters
    ----------
    choice : mapping
        The section ``fetch_metadata``.

    Returns
    -------
    str
        Sentences without the last full stop; ``There were no metadata criteria`` if nothing was configured.
    """
    found = {"collections": list(_of_collections(choice)), "images": list(_of_images(choice))}
    sentences = [f"Criteria of {what}: {'; '.join(criteria)}" for what, criteria in found.items() if criteria]
    return ". ".join(sentences) or "There were no metadata criteria"


def _of_collections(choice: Mapping[str, Any]) -> Iterator[str]:
    # If images are listed as well, an image needs to be in one of the two lists; see _of_images.
    if choice["collection_ids"] is not None and choice["image_ids"] is None:
        yield f"id is {_listed(choice['collection_ids'], 'or')}"
    yield from (_condition(key, term) for key, term in choice["collection_terms"].items())
    if choice["collection_filter"] is not None:
        yield f"accepted by the function {_value(choice['collection_filter'])}"


def _of_images(choice: Mapping[str, Any]) -> Iterator[str]:
    if choice["image_ids"] is not None:
        either = f"id is {_listed(choice['image_ids'], 'or')}"
        if choice["collection_ids"] is not None:
            either += f", or collection is {_listed(choice['collection_ids'], 'or')}"
        yield either
    yield from (_condition(key, term) for key, term in choice["image_terms"].items())
    if choice["exclude_words"]:
        yield f"name does not contain the word {_listed(choice['exclude_words'], 'or')}"
    if choice["min_subjects"] is not None:
        yield f"at least {_value(choice['min_subjects'])} subjects, where their number is known"
    if choice["image_filter"] is not None:
        yield f"accepted by the function {_value(choice['image_filter'])}"


def _condition(key: str, term: Any) -> str:
    """Write one condition: ``map type is Z map or T map``."""
    field = _value(key).replace("_", " ")
    if not isinstance(term, Mapping):
        return f"{field} is {_value(term)}"
    ((name, argument),) = term.items()
    if name in ("not_null", "is_null"):
        return f"{field} is {'given' if argument == (name == 'not_null') else 'not given'}"
    words, joint = _COMPARED[name]
    return f"{field} {words.format(_listed(argument, joint) if isinstance(argument, list) else _value(argument))}"


def _listed(values: list[Any], joint: str) -> str:
    """Join values as in a sentence, ``a, b or c``, or count them if there are many."""
    if len(values) > _MOST_VALUES:
        return f"one of {len(values):,} values in run.json" if joint == "or" else f"{len(values):,} values in run.json"
    words = [_value(value) for value in values]
    return f" {joint} ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))


def _value(value: Any) -> str:
    """Write a value on one line. Paragraphs of the methods text are separated by empty lines."""
    return " ".join((value if isinstance(value, str) else as_configured(value)).split())
