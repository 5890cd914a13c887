"""What a client raises, told in one line."""

from __future__ import annotations

import inspect
import socket
import ssl

import aiokafka.errors as theirs
import pytest

from rollguard.streams.kafka import KafkaError, explained

CLASSES = [each for _, each in inspect.getmembers(theirs, inspect.isclass) if issubclass(each, theirs.KafkaError)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda each: str(each.__name__))
def test_every_error_of_the_client_becomes_one_line_that_names_where(error: type[theirs.KafkaError]) -> None:
    told = explained(error(), "broker b:1")
    assert (told.code, told.where) == ("kafka", "broker b:1")
    assert str(told).startswith("broker b:1: ")
    assert told.problem
    assert str(told).endswith(".")
    assert "\n" not in str(told)


@pytest.mark.parametrize(
    ("error", "where", "recoverable"),
    [
        (theirs.TopicAuthorizationFailedError("orders"), "topic orders", False),
        (theirs.TopicAuthorizationFailedError({"b", "a"}), "topic a, b", False),
        (theirs.GroupAuthorizationFailedError("shop.ingest"), "group shop.ingest", False),
        (theirs.GroupAuthorizationFailedError("a sentence of theirs"), "here", False),
        (theirs.SaslAuthenticationFailed("no"), "here", False),
        (theirs.UnknownTopicOrPartitionError(), "here", True),
        (theirs.NotEnoughReplicasError(), "here", True),
        (theirs.LeaderNotAvailableError(), "here", True),
        (theirs.InvalidTopicError(), "here", False),
        (ConnectionRefusedError(111, "Connect call failed"), "here", True),
        (socket.gaierror(-2, "Name or service not known"), "here", True),
        (TimeoutError(), "here", True),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "here", False),
    ],
)
def test_it_says_what_it_is_about_and_whether_waiting_can_help(error: BaseException, where: str, recoverable: bool) -> None:
    told = explained(error, "here")
    assert (told.where, told.recoverable) == (where, recoverable)


def test_the_reason_behind_a_closed_connection_is_told() -> None:
    closed = theirs.KafkaConnectionError("Connection at b:1 closed")
    closed.__cause__ = ssl.SSLError(1, "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] certificate required")
    assert "TLS failed" in explained(closed, "broker b:1").problem
    alone = explained(theirs.KafkaConnectionError("Connection at b:1 closed"), "broker b:1")
    assert str(alone).count("b:1") == 1


def test_what_the_broker_says_is_shown_and_does_nothing_to_a_terminal() -> None:
    told = str(explained(theirs.SaslAuthenticationFailed("go\x1b[31m away\n"), "broker b:1"))
    assert "go\\x1b[31m away" in told
    assert told.isprintable()


def test_ours_is_told_as_it_is() -> None:
    ours = KafkaError(where="topic x", problem="missing", recoverable=True)
    assert explained(ours, "elsewhere") is ours
