"""Write the paragraph of the methods section on the images: their origin, selection, quality control and types."""

from collections.abc import Mapping
from typing import Any

from neurovault_ica.archive.archive import open_archive
from neurovault_ica.archive.download_reasons import REASON_WORDS
from neurovault_ica.record.bibliography import WORKS, cited
from neurovault_ica.record.criteria_text import criteria_sentences
from neurovault_ica.runtime.wording import counted, list_counts


def data_paragraph(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe the images, with the numbers of `facts.run_facts` and the configuration."""
    origin = open_archive(settings["archive"]).sentence.format_map({key: cited(key) for key in WORKS})
    limits = (settings["stack_images"]["quality"] or {}).values()
    screened = "" if any(limit is not None for limit in limits) else "No limits of image quality were set. "
    n_rejected = sum(facts["images_rejected"].values())
    reasons = list_counts(facts["images_rejected"], REASON_WORDS)
    quality = (
        f"{counted(n_rejected, 'image was', 'images were')} rejected ({reasons}). The file rejected.tsv lists each with"
        " its reason, measured value and limit"
        if n_rejected
        else "No image was rejected"
    )
    return (
        f"**Data.** The statistic maps {origin}. {_selection(facts, settings)}."
        f" {screened}{quality}. The analysis used {counted(facts['images_used'], 'image')} of"
        f" {counted(facts['collections_used'], 'collection')} (by map type: {list_map_types(facts['map_types'])};"
        f" at most {facts['largest_collection_images']} per collection)."
    )


def _selection(facts: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """Describe how the images were selected: from a lock, or by which criteria and up to which numbers."""
    choice = settings["fetch_metadata"]
    limit, most = choice["max_images_per_collection"], choice["max_images"]
    selected = f"{counted(facts['images_selected'], 'image')} of {counted(facts['collections_selected'], 'collection')}"
    if settings["archive"]["lock"] is not None:
        return f"The lock file of an earlier run gave the selection: {selected}"
    drawn = f"drawn at random (seed {choice['random_state']})"
    balance = (
        "without a limit on the number of images per collection"
        if limit is None
        else f"with at most {counted(limit, 'image')} per collection{{}} to limit the influence of single studies"
    )
    if most is not None and facts["images_selected"] >= most:
        return (
            f"Of the images that met the metadata criteria, {selected} were {drawn}, {balance.format('')}. Collections"
            f" were drawn one at a time until there were {counted(most, 'image')}. {criteria_sentences(choice)}"
        )
    return f"{selected} met the metadata criteria, {balance.format(f', {drawn}')}. {criteria_sentences(choice)}"


def list_map_types(counts: Mapping[str, int]) -> str:
    """List the number of maps of each type, largest first: ``59 Z maps, 3 T maps, 1 map of another type``."""
    return ", ".join(_maps_of(name, count) for name, count in sorted(counts.items(), key=lambda item: -item[1]))


def _maps_of(name: str, count: int) -> str:
    kind, is_map, rest = name.partition(" map")
    if is_map:
        return f"{counted(count, f'{kind} map')}{rest}"
    if name == "Other":
        return counted(count, "map of another type", "maps of other types")
    return counted(count, f"map of type {name}", f"maps of type {name}")
