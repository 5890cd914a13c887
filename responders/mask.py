"""Secrets, taken out of whatever is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

__all__ = ["Mask"]

#: A shorter part of a URL is a word, such as `services`, and no secret; a password is one however it was chosen.
_SHORTEST = 9
_SHORTEST_PASSWORD = 4


class Mask:
    """Takes secrets out of texts, also the parts of one that is a URL, since a receiver may say the path back.

    Parameters
    ----------
    secrets : str or None
        None stands for no secret.

    Examples
    --------
    >>> mask = Mask("https://hooks.example/services/T012345678/kq3vXo91")
    >>> mask("no such hook: /services/T012345678/KQ3vXo91?x")
    'no such hook: …?x'
    """

    def __init__(self, *secrets: str | None) -> None:
        pieces = {piece for secret in secrets if secret for piece in _pieces(secret)}
        longest_first = sorted(pieces, key=lambda piece: (-len(piece), piece))
        self._found = re.compile("|".join(re.escape(piece) for piece in longest_first), re.IGNORECASE) if pieces else None

    def __call__(self, text: str) -> str:
        """Give the text without them."""
        return text if self._found is None else self._found.sub("…", text)


def _pieces(secret: str) -> Iterator[str]:
    yield secret
    yield secret.removeprefix("whsec_") or secret
    if "://" not in secret:
        return
    scheme, _, rest = secret.partition("://")
    whole = urlsplit(f"//{rest}")
    if scheme in {"http", "https"}:
        # Whose host is in no way secret; in other URLs of Apprise a token may stand in its place.
        rest = rest.removeprefix(whole.netloc)
        if len(rest) >= _SHORTEST:
            yield rest
    userinfo = whole.netloc.rpartition("@")[0]
    parts = [(part, _SHORTEST) for part in re.split(r"[/?&=:@#,]", rest)] + [(part, _SHORTEST_PASSWORD) for part in (userinfo, userinfo.partition(":")[2])]
    for part, shortest in parts:
        for each in (part, unquote(part)):
            if len(each) >= shortest:
                yield each
