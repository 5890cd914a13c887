"""What Kafka's client raises, told in one line: where, what is wrong, what was expected, what to do, and whether waiting can help."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import aiokafka.errors as theirs
import msgspec

from rollguard.config import RollguardError, printable

__all__ = ["CLIENT_ERRORS", "KafkaError", "explained"]

#: All that a client may raise for a reason outside of this process.
CLIENT_ERRORS = (theirs.KafkaError, OSError, EOFError, TimeoutError)


class KafkaError(RollguardError):
    """Kafka did not do what was asked.

    Parameters
    ----------
    where : str
        As `broker 127.0.0.1:9092`, `topic orders`, `group rollguard.ingest`.
    problem : str
        What is wrong.
    expected : str
        What would have been right; may be empty.
    advice : str
        What to do.
    recoverable : bool
        Whether waiting alone may mend it; else somebody has to.
    """

    code = "kafka"

    def __init__(self, *, where: str, problem: str, expected: str = "", advice: str = "", recoverable: bool = False) -> None:
        self.where = where
        self.problem = problem
        self.expected = expected
        self.advice = advice
        self.recoverable = recoverable
        text = f"{where}: {problem}."
        if expected:
            text += f" Expected: {expected}."
        if advice:
            text += f" {advice[0].upper()}{advice[1:]}."
        super().__init__(printable(text))


class _Meaning(msgspec.Struct, frozen=True):
    problem: str
    expected: str = ""
    advice: str = ""
    recoverable: bool = False


_LISTENER = "hold kafka.bootstrap_servers and kafka.security_protocol against the brokers' listeners"
_ALLOW = "add an ACL for this user with kafka-acls"
#: By class of aiokafka's, the more special first.
_MEANINGS: tuple[tuple[type[BaseException], _Meaning], ...] = (
    (
        theirs.SaslAuthenticationFailed,
        _Meaning("wrong user or password", "a user that the brokers know", "mend kafka.sasl_plain_username, or what kafka.sasl_plain_password points to"),
    ),
    (theirs.UnsupportedSaslMechanismError, _Meaning("this way to log in is not offered", "a kafka.sasl_mechanism that the brokers offer")),
    (theirs.IllegalSaslStateError, _Meaning("nobody logs in there", "a listener for SASL", _LISTENER)),
    (theirs.TopicAuthorizationFailedError, _Meaning("not allowed", "that the user may read it, and write what is Rollguard's own", _ALLOW)),
    (theirs.GroupAuthorizationFailedError, _Meaning("not allowed", "that the user may read this group", _ALLOW)),
    # What a producer with ids is refused whose user may write to no topic at all.
    (theirs.ClusterAuthorizationFailedError, _Meaning("not allowed", "that the user may write to Rollguard's own topics", _ALLOW)),
    (theirs.UnknownTopicOrPartitionError, _Meaning("there is no such topic", advice="create it, or mend its name in the config", recoverable=True)),
    (theirs.InvalidReplicationFactorError, _Meaning("fewer brokers than copies", "kafka.replication_factor, at most the number of brokers")),
    (theirs.MessageSizeTooLargeError, _Meaning("the record is too large", "a max.message.bytes of the topic that is large enough")),
    (theirs.NotEnoughReplicasError, _Meaning("too few copies are alive", "min.insync.replicas of them", "see to the brokers", recoverable=True)),
    (theirs.NodeNotReadyError, _Meaning("the broker does not answer where it says it is", "its advertised.listeners, reachable from here", recoverable=True)),
    (theirs.RequestTimedOutError, _Meaning("no answer in time", "an answer", "see to the broker", recoverable=True)),
    (theirs.KafkaTimeoutError, _Meaning("no answer in time", "an answer", "see to the broker", recoverable=True)),
    (
        ssl.SSLCertVerificationError,
        _Meaning("its certificate is not trusted", "one for this name, signed by kafka.ssl_context.cafile", "mend cafile, or the broker's certificate"),
    ),
    (ssl.SSLError, _Meaning("TLS failed", "a listener for TLS, and the certificate that it asks for (kafka.ssl_context.certfile)", _LISTENER)),
    (ConnectionRefusedError, _Meaning("nobody listens there", "a broker", "start it, or mend kafka.bootstrap_servers", recoverable=True)),
    (theirs.KafkaConnectionError, _Meaning("the connection was closed", "a broker with this security_protocol", _LISTENER, recoverable=True)),
    (EOFError, _Meaning("the connection was closed", "a broker with this security_protocol", _LISTENER, recoverable=True)),
    (ConnectionError, _Meaning("the connection was closed", "a broker with this security_protocol", _LISTENER, recoverable=True)),
    (TimeoutError, _Meaning("no answer in time", "a broker", "see to the broker and the network between", recoverable=True)),
    (OSError, _Meaning("no connection", "a broker", "mend kafka.bootstrap_servers, or the network", recoverable=True)),
)


def explained(error: BaseException, where: str) -> KafkaError:
    """Tell what a client raised.

    Parameters
    ----------
    error : BaseException
        One of `CLIENT_ERRORS`; a `KafkaError` of ours is given back.
    where : str
        What was spoken to; an error that names its topic or group says so itself.

    Returns
    -------
    KafkaError
        To be raised `from` the other.

    Examples
    --------
    >>> print(explained(ConnectionRefusedError(), "broker 10.0.0.7:9092"))
    broker 10.0.0.7:9092: nobody listens there. Expected: a broker. Start it, or mend kafka.bootstrap_servers.
    """
    if isinstance(error, KafkaError):
        return error
    chain = list(_chain(error))
    for kind, meaning in _MEANINGS:
        for each in chain:
            if isinstance(each, kind):
                said = _said(each)
                return KafkaError(
                    where=_named(each) or where,
                    problem=f"{meaning.problem} ({said})" if said else meaning.problem,
                    expected=meaning.expected,
                    advice=meaning.advice,
                    recoverable=meaning.recoverable,
                )
    said = _said(error)
    kind_name = type(error).__name__
    return KafkaError(where=where, problem=f"{kind_name}: {said}" if said else kind_name, recoverable=bool(getattr(error, "retriable", False)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes: aiokafka wraps what it met."""
    seen: BaseException | None = error
    for _ in range(10):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)


def _said(error: BaseException) -> str:
    """What the other side or the system said, where it says more than we do."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return str(error.verify_message).rstrip(".")
    if isinstance(error, ssl.SSLError):
        return str(getattr(error, "reason", None) or "").replace("_", " ").lower()
    if isinstance(error, theirs.BrokerResponseError):
        return ", ".join(each for each in error.args if isinstance(each, str) and len(each) <= 300 and _named(error) is None).rstrip(".")
    if isinstance(error, (ConnectionRefusedError, theirs.KafkaConnectionError, EOFError, ConnectionError, TimeoutError)):
        return ""
    if isinstance(error, OSError):
        return (error.strerror or "").lower()
    return str(error)[:300]


def _named(error: BaseException) -> str | None:
    """The topic or group that an error of a missing permission names."""
    if not isinstance(error, (theirs.TopicAuthorizationFailedError, theirs.GroupAuthorizationFailedError)) or not error.args:
        return None
    kind = "topic" if isinstance(error, theirs.TopicAuthorizationFailedError) else "group"
    (named, *_) = error.args
    if isinstance(named, (set, frozenset, list, tuple)):
        named = ", ".join(sorted(map(str, named)))
    return f"{kind} {named}" if isinstance(named, str) and " " not in named.replace(", ", ",") else None
