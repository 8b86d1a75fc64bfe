"""What holds a secret shows nothing of it: not in a repr, not in a pickle, not in a copy."""

from __future__ import annotations

from typing import NoReturn, SupportsIndex


class Sealed:
    """Base of everything that holds a secret."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"

    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise TypeError(f"{type(self).__name__} holds a secret, and is neither pickled nor copied")
