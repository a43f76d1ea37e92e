"""A set that forgets nobody and may take a stranger for one of its own: what it surely has not, it never was given.

A Bloom filter (B. H. Bloom, "Space/Time Trade-offs in Hash Coding with Allowable Errors", CACM 13/7, 1970), its places
by double hashing (A. Kirsch and M. Mitzenmacher, "Less Hashing, Same Performance", ESA 2006). With ten bits for each
and seven places, one of a hundred strangers is taken for known; more, where it is given more than it was made for.
"""

from hashlib import blake2b

BITS_EACH = 10
PLACES = 7


class Bloom:
    """Texts, in a fixed number of bytes."""

    def __init__(self, expected: int) -> None:
        self._bits = max(64, expected * BITS_EACH)
        self._bytes = bytearray((self._bits + 7) // 8)

    @property
    def size_bytes(self) -> int:
        """How much memory it takes."""
        return len(self._bytes)

    def add(self, text: str) -> None:
        """It is in it from now on."""
        first, step = _hashes(text)
        for n in range(PLACES):
            bit = (first + n * step) % self._bits
            self._bytes[bit >> 3] |= 1 << (bit & 7)

    def __contains__(self, text: str) -> bool:
        """False: it was never added."""
        first, step = _hashes(text)
        for n in range(PLACES):
            bit = (first + n * step) % self._bits
            if not self._bytes[bit >> 3] >> (bit & 7) & 1:
                return False
        return True


def _hashes(text: str) -> tuple[int, int]:
    digest = blake2b(text.encode(), digest_size=16).digest()
    return int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big") | 1
