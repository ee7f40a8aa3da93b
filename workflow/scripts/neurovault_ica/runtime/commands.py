"""Write Snakemake commands for messages, with the options and configuration of a run, so that users can copy them.

Snakemake imports this module while it reads the Snakefile. So it may import only what Snakemake itself depends on.
"""

import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

# Options that every command in a folder needs: where the workflow is, and where and how its jobs run.
LASTING = re.compile(
    r"--(cores|jobs|snakefile|directory|profile|workflow-profile|executor|sdm|software-deployment-method)(=|$)|-[cjsde]"
)
# Every command needs these too; they have no value.
LASTING_FLAGS = {"--replace-workflow-config", "--use-conda", "--use-apptainer", "--use-singularity"}
# This option takes all words after it as its values.
SEVERAL = re.compile(r"--(sdm|software-deployment-method)$")
# Without a number, these options mean all cores. If a target follows, "all" must be written out.
CORES = {"--cores", "-c"}
# One of these says how many jobs may run at once. Without any of them, Snakemake refuses to run.
LIMITS_JOBS = re.compile(r"--(cores|jobs|profile|workflow-profile)(=|$)|-[cj]")
CONFIGURATION = re.compile(r"(--configfiles?|--config)(=|$)|-C")
DIRECTORY = re.compile(r"--directory(=|$)|-d")
# File in the folder of results. It records the archive of the results and the command of the last run.
MEMORY_FILE = "archive.json"
# Placeholder for the target in the recorded command of a run.
TARGET = "TARGET"


class Configuration(NamedTuple):
    """The configuration on a command line.

    Attributes
    ----------
    files : tuple of str
        Paths after ``--configfile``: relative if they are inside the working directory, otherwise absolute.
    settings : tuple of str
        Settings after ``--config``.
    """

    files: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()

    def options(self, start: str | None = ".") -> list[str]:
        """Return the options for a command that is typed in the folder `start`, with paths from `shortest_path`."""
        files = [shortest_path(file, start) for file in self.files]
        return [*(["--configfile", *files] if files else []), *(["--config", *self.settings] if self.settings else [])]


class Call(NamedTuple):
    """How the user called Snakemake.

    Attributes
    ----------
    arguments : sequence of str
        All arguments after the name of the program.
    start : str or None
        The folder in which the command was typed, which differs from the working directory if ``--directory`` was
        given. None if unknown.
    configuration : Configuration
    """

    arguments: Sequence[str]
    start: str | None
    configuration: Configuration

    def for_target(self, *target: str) -> str:
        """Write the command for another target, in the same folder and with the same configuration.

        The target is written before ``--configfile``. After it, Snakemake would read the target as one more file.
        """
        given = list(_options(self._split()[0]))
        lasting = [words for words in given if LASTING.match(words[0]) or words[0] in LASTING_FLAGS]
        # An option with several values comes first. Just before the target, it would read the target as one more value.
        lasting.sort(key=lambda words: not SEVERAL.match(words[0]))
        options = [word for words in lasting for word in _with_values(words)]
        if not any(map(LIMITS_JOBS.match, options)):
            options += ["--cores", "2"]
        return shlex.join(["snakemake", *options, *target, *self.configuration.options(self.start)])

    def with_configuration(self, configuration: Configuration) -> str:
        """Write the same command with another configuration."""
        options, targets = self._split()
        kept = _without(CONFIGURATION, options, n_values=None)
        return shlex.join(["snakemake", *kept, *configuration.options(self.start), *targets])

    def in_folder(self, folder: str, *more: str) -> str:
        """Write the same command with another working directory, and `more` options."""
        options, targets = self._split()
        kept = _without(DIRECTORY, options, n_values=1)
        return shlex.join(["snakemake", *kept, "--directory", folder, *more, *targets])

    def _split(self) -> tuple[Sequence[str], Sequence[str]]:
        """Split the arguments at ``--``, after which all words are targets."""
        place = self.arguments.index("--") if "--" in self.arguments else len(self.arguments)
        return self.arguments[:place], self.arguments[place:]


def describe_call(arguments: Sequence[str], settings: Any) -> Call:
    """Describe how the user called Snakemake, which has already changed to the working directory.

    Parameters
    ----------
    arguments : sequence of str
        The arguments after the name of the program.
    settings : snakemake.settings.types.ConfigSettings
    """
    files = tuple(shortest_path(file) for file in settings.configfiles)
    return Call(arguments, _find_start(arguments), Configuration(files, tuple(settings.config_args)))


def _find_start(arguments: Sequence[str]) -> str | None:
    """Find the folder in which a command was typed from its --directory, because Snakemake does not report it."""
    here = os.getcwd()  # noqa: PTH109
    given = [words for words in _options(arguments) if DIRECTORY.match(words[0])]
    if not given:
        return here
    folder = re.sub("^(--directory=?|-d)", "", " ".join(given[-1][:2])).strip()
    if Path(folder).is_absolute():
        return None
    for start in (os.environ.get("PWD", ""), here.removesuffix(os.path.join("/", folder))):  # noqa: PTH118
        if start and os.path.realpath(os.path.join(start, folder)) == os.path.realpath(here):  # noqa: PTH118
            return start
    return None


def command_for(target: str, results: str | Path) -> str:
    """Write the command for another target, with the options and configuration of the run in `results`.

    If the run recorded no command, return a plain one. This is the case for workflows that import this one, because
    they set the configuration themselves.
    """
    try:
        command = str(json.loads((Path(results) / MEMORY_FILE).read_text(encoding="utf-8"))["command"])
    except (OSError, ValueError, TypeError, KeyError):
        command = f"snakemake --cores 2 {TARGET}"
    return re.sub(rf"(?<!\S){TARGET}(?!\S)", lambda _: target, command, count=1)


def shortest_path(file: str | Path, start: str | None = ".") -> str:
    """Return the path of a file relative to `start` if the file is inside it; otherwise the absolute path."""
    path = os.path.abspath(file)  # noqa: PTH100 - Path.absolute keeps `..`
    if start is None:
        return path
    folder = os.path.abspath(start)  # noqa: PTH100
    return os.path.relpath(path, folder) if path.startswith(os.path.join(folder, "")) else path  # noqa: PTH118


def _without(option: re.Pattern[str], arguments: Sequence[str], *, n_values: int | None) -> list[str]:
    """Remove an option and the first `n_values` words after it; None: all of them. ``--option=value`` is one word."""
    kept: list[str] = []
    for words in _options(arguments):
        if not option.match(words[0]):
            kept += words
        elif _has_value(words[0]):
            kept += words[1:]
        elif n_values is not None:
            kept += words[1 + n_values :]
    return kept


def _with_values(words: Sequence[str]) -> Sequence[str]:
    """Return an option with its values, without any targets after them."""
    if _has_value(words[0]) or words[0] in LASTING_FLAGS:
        return words[:1]
    if SEVERAL.match(words[0]):
        return words
    return [words[0], "all"] if words[0] in CORES and len(words) == 1 else words[:2]


def _has_value(option: str) -> bool:
    """Return whether an option and its value are one word, such as --cores=2 and -c2."""
    return "=" in option or re.match(r"-[^-].", option) is not None


def _options(arguments: Sequence[str]) -> Iterator[list[str]]:
    """Split arguments into options, each with the words after it. Words before the first option form a group."""
    words: list[str] = []
    for word in arguments:
        if word.startswith("-") and words:
            yield words
            words = []
        words.append(word)
    if words:
        yield words
