"""Vocabularies: map the symbols of a text to integers and back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

_BYTES = 256
# Characters that an error message shows.
_SHOWN = 40


class Vocabulary:
    """Numbers symbols: characters in a fixed order, or the 256 bytes of UTF-8.

    Args:
        characters: the characters, each once; symbol i is `characters[i]`. None for bytes: every text can then be
            encoded, and bytes that are no UTF-8 are decoded as U+FFFD.

    Raises:
        ValueError: no character, or one twice.

    Example:
        >>> vocabulary = Vocabulary.of("hello")
        >>> vocabulary.characters, vocabulary.encode("hole").tolist()
        ('ehlo', [1, 3, 2, 0])
        >>> vocabulary.decode([1, 0, 2, 2, 3])
        'hello'
        >>> Vocabulary().encode("é").tolist()
        [195, 169]
    """

    def __init__(self, characters: str | None = None):
        if characters is not None:
            if not isinstance(characters, str) or not characters:
                raise ValueError(f"characters must be a string of at least one character, or None, got {characters!r}")
            if len(set(characters)) != len(characters):
                twice = next(symbol for symbol in characters if characters.count(symbol) > 1)
                raise ValueError(f"characters must hold every character once, {_name(twice)} is there twice")
        self.characters = characters
        self._numbers = {symbol: i for i, symbol in enumerate(characters or "")}

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """Returns the vocabulary of all characters of a text, sorted by code point."""
        return cls("".join(sorted(set(text))))

    @classmethod
    def of_model(cls, characters: str | None, levels: int | None) -> Vocabulary | None:
        """Returns the vocabulary of a model with `levels` symbols.

        Args:
            characters: the model's argument `vocabulary`; None with 256 levels stands for bytes.
            levels: of the model's head.

        Returns:
            The vocabulary, or None where the model's symbols are no text.

        Raises:
            ValueError: the number of characters is not that of the levels.
        """
        if characters is None:
            return cls() if levels == _BYTES else None
        if len(characters) != levels:
            raise ValueError(f"vocabulary must have one character for each of {levels} levels, got {len(characters)}")
        return cls(characters)

    @property
    def size(self) -> int:
        """Number of symbols."""
        return _BYTES if self.characters is None else len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """Encodes a text as symbols.

        Args:
            text: any string.

        Returns:
            int32 [number of characters, or of bytes].

        Raises:
            ValueError: a character is not in the vocabulary; it is named.
        """
        if not isinstance(text, str):
            raise ValueError(f"text must be a string, got {type(text).__name__}")
        if self.characters is None:
            return np.frombuffer(text.encode(), np.uint8).astype(np.int32)
        try:
            return np.fromiter((self._numbers[symbol] for symbol in text), np.int32, len(text))
        except KeyError as error:
            symbol = error.args[0]
            raise ValueError(
                f"text must hold characters of the vocabulary ({self.size} characters), got {_name(symbol)} at "
                f"position {text.index(symbol)}; the vocabulary is {_short(self.characters)}"
            ) from None

    def decode(self, symbols: Iterable[Any]) -> str:
        """Decodes symbols to a text.

        Args:
            symbols: integers [n], an array or any iterable.

        Returns:
            The text; where symbols are bytes, those that are no UTF-8 become U+FFFD.

        Raises:
            ValueError: a number is no symbol.
        """
        numbers = np.asarray(symbols if isinstance(symbols, Sequence | np.ndarray) else list(symbols))
        if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "iu"):
            raise ValueError(f"symbols must be integers of shape [n], got {numbers.dtype} of shape {numbers.shape}")
        if numbers.size and not 0 <= numbers.min() <= numbers.max() < self.size:
            bad = numbers.min() if numbers.min() < 0 else numbers.max()
            raise ValueError(f"symbols must lie in 0 .. {self.size - 1}, got {bad}")
        if self.characters is None:
            return numbers.astype(np.uint8).tobytes().decode(errors="replace")
        return "".join(self.characters[number] for number in numbers)

    def __len__(self) -> int:
        """Number of symbols."""
        return self.size

    def __eq__(self, other: object) -> bool:
        """Returns whether both number the same symbols alike."""
        return isinstance(other, Vocabulary) and self.characters == other.characters

    def __hash__(self) -> int:
        """Of the characters."""
        return hash(self.characters)

    def __repr__(self) -> str:
        """Returns the constructor call."""
        return f"Vocabulary({'' if self.characters is None else repr(self.characters)})"


def _name(symbol: str) -> str:
    return f"{symbol!r} (U+{ord(symbol):04X})"


def _short(characters: str) -> str:
    """Returns the first characters, printable or escaped, and how many more there are."""
    more = len(characters) - _SHOWN
    return repr(characters) if more <= 0 else f"{characters[:_SHOWN]!r} and {more} more"
