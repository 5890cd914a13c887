"""From a message to change records: what the config says where a field stands, else what the channel reads there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from rollguard.config import Mapped
from rollguard.incidents import ChangeRecord
from rollguard.service.intake.records import UnusableError
from rollguard.streams import Expression, NotFoundError

__all__ = ["FieldMap", "object_of", "place_of", "text_within", "within"]


class FieldMap:
    """The expressions of one key.

    Parameters
    ----------
    mapped : Mapped
    where : str
        What errors call it, as changes.http.github.shop.fields.
    """

    def __init__(self, mapped: Mapped, where: str) -> None:
        self._where = where
        self._found = {name: Expression(path) for name in Mapped.model_fields if (path := getattr(mapped, name)) is not None}

    def __contains__(self, name: str) -> bool:
        """Whether the config says where a field stands."""
        return name in self._found

    def records(self, message: Mapping[str, Any], usual: Mapping[str, Any]) -> list[ChangeRecord]:
        """Make the records of a change, one a region.

        Parameters
        ----------
        message : mapping
            What the expressions search.
        usual : mapping
            Fields as they are without expressions; None: not said.

        Raises
        ------
        UnusableError
            If a field is missing, or is none of its kind.
        """
        fields = {name: value for name, value in usual.items() if value is not None}
        for name, expression in self._found.items():
            try:
                value = expression.search(dict(message))
            except NotFoundError as error:
                raise UnusableError(f"{self._where}.{name}: {error}") from None
            if value is not None and value is not False and value != "":
                fields[name] = value
        regions = fields.pop("region", None)
        places = regions if isinstance(regions, list) and regions else [regions]
        try:
            return [msgspec.convert(fields | {"region": place}, ChangeRecord) for place in places]
        except msgspec.ValidationError as error:
            raise UnusableError(f"no change record: {error}. Expected: the fields of one, or where they stand in {self._where}") from None


def object_of(body: bytes, what: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises
    ------
    UnusableError
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError(f"{what}: {error}. Expected: a JSON object") from None


def within(found: object, *names: str) -> Any:
    """What stands at the end of a way through objects; None: nothing.

    Examples
    --------
    >>> within({"a": {"b": 1}}, "a", "b"), within({"a": "text"}, "a", "b")
    (1, None)
    """
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def text_within(found: object, *names: str) -> str | None:
    """The text at the end of a way through objects; None: none, or an empty one."""
    value = within(found, *names)
    return value if isinstance(value, str) and value else None


def place_of(name: str, environment: str) -> tuple[str, str | None]:
    """Environment and region that a name stands for; upper case makes no other environment.

    Examples
    --------
    >>> place_of("Production", "production"), place_of("production/eu-west", "production"), place_of("staging", "production")
    (('production', None), ('production', 'eu-west'), ('staging', None))
    """
    head, _, region = name.partition("/")
    if name.casefold() == environment.casefold():
        return environment, None
    if region and head.casefold() == environment.casefold():
        return environment, region
    return name, None
