"""Why an image could not be downloaded or found, as the report explains it.

The reasons come from the HTTP client (net) and from the checks of files and of the lock (archive).
"""

REASONS = {
    "missing_file": "The archive has no file for this image.",
    "damaged_file": "The file is not a complete gzipped NIfTI: it is truncated, its size differs from the one in the"
    " archive, or it is a web page saved under this name.",
    "other_format": "The file is intact, but has a format that is not read: a pair of .hdr and .img, .mgz, compressed"
    " twice. rejected.tsv says how to convert it.",
    "not_found": "The server does not have the file that the metadata name.",
    "refused": "The server denies access to the file.",
    "server_error": "The server answered each request with an error.",
    "timeout": "The server did not answer in time, or sent the file too slowly, at each attempt.",
    "no_connection": "The connection was lost at each attempt.",
    "bad_address": "The address of the file in the metadata is not valid, or leads nowhere.",
    "private_address": "The address leads into a private network, which is used only if the archive itself is there.",
    "file_too_large": "The server states more bytes than any image has.",
    "bad_answer": "The server sent something other than the file at each attempt.",
    "changed": "The file differs from the one in the lock of the earlier run.",
}
