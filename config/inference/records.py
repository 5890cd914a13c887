"""What inference is given, and what it gives."""

from typing import Any

import msgspec

__all__ = ["SURE", "FieldGuess", "Given", "Inferred", "Sample", "SourceGuess"]

#: From here on a guess is used without a question.
SURE = 0.75


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """Some records of one topic or file.

    Attributes
    ----------
    name : str
        Of the topic, or of the file without its endings.
    records : list of dict
        Objects of JSON, or rows of a table with their empty cells left out.
    unread : int
        Records that are no object.
    file : str or None
        The file that it is from; None: a topic.
    """

    name: str
    records: list[dict[str, Any]]
    unread: int = 0
    file: str | None = None


class Given(msgspec.Struct, frozen=True, kw_only=True):
    """What a person has said, which no guess goes against.

    Attributes
    ----------
    topics : dict of str to str or None
        The sample of a role; None: there is none.
    fields : dict of (role, our name) to str
        Their field, as a name at the top of the record or a path.
    """

    topics: dict[str, str | None] = {}
    fields: dict[tuple[str, str], str] = {}


class FieldGuess(msgspec.Struct, frozen=True, kw_only=True):
    """Which of their fields one of ours is.

    Attributes
    ----------
    name : str
        Ours.
    theirs : str or None
        A key at the top of the record, or with `path` a JMESPath expression; None: not found.
    path : bool
    sure : float
        0..1; from `SURE` on it needs no question.
    why : str
        In words, for a comment; where nothing was found, what it may be.
    """

    name: str
    theirs: str | None
    path: bool = False
    sure: float = 0.0
    why: str = ""

    @property
    def doubtful(self) -> bool:
        """Whether a person has to look at it."""
        return self.theirs is None or self.sure < SURE


class SourceGuess(msgspec.Struct, frozen=True, kw_only=True):
    """What one source reads.

    Attributes
    ----------
    role : str
        orders, errors, deliveries.
    topic : str
    records : int
        That were looked at.
    sure : float
    why : str
    fields : tuple of FieldGuess
    epoch : {"ms", "s", "us", "ns"} or None
        Unit of the event time; None: it is text.
    form : str
        The form of the event time, in words.
    where : dict of str to list of str
        Which records of the topic are meant, by our name of a field.
    all_count : str
        What speaks against it that each record of a topic of errors is one, and what to do; "": nothing does.
    file : str or None
        The file that stood for the topic.
    """

    role: str
    topic: str
    records: int
    sure: float
    why: str
    fields: tuple[FieldGuess, ...] = ()
    epoch: str | None = None
    form: str = ""
    where: dict[str, list[str]] = {}
    all_count: str = ""
    file: str | None = None

    def field(self, name: str) -> FieldGuess:
        """The guess of one of our fields; one that found nothing where there is none."""
        return next((each for each in self.fields if each.name == name), FieldGuess(name=name, theirs=None))


class Inferred(msgspec.Struct, frozen=True, kw_only=True):
    """All that was inferred.

    Attributes
    ----------
    sources : dict of str to SourceGuess
        By role; one that was not found is not there.
    changes : SourceGuess or None
    environment : str or None
        That most changes are of; None: none says.
    environment_why : str
    unused : tuple of str
        Samples that have no role.
    """

    sources: dict[str, SourceGuess]
    changes: SourceGuess | None = None
    environment: str | None = None
    environment_why: str = ""
    unused: tuple[str, ...] = ()
