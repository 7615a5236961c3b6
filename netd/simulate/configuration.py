"""A configuration of the hierarchical kind, as a tree of lines."""

from collections.abc import Iterable, Sequence

CLOSERS = frozenset({"!", "#", "exit", "end", "return", "$", "quit"})


class Tree:
    """Lines in order, each with those below it."""

    def __init__(self) -> None:
        self.lines: dict[str, Tree] = {}

    @classmethod
    def parse(cls, text: str) -> "Tree":
        """By indentation; separators and closing words are left out."""
        root = cls()
        above: list[tuple[int, Tree]] = [(-1, root)]
        for line in text.splitlines():
            words = line.strip()
            if not words or words in CLOSERS or words.startswith(("!", "# ")):
                continue
            indent = len(line) - len(line.lstrip())
            while above[-1][0] >= indent:
                above.pop()
            above.append((indent, above[-1][1].lines.setdefault(words, cls())))
        return root

    def copy(self) -> "Tree":
        other = Tree()
        other.lines = {line: below.copy() for line, below in self.lines.items()}
        return other

    def at(self, path: Iterable[str]) -> "Tree":
        """The section; made if it is not there."""
        node = self
        for heading in path:
            node = node.lines.setdefault(heading, Tree())
        return node

    def put(self, path: Iterable[str], line: str, single: Sequence[str] = ()) -> bool:
        """Add a line; one that begins with a word of ``single`` replaces the one before. False if it was there."""
        lines = self.at(path).lines
        if line in lines:
            return False
        word = line.split()[0]
        if word in single:
            for other in [other for other in lines if other.split()[0] == word]:
                del lines[other]
        lines[line] = Tree()
        return True

    def drop(self, path: Iterable[str], line: str) -> bool:
        """Remove the line, or those that begin with these words; False if there are none."""
        lines = self.at(path).lines
        gone = [other for other in lines if other == line or other.startswith(f"{line} ")]
        for other in gone:
            del lines[other]
        return bool(gone)

    def find(self, path: Iterable[str], beginning: str) -> list[str]:
        """Lines of a section that begin so."""
        return [line for line in self.at(path).lines if line.startswith(beginning)]

    def render(self, separator: str = "!", closer: str | None = None, indent: str = " ") -> str:
        """As text: a separator after each line of the top that has others below it; ``closer`` ends such a section."""
        out: list[str] = []
        for line, below in self.lines.items():
            out.append(line)
            if below.lines:
                out += below._below(indent, closer, indent)
                out += [closer] if closer else []
                out.append(separator)
        return "\n".join(out)

    def _below(self, margin: str, closer: str | None, indent: str) -> list[str]:
        out: list[str] = []
        for line, below in self.lines.items():
            out.append(margin + line)
            if below.lines:
                out += below._below(margin + indent, closer, indent)
                out += [margin + closer] if closer else []
        return out
