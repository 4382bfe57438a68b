"""A small terminal: what a person sees of the bytes that the server sends."""

from unicodedata import category, east_asian_width


class Screen:
    """`rows`: what stands on each row, from the first on. A character that does not fit goes to the next row, as on
    every terminal. `bells`: how often it has sounded. `narrow`: newer emoji, and symbols that a selector makes one,
    take one cell instead of two."""

    def __init__(self, columns: int = 80, *, narrow: bool = False) -> None:
        self.rows = [""]
        self.bells = 0
        self._columns = columns
        self._narrow = narrow
        self._column = 0

    def shows(self, data: bytes) -> list[str]:
        """The rows on which these bytes appear. They end with a line end."""
        first = len(self.rows) - 1
        for char in data.decode():
            self._put(char)
        return self.rows[first:-1]

    def _put(self, char: str) -> None:
        if char == "\r":
            self._column = 0
            return
        if char == "\n":
            self.rows.append("")
            return
        if char == "\a":
            self.bells += 1
            return
        assert category(char) not in ("Cc", "Zl", "Zp")
        cells = self._cells(char)
        if self._column + cells > self._columns:
            self.rows.append("")
            self._column = 0
        self.rows[-1] += char
        self._column += cells

    def _cells(self, char: str) -> int:
        if char == "\ufe0f":
            return 0 if self._narrow else 1
        if category(char) in ("Mn", "Me"):
            return 0
        if category(char) == "Cf":
            return 0 if self._narrow else 1
        if east_asian_width(char) in "WF":
            return 2
        return 2 if not self._narrow and (char >= "\U0001f300" or category(char) == "Cn") else 1
