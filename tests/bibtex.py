"""A strict reader of BibTeX for tests."""

import re


def parse_bibtex(text):
    """Read entries as BibTeX does: ``@kind{key,`` and fields with balanced braces. Everything else is a comment."""
    entries, position = {}, 0
    while (start := text.find("@", position)) >= 0:
        head = re.compile(r"@(\w+)\{([^,\s{}]+),\s*").match(text, start)
        assert head, text[start : start + 40]
        fields, position = {}, head.end()
        while text[position] != "}":
            name = re.compile(r"(\w+)\s*=\s*\{").match(text, position)
            assert name, text[position : position + 40]
            depth, end = 1, name.end()
            while depth:
                depth += {"{": 1, "}": -1}.get(text[end], 0)
                end += 1
            fields[name.group(1)] = text[name.end() : end - 1]
            position = re.compile(r",?\s*").match(text, end).end()
        position += 1
        assert head.group(2) not in entries
        entries[head.group(2)] = (head.group(1), fields)
    return entries
