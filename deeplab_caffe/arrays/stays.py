"""Objects with memory of the extension's or a GPU's, which no pickle holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex

if TYPE_CHECKING:
    from typing_extensions import Self


class Stays:
    """A base of objects that stay in the process that made them: pickle says so, and what to do instead."""

    instead: ClassVar[str]  # what to do instead, in the imperative

    def __copy__(self) -> Self:
        new = type(self).__new__(type(self))
        new.__dict__.update(self.__dict__)
        return new

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(f"{_public_name(self)} cannot be pickled or copied by copy.deepcopy: {self.instead}")


class StaysSharing(Stays):
    """A base of such objects whose memory does not change: their copies in the process share it."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(f"{_public_name(self)} cannot be pickled: {self.instead}")


def _public_name(one: object) -> str:
    """Return the name of an object's class; a private class computes for the public one of its name."""
    return type(one).__name__.removeprefix("_")
