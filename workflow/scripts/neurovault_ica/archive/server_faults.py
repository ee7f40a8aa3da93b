"""Tell which errors of NeuroVault's server may be the fault of a single record."""

from neurovault_ica.net.answers import FetchError

# Number of tries for a page that fails with 500 or times out. More tries would only delay the halving.
TRIES_AT_500 = 2
# Reasons for which parts of a failed page may still be readable.
DIVISIBLE = {"server_error", "timeout", "bad_answer", "no_connection"}


def tries_of(error: FetchError) -> int | None:
    """Limit the tries of a page that is too slow or has a bad record. Other failures pass, so they are tried longer."""
    return TRIES_AT_500 if may_be_own_fault(error) else None


def may_be_own_fault(error: FetchError) -> bool:
    """Return whether a record itself may cause this error, so that more tries would not help."""
    return error.status == 500 or is_slow(error)


def is_slow(error: FetchError) -> bool:
    """Return whether the server took too long."""
    return error.status == 504 or error.reason == "timeout"


def may_be_one_record(error: FetchError) -> bool:
    """Return whether parts of a failed page may be readable."""
    return error.transient and error.status != 429 and error.reason in DIVISIBLE
