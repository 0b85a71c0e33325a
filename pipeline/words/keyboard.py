# SPDX-License-Identifier: LGPL-2.1-or-later
"""Text as keys of a US keyboard, by QEMU's names for them (QKeyCode of its QAPI)."""

_PLAIN = {
    " ": "spc",
    "\n": "ret",
    "\t": "tab",
    "-": "minus",
    "=": "equal",
    "[": "bracket_left",
    "]": "bracket_right",
    "\\": "backslash",
    ";": "semicolon",
    "'": "apostrophe",
    "`": "grave_accent",
    ",": "comma",
    ".": "dot",
    "/": "slash",
}
_SHIFTED = dict(zip('_+{}|:"~<>?', "-=[]\\;'`,./", strict=True)) | dict(
    zip("!@#$%^&*()", "1234567890", strict=True)
)


def keys_of(text: str) -> tuple[str, ...]:
    """List the keys and chords that type a text; raises ValueError for what has no key there."""
    return tuple(_chord(char) for char in text)


def _chord(char: str) -> str:
    if char.isascii() and char.isalpha():
        return char if char.islower() else f"shift-{char.lower()}"
    if char.isascii() and char.isdigit():
        return char
    if char in _SHIFTED:
        return f"shift-{_chord(_SHIFTED[char])}"
    if char not in _PLAIN:
        raise ValueError(f"a US keyboard has no key for {char!r}")
    return _PLAIN[char]
