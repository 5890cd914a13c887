"""Config texts in, checked settings out: layers over one another, all mistakes at once."""

from importlib import resources
from pathlib import Path
from typing import Any

import msgspec
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from rollguard.config.consistency import inconsistencies
from rollguard.config.document import LONGEST, Node, parse
from rollguard.config.errors import ConfigError, Mistake, near_match
from rollguard.config.explain import explain_all, keys_at
from rollguard.config.friction import contradictions
from rollguard.config.model import Settings


class Layer(msgspec.Struct, frozen=True):
    """One config text and the name by which mistakes call it.

    Parameters
    ----------
    text : str
        YAML; may be empty.
    name : str
        The file, as the operator knows it.
    skip : tuple of str
        Top-level keys that are not config: those of a case.yaml that the case itself reads.
    """

    text: str
    name: str
    skip: tuple[str, ...] = ()


def default_text() -> str:
    """Give the text of the shipped default, `config/default.yaml`."""
    return resources.files("rollguard.config").joinpath("default.yaml").read_text(encoding="utf-8")


def read_layer(path: Path) -> Layer:
    """Read a config file. The only place of this room that touches a disk, besides `default_text`.

    Raises
    ------
    ConfigError
        If there is no such file, it cannot be read, is too long, or is not UTF-8.
    """
    data = b""
    try:
        with path.open("rb") as file:
            data = file.read(4 * LONGEST + 4)
        return Layer(data.decode("utf-8-sig"), str(path))
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        mistake = Mistake(file=str(path), line=line, key="", problem=f"byte {error.start} is not UTF-8", expected="text in UTF-8")
    except (OSError, ValueError) as error:
        beside = sorted(each.name for each in path.parent.iterdir() if each.is_file()) if path.parent.is_dir() and not path.exists() else []
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        mistake = Mistake(file=str(path), line=0, key="", problem=f"cannot be read ({reason})", expected="a YAML file", near=near_match(path.name, beside))
    raise ConfigError([mistake]) from None


def load(text: str, *, name: str) -> Settings:
    """Read one whole config; what it leaves out has the default of its key.

    Parameters
    ----------
    text : str
        YAML.
    name : str
        The file's name, for the mistakes.

    Raises
    ------
    ConfigError
        With all mistakes found.

    Examples
    --------
    >>> settings = load(default_text(), name="default.yaml")
    >>> settings.bucket_ms, settings.metrics["errors"].against
    (10000, 'orders')
    >>> load("bukket: 10s", name="shop.yaml")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    rollguard.config.errors.ConfigError: shop.yaml:1: bukket: unknown key. Expected: environment, bucket, ... Did you mean 'bucket'?
    ...
    """
    return load_layers([Layer(text, name)])


def load_layers(layers: list[Layer]) -> Settings:
    r"""Read config texts, each over the ones before it.

    Mappings are merged key by key; a scalar or a list replaces what stood there, and null removes it (its default returns).

    Parameters
    ----------
    layers : list of Layer
        At least one; the first is usually the shipped default.

    Raises
    ------
    ConfigError
        With all mistakes found; each names the layer that holds the key.

    Examples
    --------
    >>> case = Layer("name: march\nbudget: {per: 7d}\n", "case.yaml", skip=("name",))
    >>> load_layers([Layer(default_text(), "default.yaml"), case]).budget
    Budget(false_pages=1.0, per_ms=604800000, per_change=0.001)
    """
    mistakes: list[Mistake] = []
    merged: Node | None = None
    readable = True
    for layer in layers:
        node, found = parse(layer.text, name=layer.name)
        mistakes.extend(found)
        if node is None:
            readable = False
            continue
        node = _without(node, layer.skip)
        if node.value is None:
            node = msgspec.structs.replace(node, value={})
        if not isinstance(node.value, dict):
            expected = f"a mapping, with the keys {', '.join(keys_at(()))}"
            mistakes.append(Mistake(file=layer.name, line=node.line, key="", problem="not a mapping", expected=expected))
            readable = False
            continue
        merged = node if merged is None else _merge(merged, node)
    if not readable or merged is None:
        raise ConfigError(mistakes)
    if not merged.value:
        mistakes.append(Mistake(file=merged.file, line=1, key="", problem="nothing stands in it", expected=f"some of the keys {', '.join(keys_at(()))}"))
        raise ConfigError(mistakes)
    settings, wrong = _check(merged)
    # A value that could not be read stands as 0 meanwhile; what the schema says to that would only confuse.
    unread = {(each.file, each.line, each.key) for each in mistakes}
    mistakes.extend(each for each in wrong if (each.file, each.line, each.key) not in unread)
    if mistakes:
        order = {layer.name: place for place, layer in reversed(list(enumerate(layers)))}
        raise ConfigError(sorted(dict.fromkeys(mistakes), key=lambda each: (order.get(each.file, 0), each.line)))
    return settings


def _without(node: Node, skip: tuple[str, ...]) -> Node:
    if not isinstance(node.value, dict):
        return node
    return msgspec.structs.replace(node, value={key: value for key, value in node.value.items() if key not in skip})


def _merge(lower: Node, upper: Node) -> Node:
    """Lay one value over another."""
    if not (isinstance(lower.value, dict) and isinstance(upper.value, dict)):
        return upper
    merged = dict(lower.value)
    for key, value in upper.value.items():
        if value.value is None and key in merged:
            del merged[key]
        else:
            merged[key] = _merge(merged[key], value) if key in merged else value
    return msgspec.structs.replace(upper, value=merged)


def _plain(node: Node) -> Any:
    """Give the value without its places; entries of mappings are sorted where their order has no meaning."""
    match node.value:
        case dict():
            # By name, so that neither the order of a file nor of layers reaches what is computed from settings.
            return {key: _plain(value) for key, value in sorted(node.value.items()) if value.value is not None}
        case list():
            return [_plain(each) for each in node.value]
        case _:
            return node.value


def _check(root: Node) -> tuple[Settings, list[Mistake]]:
    """Check values, then how they go together; values with mistakes are taken away for the second."""
    written = _plain(root)
    try:
        settings = Settings.model_validate(written)
        mistakes: list[Mistake] = []
        broken: set[str] = set()
    except ValidationError as error:
        details = error.errors(include_url=False)
        mistakes = explain_all(details, root)
        broken = _prune(written, details)
        settings = Settings.model_validate(written)
    mistakes.extend(inconsistencies(settings, root, broken=frozenset(broken)))
    if not {"respond", "services"} & broken:
        mistakes.extend(contradictions(settings, root))
    return settings, mistakes


def _prune(written: dict[str, Any], details: list[ErrorDetails]) -> set[str]:
    """Take away what has a mistake: an unknown key, the entry of a source, metric, service or place, else the top-level key; name the latter."""
    broken: set[str] = set()
    for detail in details:
        path = [str(part) for part in detail["loc"]]
        section = written.get(path[0])
        if detail["type"] == "extra_forbidden":
            _pop(written, path)
        elif path[0] in {"sources", "metrics", "services", "places"} and len(path) > 1 and isinstance(section, dict):
            section.pop(path[1], None)
        else:
            written.pop(path[0], None)
            broken.add(path[0])
    return broken


def _pop(written: dict[str, Any], path: list[str]) -> None:
    """Take away the key at a path, if what holds it is still there."""
    holder: Any = written
    for part in path[:-1]:
        # An entry of a list keeps its place there.
        holder = holder[int(part)] if isinstance(holder, list) else holder.get(part) if isinstance(holder, dict) else None
    if isinstance(holder, dict):
        holder.pop(path[-1], None)
