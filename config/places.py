"""What can be said of a place: its time zone, and whose public holidays it keeps. Names are checked here."""

from zoneinfo import ZoneInfo, available_timezones

from rollguard.config.errors import near_match, shown

__all__ = ["split_holidays", "wrong_holidays", "wrong_zone"]

#: Names of files that stand among the zones and mean another thing on every machine.
NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})


def wrong_zone(name: str) -> tuple[str, str, str | None] | None:
    """What is wrong with the name of a time zone: problem, what was expected, and the name that was probably meant.

    Examples
    --------
    >>> wrong_zone("Europe/Berlin") is None
    True
    >>> wrong_zone("Europe/Belrin")
    ("there is no time zone 'Europe/Belrin'", 'an IANA name, such as Europe/Berlin', 'Europe/Berlin')
    """
    try:
        if name not in NO_ZONES:
            ZoneInfo(name)
            return None
    except (ValueError, OSError, KeyError):
        pass  # a folder, a path that leads away, or nothing at all
    return f"there is no time zone {shown(name)}", "an IANA name, such as Europe/Berlin", near_match(name, available_timezones() - NO_ZONES)


def split_holidays(name: str) -> tuple[str, str | None]:
    """Country and subdivision of a name of holidays.

    Examples
    --------
    >>> split_holidays("DE-BY"), split_holidays("US")
    (('DE', 'BY'), ('US', None))
    """
    country, dash, part = name.partition("-")
    return country, part if dash else None


def wrong_holidays(name: str) -> tuple[str, str, str | None] | None:
    """What is wrong with the name of a country's or subdivision's holidays, as `wrong_zone`.

    Examples
    --------
    >>> wrong_holidays("DE-BY") is None
    True
    >>> wrong_holidays("de-by")
    ("no holidays are known of 'de-by'", 'a country, or one with its subdivision, such as US or DE-BY', 'DE-BY')
    """
    from holidays import list_supported_countries  # noqa: PLC0415 - 70 ms that only a config with holidays pays

    known = list_supported_countries()
    country, part = split_holidays(name)
    if country in known and (part is None or part in known[country]):
        return None
    parts = [f"{country}-{each}" for each in known.get(country, ())]
    words = parts or [*known, *(f"{each}-{of}" for each, subdivisions in known.items() for of in subdivisions)]
    listed = f"{country}, {', '.join(parts)}" if 0 < len(parts) <= 20 else "a country, or one with its subdivision, such as US or DE-BY"
    return f"no holidays are known of {shown(name)}", listed, near_match(name, words)
