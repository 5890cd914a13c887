"""Secrets are found where the config says, or it is said why not; they are never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollguard.streams.kafka import SecretError, find_secret

SECRET = "hunter2-hunter2"  # noqa: S105 - that it is never shown is the point


def refusal(reference: str) -> SecretError:
    with pytest.raises(SecretError) as raised:
        find_secret(reference, "kafka.sasl_plain_password")
    error = raised.value
    assert error.key == "kafka.sasl_plain_password"
    assert str(error).startswith(f"kafka.sasl_plain_password: {reference}: ")
    assert "\n" not in str(error)
    shown = [str(each) + repr(each) for each in (error, error.__cause__, error.__context__)]
    assert not [text for text in shown if SECRET in text]
    return error


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def test_a_secret_is_found_in_a_variable_and_in_a_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_SECRET", SECRET)
    assert find_secret("env:TEST_SECRET", "x") == SECRET
    assert find_secret(f"file:{file}", "x") == SECRET


@pytest.mark.parametrize(
    ("written", "found"), [("p w ", "p w "), ("p\n", "p"), ("p\r\n", "p"), (" p", " p"), ("gehei\N{LATIN SMALL LETTER SHARP S}", "gehei\xdf")]
)
def test_only_the_line_break_at_the_end_goes(file: Path, written: str, found: str) -> None:
    file.write_bytes(written.encode())
    assert find_secret(f"file:{file}", "x") == found


def test_what_is_missing_or_empty_is_said(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TEST_SECRET", raising=False)
    assert "no such variable" in refusal("env:TEST_SECRET").problem
    assert "no such file" in refusal(f"file:{file}.not").problem
    assert "not a file" in refusal(f"file:{file.parent}").problem
    monkeypatch.setenv("TEST_SECRET", "\n")
    assert refusal("env:TEST_SECRET").problem == "empty"
    file.write_text("\n")
    assert refusal(f"file:{file}").problem == "empty"


@pytest.mark.parametrize("text", [SECRET.encode() + b"\nmore\n", SECRET.encode() + b"\0", SECRET.encode() + b"\xff", SECRET.encode() * 10_000])
def test_what_is_no_line_of_text_is_no_secret(file: Path, text: bytes) -> None:
    file.write_bytes(text)
    assert refusal(f"file:{file}").problem == "no secret"


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o666, 0o620, 0o602, 0o660])
def test_a_file_that_others_may_read_or_write_is_refused_with_the_mode_that_it_has(file: Path, mode: int) -> None:
    file.chmod(mode)
    error = refusal(f"file:{file}")
    assert f"{mode:04o}" in error.problem
    assert "chmod 600" in error.expected


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o440, 0o640])
def test_a_file_for_its_owner_and_a_group_that_reads_will_do(file: Path, mode: int) -> None:
    file.chmod(mode)
    assert find_secret(f"file:{file}", "x") == SECRET


def test_a_link_to_a_file_is_judged_by_the_file(file: Path) -> None:
    link = file.parent / "link"
    link.symlink_to(file)
    assert find_secret(f"file:{link}", "x") == SECRET
    file.chmod(0o644)
    assert "mode 0644" in refusal(f"file:{link}").problem
