"""Sentences and words for all reasons why an image is missing in the matrix.

Reasons of failed downloads come from the HTTP client (net), and from the checks of files and of the lock (archive). The
other reasons are those of images/rejections.py.
"""

from neurovault_ica.images.rejections import IMAGE_REASON_WORDS, IMAGE_REASONS

# Reason -> sentence of the report.
REASONS = {
    "missing_file": "The archive has no file for this image.",
    "damaged_file": "The file is not a complete gzipped NIfTI: it is truncated, its size differs from the one in the"
    " archive, or it is a web page saved under this name.",
    "other_format": "The file is intact, but has a format that is not read: a pair of .hdr and .img, .mgz, a surface,"
    " or a file compressed twice. rejected.tsv says what to do.",
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
    **IMAGE_REASONS,
}
# Reason -> words after a number of rejected images: 2 without a file. Other reasons are their own words.
REASON_WORDS = {
    **IMAGE_REASON_WORDS,
    "missing_file": "without a file",
    "damaged_file": "with a damaged file",
    "other_format": "in another file format",
    "not_found": "not found on the server",
    "refused": "with access denied",
    "server_error": "not downloaded because of server errors",
    "timeout": "not downloaded in time",
    "no_connection": "not downloaded because the connection was lost",
    "bad_address": "with an invalid address",
    "private_address": "with an address in a private network",
    "file_too_large": "with a file that is too large",
    "bad_answer": "with an unusable answer of the server",
    "changed": "changed since the lock was written",
}
