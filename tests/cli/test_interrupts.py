"""Ctrl-C is never lost."""

import signal
from collections.abc import Iterator

import pytest

from rollguard.cli.interrupts import interrupts_never_lost


class Interrupted:
    """Something that is interrupted while it is taken away."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def _lose_an_interrupt() -> None:
    thing = Interrupted()
    del thing
    signal.pause()


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """Interrupts are heard, also in a job of a shell's background, which is started deaf to them."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_in_a_destructor_comes_again(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt), interrupts_never_lost():
        _lose_an_interrupt()
    assert capsys.readouterr().err == ""
