"""Words that point to somebody, kept as keyed hashes: names, phones, addresses, identifiers of a source.

What has to be looked for in a finished dataset must not lie about in memory or in a file in clear text, so a set of 64
bit hashes under a random key stands for it. A chance meeting of two hashes happens once in some ten billion words.
"""

from __future__ import annotations

import re
import secrets
import unicodedata
from collections.abc import Iterable, Iterator
from hashlib import blake2b

SHORTEST = 4
_WORD = re.compile(r"[^\W_]+")
_PHONE = re.compile(r"\+?\d[\d ()./-]{5,24}\d")
_FEWEST_DIGITS = 7
_NATIONAL = 10
_MOST_WORDS = 8


def normal(text: str) -> list[str]:
    """The words of a text: without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    if not plain.isascii():
        plain = "".join(one for one in plain if not unicodedata.combining(one))
    return _WORD.findall(plain)


def numbers(text: str) -> Iterator[str]:
    """The digits of whatever looks like a phone number; of a long one also the last ten."""
    for found in _PHONE.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        if len(digits) >= _FEWEST_DIGITS:
            yield digits
            if len(digits) > _NATIONAL:
                yield digits[-_NATIONAL:]


class Tokens:
    """A set of words and phrases that can be asked, but not read. ``own`` are texts that the program itself writes:
    their words are no find, wherever they stand.
    """

    __slots__ = ("_found", "_key", "_own", "_words")

    def __init__(self, own: Iterable[str] = (), *, secret: bytes | None = None) -> None:
        self._key = secret if secret is not None else secrets.token_bytes(16)
        self._found: set[int] = set()
        self._words = 1
        self._own: set[str] = {word for text in own for word in normal(text)}

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Tokens({len(self._found)})"

    def merge(self, other: Tokens) -> None:
        """Look for what another set looks for as well; ``ValueError`` where it was made with another secret."""
        if other._key != self._key:
            raise ValueError("two sets of words are put together under one secret")
        self._found |= other._found
        self._words = max(self._words, other._words)
        self._own |= other._own

    def hash(self, text: str) -> int:
        """The keyed hash of a text, 63 bits."""
        digest = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big") >> 1

    def add_words(self, text: str) -> None:
        """Look for each word of the text that has four characters or more: of a name, of an identifier."""
        for word in normal(text):
            if len(word) >= SHORTEST:
                self._found.add(self.hash(word))

    def add_phrase(self, text: str) -> None:
        """Look for the words of the text one after the other: a line of an address, a city, an e-mail address."""
        words = normal(text)[:_MOST_WORDS]
        if sum(map(len, words)) >= SHORTEST:
            self._words = max(self._words, len(words))
            self._found.add(self.hash(" ".join(words)))

    def add_number(self, text: str) -> None:
        """Look for the digits of a phone or fax number, however it is written."""
        digits = re.sub(r"\D", "", text)
        if len(digits) >= _FEWEST_DIGITS:
            self._found.add(self.hash(digits))
            self._found.add(self.hash(digits[-_NATIONAL:]))

    def stands_in(self, text: str, *, shortest: int = SHORTEST) -> bool:
        """Whether any of what is looked for stands in the text."""
        if not self._found:
            return False
        words = normal(text)
        found, own = self._found, self._own
        for start, first in enumerate(words):
            phrase = first
            for count in range(min(self._words, len(words) - start)):
                if count:
                    phrase = f"{phrase} {words[start + count]}"
                if len(phrase) >= shortest and (count or first not in own) and self.hash(phrase) in found:
                    return True
        return any(self.hash(digits) in found for digits in numbers(text))
