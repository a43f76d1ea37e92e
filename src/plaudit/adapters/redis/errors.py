"""What each error of the driver means: the one place where they cross into Plaudit's words.

Everything Plaudit keeps in Redis is derived, and every write to it is idempotent. So there is one meaning: nothing is
known of what was asked, do it again, `Unavailable`.
"""

from glide import GlideError, RequestError

from plaudit.domain.errors import Unavailable

ERRORS = (GlideError,)
"""What the driver raises. All its own errors have this base; the rest are mistakes in how it is called."""

_NO_SCRIPT = "NoScriptError"


def failed(error: Exception) -> Unavailable:
    """What a failed call means."""
    return Unavailable(f"Redis did not answer as it should: {type(error).__name__}: {error}")


def no_script(error: object) -> bool:
    """Whether a node does not know the script it was to run; then it did nothing."""
    return isinstance(error, RequestError) and _NO_SCRIPT in str(error)
