"""What a connection's splitter has found and nobody has taken yet. The edge of the data plane; pure."""

from collections import deque


class Ready:
    """Documents in their order; `size_bytes` is what they take."""

    def __init__(self) -> None:
        self._documents: deque[bytes] = deque()
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._documents)

    def add(self, document: bytes) -> None:
        """At the end."""
        self._documents.append(document)
        self.size_bytes += len(document)

    def take(self, most: int, most_bytes: int) -> list[bytes]:
        """The first ones: up to so many, and so many bytes unless one alone is larger."""
        taken: list[bytes] = []
        left_bytes = most_bytes
        while self._documents and len(taken) < most:
            left_bytes -= len(self._documents[0])
            if taken and left_bytes < 0:
                break
            taken.append(self._documents.popleft())
        self.size_bytes -= sum(map(len, taken))
        return taken
