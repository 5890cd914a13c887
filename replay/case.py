"""A case: a folder that anyone can hand over, with the events and changes around a past incident."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollguard.config import ConfigError, Layer, Mistake, Node, RollguardError, Settings, default_text, load_layers, near_match, parse, read_layer
from rollguard.replay.reader import SUFFIXES, stem_of

__all__ = ["Case", "CaseError", "open_case"]

CASE_FILE = "case.yaml"
#: Keys of case.yaml that the case itself reads; all others are config.
OWN_KEYS = ("name", "start", "end")


class CaseError(RollguardError):
    """A folder that is no case."""

    code = "case"


@dataclass(frozen=True, slots=True)
class Case:
    """A case, opened.

    Attributes
    ----------
    name : str
    path : Path
    start_ms, end_ms : int or None
        Span it speaks of, where it says so.
    settings : Settings
        Defaults, the operator's layers, and the case's own keys over them.
    files : dict of str to Path
        Event file of each source that has one.
    deploys : Path or None
        Change records.
    notes : tuple of str
        One line for each thing that is missing.
    """

    name: str
    path: Path
    start_ms: int | None
    end_ms: int | None
    settings: Settings
    files: dict[str, Path]
    deploys: Path | None
    notes: tuple[str, ...]


def open_case(path: Path, layers: Iterable[Layer] = ()) -> Case:
    """Open a case.

    Parameters
    ----------
    path : Path
        Its folder.
    layers : iterable of Layer
        Config between the defaults and the case's own case.yaml.

    Returns
    -------
    Case

    Raises
    ------
    CaseError
        If it is no folder, or has no event file.
    ConfigError
        If a config, or case.yaml, has mistakes.
    """
    if not path.is_dir():
        raise CaseError(_no_folder(path))
    base = [Layer(default_text(), "default.yaml"), *layers]
    name, start_ms, end_ms = path.name, None, None
    own = path / CASE_FILE
    if own.exists():
        layer = read_layer(own)
        name, start_ms, end_ms = _own_keys(layer, path.name)
        base.append(Layer(layer.text, layer.name, skip=OWN_KEYS))
    settings = load_layers(base)
    files, notes = {}, []
    for source in settings.sources:
        found = _file_of(path, source)
        if found is None:
            near = near_match(source, sorted({stem_of(each) for each in path.iterdir() if each.is_file()} - set(settings.sources)))
            hint = f" Did you mean to name {near!r} so?" if near else ""
            notes.append(
                f"{path.name}: no file for source {source} ({source}.jsonl, .jsonl.gz, .jsonl.zst, .csv or .parquet): it counts as unknown, not as zero.{hint}"
            )
        else:
            files[source] = found
    if not files:
        expected = ", ".join(f"{source}.jsonl.gz" for source in settings.sources)
        raise CaseError(f"{path}: no event file of any source. Expected: {expected} (or .jsonl, .jsonl.zst, .csv, .parquet). Is it the right folder?")
    deploys = _file_of(path, settings.changes.source)
    if deploys is None:
        notes.append(f"{path.name}: no {settings.changes.source}.jsonl: no change is known, so none can be blamed.")
    return Case(name, path, start_ms, end_ms, settings, files, deploys, tuple(notes))


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path}: not a folder. Expected: the folder of a case, with event files such as orders.jsonl.gz in it."
    beside = sorted(each.name for each in path.parent.iterdir() if each.is_dir()) if path.parent.is_dir() else []
    near = near_match(path.name, beside)
    return f"{path}: no such folder. Expected: the folder of a case." + (f" Did you mean '{path.parent / near}'?" if near else "")


def _file_of(path: Path, source: str) -> Path | None:
    found = [each for suffix in SUFFIXES if (each := path / f"{source}{suffix}").exists()]
    if len(found) > 1:
        raise CaseError(f"{path}: {' and '.join(each.name for each in found)} are both of source {source}. Expected: one of them; move the other away.")
    return found[0] if found else None


def _own_keys(layer: Layer, folder: str) -> tuple[str, int | None, int | None]:
    document, _ = parse(layer.text, name=layer.name)
    # What is wrong with the form is told with the rest of the config's mistakes.
    entries = document.value if document is not None and isinstance(document.value, dict) else {}
    mistakes: list[Mistake] = []
    name = entries["name"].value if "name" in entries else folder
    if not isinstance(name, str) or not name.strip():
        mistakes.append(_mistake(entries["name"], "name", "not a text", "a name for the case"))
        name = folder
    start_ms, end_ms = (_time(entries.get(key), key, mistakes) for key in ("start", "end"))
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        mistakes.append(_mistake(entries["end"], "end", "not after `start`", "a later time"))
    if mistakes:
        raise ConfigError(mistakes)
    return name, start_ms, end_ms


def _time(node: Node | None, key: str, mistakes: list[Mistake]) -> int | None:
    if node is None:
        return None
    expected = "RFC 3339 with an offset, such as 2026-03-02T00:00:00Z"
    text = str(node.value) if isinstance(node.value, (str, int, float)) else "this"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        mistakes.append(_mistake(node, key, f"{text[:40]!r} is no time", expected))
        return None
    if moment.tzinfo is None:
        mistakes.append(_mistake(node, key, f"{text[:40]!r} has no time zone", expected))
        return None
    return round(moment.timestamp() * 1000)


def _mistake(node: Node, key: str, problem: str, expected: str) -> Mistake:
    return Mistake(file=node.file, line=node.line, key=key, problem=problem, expected=expected)
