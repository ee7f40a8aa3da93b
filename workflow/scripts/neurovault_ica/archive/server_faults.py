"""Tell which errors of NeuroVault's server may be caused by a single record."""

from neurovault_ica.net.answers import FetchError

# Number of tries of a page that fails with status 500 or times out. After them, the page is halved.
TRIES_AT_500 = 2
# Reasons for which parts of a failed page may still be readable.
DIVISIBLE = {"server_error", "timeout", "bad_answer", "no_connection"}


def tries_of(error: FetchError) -> int | None:
    """Return the number of tries for an error that a record may cause; None for others, which are tried as usual."""
    return TRIES_AT_500 if may_be_own_fault(error) else None


def may_be_own_fault(error: FetchError) -> bool:
    """Return whether a record itself may cause this error. If so, more tries do not help."""
    return error.status == 500 or is_slow(error)


def is_slow(error: FetchError) -> bool:
    """Return whether the server took too long."""
    return error.status == 504 or error.reason == "timeout"


def may_be_one_record(error: FetchError) -> bool:
    """Return whether parts of a failed page may be readable."""
    return error.transient and error.status != 429 and error.reason in DIVISIBLE
