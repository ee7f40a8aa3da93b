"""Merge configuration files in their order, and fill in missing keys.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import codecs
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

Key = tuple[str, str]  # a section of the configuration, and a key in it
# libyaml's loader, if installed. PyYAML's own loader would add 50 ms per file to every start.
FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UniqueKeysLoader(FastLoader):  # type: ignore[misc]  # the base class depends on the machine
    """A YAML loader that refuses a key given twice. Other loaders keep the last value without a message."""

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Build a mapping; raise `yaml.YAMLError` at the second of two equal keys."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.value in seen and isinstance(key_node.value, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key_node.value} is set twice; keep one", key_node.start_mark
                )
            if isinstance(key_node.value, str):
                seen.add(key_node.value)
        return super().construct_mapping(node, deep)


def read_file(file: str | Path) -> dict[str, Any]:
    """Read a configuration file.

    Raises
    ------
    ValueError
        If the file cannot be read, is empty, is not in UTF-8, is not YAML, has a key twice, or is not a mapping of
        sections.
    """
    try:
        text = Path(file).read_bytes()
        # PyYAML would also read UTF-16, but Snakemake reads the file once more and would fail.
        text.decode("utf-8")
        content = yaml.load(text, Loader=UniqueKeysLoader)
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        is_utf16 = text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        found = ": the text is UTF-16" if is_utf16 else f", line {line}: the text is not UTF-8"
        raise ValueError(f"{file}{found}; save the file as UTF-8") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{file}{_explain(error, text)}") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}; give the path of a YAML file") from None
    if content is None:
        # Snakemake refuses such a file, but its message names the Snakefile.
        raise ValueError(f"{file}: no settings found; write a section such as `archive:`, or remove the file")
    if not isinstance(content, dict):
        raise ValueError(f"{file}: no sections found; a configuration is written as `section:` and its keys below it")
    return content


def _explain(error: yaml.YAMLError, text: bytes) -> str:
    """Describe an error of YAML with its line. Tabs get their own message, because YAML's does not name them."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
    if mark is None:
        return f": {' '.join(problem.split())}; save the file as UTF-8 text"
    # The parser reports a tab in its line or in the next one.
    lines = text.splitlines()[max(mark.line - 1, 0) : mark.line + 1]
    if any(line[: len(line) - len(line.lstrip())].count(b"\t") for line in lines):
        problem = "a line is indented with a tab; YAML accepts only spaces"
    elif problem.startswith("did not find expected"):
        # The parser reports a mistake where it cannot continue, which may be several lines below it.
        problem += "; here or some lines above, a colon, quote or bracket is missing, or the indentation is wrong"
    return f", line {mark.line + 1}: {problem}"


def read_layers(workflow_files: Sequence[str], settings: Any) -> list[Mapping[str, Any]]:
    """Read the layers that Snakemake merges into the configuration: files, and settings of the command line.

    Parameters
    ----------
    workflow_files : sequence of path
        The files that the workflow itself names: config.yaml, if it exists.
    settings : snakemake.settings.types.ConfigSettings
        The options ``--configfile``, ``--config`` and ``--replace-workflow-config``.

    Raises
    ------
    ValueError
        As for `read_file`.
    """
    own = [read_file(file) for file in workflow_files]
    kept = [] if settings.replace_workflow_config and (settings.configfiles or settings.config) else own
    return [*kept, *(read_file(file) for file in settings.configfiles), _typed(settings.config)]


def _typed(given: Any, *, is_inside: bool = False) -> Any:
    """Convert numbers and flags inside the values of ``--config``, which Snakemake leaves as text."""
    if isinstance(given, Mapping):
        return {key: _typed(value, is_inside=is_inside or isinstance(value, Mapping)) for key, value in given.items()}
    if isinstance(given, list):
        return [_typed(value, is_inside=True) for value in given]
    if not (is_inside and isinstance(given, str)):
        return given
    try:
        value = yaml.load(given, Loader=FastLoader)
    except yaml.YAMLError:
        return given
    return value if value is None or isinstance(value, bool | int | float) else given


def merge(config: dict[str, Any], layer: Mapping[str, Any]) -> None:
    """Merge a layer into a configuration key by key, in place, as Snakemake does."""
    for key, value in layer.items():
        if isinstance(value, Mapping) and isinstance(config.get(key), dict):
            merge(config[key], value)
        else:
            config[key] = dict(value) if isinstance(value, Mapping) else value


def lay_over(config: dict[str, Any], layers: Sequence[Mapping[str, Any]], keys: Iterable[Key]) -> None:
    """Give each of `keys` the whole value from the last layer that has it, in place.

    Parameters
    ----------
    config : dict
        The configuration, which Snakemake has merged key by key from all layers.
    layers : sequence of mapping
        The contents of config.yaml, of each file of ``--configfile``, and of ``--config``, in this order.
    keys : iterable of (section, key)
    """
    for section, key in keys:
        for layer in layers:
            given = layer.get(section)
            if isinstance(given, Mapping) and key in given and isinstance(config.get(section), dict):
                config[section][key] = given[key]


def expand_paths(config: dict[str, Any], keys: Iterable[Key]) -> None:
    """Replace a ``~`` at the beginning of the values of `keys` by the home folder, in place.

    Raises
    ------
    ValueError
        If the user or the home folder is unknown.
    """
    for section, key in keys:
        value = config[section].get(key) if isinstance(config.get(section), dict) else None
        if isinstance(value, str) and value.startswith("~"):
            try:
                config[section][key] = str(Path(value).expanduser())
            except RuntimeError as error:
                raise ValueError(f"{section}.{key}: {value}: {error}; write the path without ~") from None


def fill_in(given: Mapping[str, Any], defaults: Mapping[str, Any], whole: Collection[Key]) -> dict[str, Any]:
    """Return a copy of a configuration with missing keys filled in from the defaults, not below the keys `whole`."""
    return _fill_in(given, defaults, whole, place=())


def _fill_in(
    given: Mapping[str, Any], defaults: Mapping[str, Any], whole: Collection[Key], *, place: tuple[str, ...]
) -> dict[str, Any]:
    filled = {**defaults, **given}
    for key, value in given.items():
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping) and (*place, key) not in whole:
            filled[key] = _fill_in(value, default, whole, place=(*place, key))
    return filled
