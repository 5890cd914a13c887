"""A case: a folder that anyone can hand over, with the events and changes around a past incident."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rollguard.config import ConfigError, Layer, Mistake, Node, RollguardError, Settings, default_text, load_layers, near_match, parse, read_layer
from rollguard.replay.reader import SUFFIXES, EventFile, Reader, stem_of

__all__ = ["Case", "CaseError", "case_folders", "open_case", "sizes_of"]

CASE_FILE = "case.yaml"
#: Keys of case.yaml that the case itself reads; all others are config.
OWN_KEYS = ("name", "start", "end")
DAY_MS = 86_400_000
#: A longer case is a mistyped year.
LONGEST_MS = 400 * DAY_MS
YEARS = (2000, 2100)


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

    def events(self) -> dict[str, list[Reader]]:
        """Readers of the event files, by source."""
        return {source: [EventFile(path)] for source, path in self.files.items()}

    def changes(self) -> Reader | None:
        """Reader of the change records."""
        return None if self.deploys is None else EventFile(self.deploys)


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
    folder = path.resolve().name
    name, start_ms, end_ms = folder, None, None
    mistakes: list[Mistake] = []
    own = path / CASE_FILE
    if own.exists() or own.is_symlink():
        layer = read_layer(own)
        name, start_ms, end_ms = _own_keys(layer, folder, mistakes)
        base.append(Layer(layer.text, layer.name, skip=OWN_KEYS))
    settings = _settings(base, mistakes)
    files, notes = {}, []
    for source in settings.sources:
        found = _file_of(path, source)
        if found is None:
            others = {stem_of(each): each.name for each in sorted(path.iterdir()) if each.is_file() and stem_of(each) not in settings.sources}
            near = near_match(source, others)
            hint = f" If {others[near]!r} is meant, rename it." if near else ""
            notes.append(
                f"{folder}: no file for source {source} ({source}.jsonl, .jsonl.gz, .jsonl.zst, .csv or .parquet): it counts as unknown, not as zero.{hint}"
            )
        else:
            files[source] = found
    if not files:
        expected = ", ".join(f"{source}.jsonl.gz" for source in settings.sources)
        raise CaseError(f"{path}: no event file of any source. Expected: {expected} (or .jsonl, .jsonl.zst, .csv, .parquet). Is it the right folder?")
    deploys = _file_of(path, settings.changes.source)
    if deploys is None:
        notes.append(f"{folder}: no {settings.changes.source}.jsonl: no change is known, so none can be blamed.")
    return Case(name, path, start_ms, end_ms, settings, files, deploys, tuple(notes))


def case_folders(root: Path) -> list[Path]:
    """Folders of the cases in a folder, by name.

    Raises
    ------
    CaseError
        If there are none; says so too of a folder that is itself a case.
    """
    if not root.is_dir():
        raise CaseError(f"{root}: {'not a folder' if root.exists() else 'no such folder'}. Expected: a folder of cases, one folder each.")
    if (root / CASE_FILE).exists():
        raise CaseError(f"{root}: this is a case itself. Expected: the folder in which it and others stand; did you mean '{root.resolve().parent}'?")
    found = sorted(each for each in root.iterdir() if each.is_dir() and not each.name.startswith("."))
    if not found:
        raise CaseError(f"{root}: no case in it. Expected: a folder for each case, with its event files in it.")
    return found


def sizes_of(folder: Path) -> list[tuple[str, int]]:
    """Name and bytes of each file of a case, sorted: another case of the same name has others, a copy has the same."""
    return sorted((each.name, each.stat().st_size) for each in folder.iterdir())


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path}: not a folder. Expected: the folder of a case, with event files such as orders.jsonl.gz in it."
    beside = sorted(each.name for each in path.parent.iterdir() if each.is_dir()) if path.parent.is_dir() else []
    near = near_match(path.name, beside)
    return f"{path}: no such folder. Expected: the folder of a case." + (f" Did you mean '{path.parent / near}'?" if near else "")


def _file_of(path: Path, source: str) -> Path | None:
    # A link to nothing is there: the reader says what is wrong with it.
    found = [each for suffix in SUFFIXES if (each := path / f"{source}{suffix}").exists() or each.is_symlink()]
    if len(found) > 1:
        raise CaseError(f"{path}: {' and '.join(each.name for each in found)} are both of source {source}. Expected: one of them; move the other away.")
    return found[0] if found else None


def _settings(layers: list[Layer], mistakes: list[Mistake]) -> Settings:
    """Settings, or all mistakes at once: those of the case's own keys, found before, and the config's."""
    try:
        settings = load_layers(layers)
    except ConfigError as error:
        own = layers[-1].name
        raise ConfigError(sorted([*error.mistakes, *mistakes], key=lambda each: (each.file == own, each.line if each.file == own else 0))) from None
    if mistakes:
        raise ConfigError(mistakes)
    return settings


def _own_keys(layer: Layer, folder: str, mistakes: list[Mistake]) -> tuple[str, int | None, int | None]:
    document, _ = parse(layer.text, name=layer.name)
    # What is wrong with the form is told with the rest of the config's mistakes.
    entries = document.value if document is not None and isinstance(document.value, dict) else {}
    name = entries["name"].value if "name" in entries and entries["name"].value is not None else folder
    if not isinstance(name, str) or not name.strip():
        mistakes.append(_mistake(entries["name"], "name", "not a text", "a name for the case"))
        name = folder
    start_ms, end_ms = (_time(entries.get(key), key, mistakes) for key in ("start", "end"))
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        mistakes.append(_mistake(entries["end"], "end", "not after `start`", "a later time"))
    elif start_ms is not None and end_ms is not None and end_ms - start_ms > LONGEST_MS:
        mistakes.append(_mistake(entries["end"], "end", f"more than {LONGEST_MS // DAY_MS} days after `start`", "the days around one incident"))
    return name, start_ms, end_ms


def _time(node: Node | None, key: str, mistakes: list[Mistake]) -> int | None:
    if node is None or node.value is None:
        return None
    expected = "RFC 3339 with an offset, such as 2026-03-02T00:00:00Z"
    if not isinstance(node.value, (str, int, float)):
        mistakes.append(_mistake(node, key, f"{'a mapping' if isinstance(node.value, dict) else 'a list'} is no time", expected))
        return None
    text = str(node.value)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        mistakes.append(_mistake(node, key, f"{text[:40]!r} is no time", expected))
        return None
    if moment.tzinfo is None:
        mistakes.append(_mistake(node, key, f"{text[:40]!r} has no time zone", expected))
        return None
    if not YEARS[0] <= moment.year < YEARS[1]:
        mistakes.append(_mistake(node, key, f"{text[:40]!r} is not between {YEARS[0]} and {YEARS[1]}", expected))
        return None
    return round(moment.timestamp() * 1000)


def _mistake(node: Node, key: str, problem: str, expected: str) -> Mistake:
    return Mistake(file=node.file, line=node.line, key=key, problem=problem, expected=expected)
