"""What the model computed for the beginnings of prompts, kept across calls and generations.

A radix tree over trunk segments: a child of a prompt pays only from its first changed segment. The
content of a segment is the model's affair; here it is a payload with a size. Segments are cut by
their own tokens (`trie.trunk_cuts`) and computed alone, so a segment from the store equals one
computed again to the bit, and nothing depends on what the store happens to hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from evoprompt.scoring.trie import Tokens


@dataclass(slots=True, eq=False)
class _Node:
    parent: _Node | None
    tokens: Tokens
    payload: Any
    num_bytes: int
    used: int
    children: dict[Tokens, _Node] = field(default_factory=dict)


class PrefixStore:
    """At most `limit_bytes` of payloads. What is over goes leaf first: the longest unused, and
    pinned prompts last.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.num_bytes = 0
        self._root = _Node(None, (), None, 0, 0)
        self._time = 0
        self._pinned: tuple[Tokens, ...] = ()

    def match(self, segments: Sequence[Tokens]) -> list[Any]:
        """Return the payloads of the first segments, as far as the store has them. What is matched
        is not evicted before the next match.
        """
        self._time += 1
        return [node.payload for node in self._walk(segments)]

    def add(self, segments: Sequence[Tokens], payload: Any, num_bytes: int) -> None:
        """Keep the payload of the last segment. Where the segments before it are not kept, or it
        can find no room, nothing happens.
        """
        path = list(self._walk(segments))
        if len(path) != len(segments) - 1:
            return
        parent = path[-1] if path else self._root
        parent.children[segments[-1]] = _Node(parent, segments[-1], payload, num_bytes, self._time)
        self.num_bytes += num_bytes
        while self.num_bytes > self.limit_bytes:
            self._evict()

    def pin(self, prompts: Sequence[Tokens]) -> None:
        """Prefer to keep what begins these prompts, and nothing that was pinned before."""
        self._pinned = tuple(prompts)

    def clear(self) -> None:
        """Forget everything but the pins."""
        self._root.children.clear()
        self.num_bytes = 0

    def _walk(self, segments: Sequence[Tokens]) -> Iterator[_Node]:
        node = self._root
        for segment in segments:
            if segment not in node.children:
                return
            node = node.children[segment]
            node.used = self._time
            yield node

    def _evict(self) -> None:
        """Drop one leaf: not of the current path while there is another, unpinned before pinned,
        the longest unused first.
        """
        pinned = set(map(id, self._pinned_nodes()))
        leaf = min(
            self._leaves(self._root), key=lambda n: (n.used == self._time, id(n) in pinned, n.used)
        )
        assert leaf.parent is not None
        del leaf.parent.children[leaf.tokens]
        self.num_bytes -= leaf.num_bytes

    def _leaves(self, node: _Node) -> Iterator[_Node]:
        for child in node.children.values():
            if child.children:
                yield from self._leaves(child)
            else:
                yield child

    def _pinned_nodes(self) -> Iterator[_Node]:
        for prompt in self._pinned:
            node: _Node | None = self._root
            start = 0
            while node is not None:
                node = next(
                    (
                        c
                        for c in node.children.values()
                        if prompt[start : start + len(c.tokens)] == c.tokens
                    ),
                    None,
                )
                if node is not None:
                    start += len(node.tokens)
                    yield node
