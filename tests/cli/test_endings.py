"""How a command ends when it is stopped, or cannot write; and what only a terminal sees."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.replay import OutError, open_case, run_case
from tests.properties.shop import a_shop, write

COMMAND = str(Path(sys.executable).with_name("rollguard"))
SHOP = a_shop(hours=0.3, per_second=2.0)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small case."""
    return write(tmp_path_factory.mktemp("endings") / "case", SHOP, end_ms=SHOP.end_ms)


def _until(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a program is at work in a folder of its own inside a folder: only then is there anything to leave behind."""
    deadline = time.monotonic() + 60
    while not any(folder.glob("*/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline


def test_an_interrupt_ends_quietly_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with subprocess.Popen([COMMAND, "demo"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"TMPDIR": str(tmp_path)}) as process:
        _until(tmp_path, process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, b"", b"")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_full_disk_is_one_line_and_exit_1(case: Path, words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([COMMAND, "replay", str(case), *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "no space left on device" in done.stderr


def test_a_result_that_cannot_be_written_whole_does_not_look_whole(case: Path, tmp_path: Path) -> None:
    run = run_case(open_case(case))
    # A folder where the second file belongs: it cannot be replaced by a file.
    (tmp_path / "incidents.jsonl").mkdir()
    with pytest.raises(OutError, match="results cannot be written there"):
        run.write(tmp_path)
    assert not (tmp_path / "summary.json").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_an_older_result_is_replaced_whole(case: Path, tmp_path: Path) -> None:
    run = run_case(open_case(case), report=True)
    (tmp_path / "summary.json").write_text("older")
    (tmp_path / "mine.txt").write_text("kept")
    run.write(tmp_path)
    first = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run.write(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == first
    assert sorted(first) == ["incidents.jsonl", "mine.txt", "report.html", "report.json", "summary.json", "timeline.jsonl"]
    # The page of another run beside these results would be a lie.
    replace(run, report=None).write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["incidents.jsonl", "mine.txt", "summary.json", "timeline.jsonl"]


def test_a_terminal_sees_a_progress_bar_and_a_pipe_does_not(case: Path) -> None:
    main, side = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name not in {"NO_COLOR", "CI"}} | {"TERM": "xterm-256color"}
    done = subprocess.run([COMMAND, "replay", str(case)], stdout=subprocess.PIPE, stderr=side, check=True, env=environment)
    os.close(side)
    shown = b""
    try:
        while part := os.read(main, 65_536):
            shown += part
    except OSError:
        # Linux ends a terminal whose other side is closed with an error.
        pass
    finally:
        os.close(main)
    assert b"replaying" in shown
    assert b"\x1b" not in done.stdout
    piped = subprocess.run([COMMAND, "replay", str(case)], capture_output=True, check=True, env=environment)
    assert piped.stderr == b""
    assert piped.stdout == done.stdout
