"""Where a key stands: the file and line that an operator opens to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rollguard.config import Layer, Node, default_text, parse, printable, read_layer

__all__ = ["Places", "written"]

SHIPPED = "config/default.yaml"


def written(path: Sequence[str], layers: Sequence[Layer]) -> tuple[str, int]:
    """File and line of a key, in the first layer that has it; line 0 of the first layer where none does."""
    for layer in layers:
        node: Node | None = parse(layer.text, name=layer.name)[0]
        for part in path:
            node = node.value.get(part) if node is not None and isinstance(node.value, dict) else None
        if node is not None:
            return node.file, node.line
    return layers[0].name, 0


class Places:
    """Finds keys in an operator's config, and in the shipped defaults behind it.

    Parameters
    ----------
    config : Path or None
        None: nothing but the defaults is in use.
    """

    def __init__(self, config: Path | None) -> None:
        self._layers = [*([] if config is None else [read_layer(config)]), Layer(default_text(), SHIPPED)]

    def of(self, *path: str) -> str:
        """Say where a key stands, as `shop.yaml:12: sources.orders.topic`.

        Examples
        --------
        >>> Places(None).of("kafka", "no_such_key")
        'config/default.yaml: kafka.no_such_key'
        """
        file, line = written(path, self._layers)
        return printable(f"{file}:{line}: {'.'.join(path)}" if line else f"{file}: {'.'.join(path)}")
