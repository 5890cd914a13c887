"""Make `.venv` what the lock and the folders of the packages say, doing only what changed since the last time.

Run by `make setup` with any Python that Rollguard supports. Three steps, each with a stamp in `.venv`:

1. the virtualenv itself (anew when it is broken or moved, or when `--this-python` asks for another version than it has);
2. the locked dependencies, each checked against its hash (again when `requirements.lock` changed);
3. Rollguard in place, "strict" (again when `pyproject.toml` or the list of the packages' files changed): mypy and
   import-linter find packages mapped to other folders only so. A strict install links every file by itself, so an
   edited file is seen at once and a *new* one not before it is linked. Hence the list.

Two runs at once wait for one another.
"""

import fcntl
import hashlib
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
PIP = (str(PYTHON), "-m", "pip", "--disable-pip-version-check", "--quiet")


def digest(*parts: str | bytes) -> str:
    """Hash what a step depends on."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        state.update(len(data).to_bytes(8, "big") + data)
    return state.hexdigest()


def package_files() -> list[str]:
    """List the files that belong into the package, as paths from the root."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    data = table.get("package-data", {})
    files: set[Path] = set()
    for package, folder in table["package-dir"].items():
        for pattern in ("*.py", *data.get(package, ())):
            files.update(path for path in (ROOT / folder).glob(pattern) if path.is_file())
    return sorted(str(path.relative_to(ROOT)) for path in files)


def step(name: str, wanted: str, work: Callable[[], None], why: str) -> bool:
    """Do `work` unless the stamp `name` says it was done for `wanted`; a step that fails leaves no stamp."""
    stamp = VENV / f".{name}.stamp"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return False
    print(f"setup: {why}", flush=True)
    stamp.unlink(missing_ok=True)
    work()
    stamp.write_text(wanted, encoding="utf-8")
    return True


def made_before() -> str | None:
    """Say what the virtualenv that stands here was made for; None when there is none that works in this place."""
    stamp = VENV / ".python.stamp"
    if not (stamp.is_file() and PYTHON.is_file()):
        return None
    made_for = stamp.read_text(encoding="utf-8")
    return made_for if made_for.endswith(f" {ROOT}") else None


def make_venv() -> None:
    """Create the virtualenv from nothing."""
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)


def install_locked() -> None:
    """Install the dependencies of requirements.lock, by hash."""
    subprocess.run([*PIP, "install", "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")], check=True)


def install_in_place() -> None:
    """Link the package's files into the virtualenv's view of `rollguard`."""
    for old in (ROOT / "build").glob("__editable__.rollguard-*"):
        shutil.rmtree(old)
    subprocess.run(
        [*PIP, "install", "--no-deps", "--no-build-isolation", "--editable", str(ROOT), "--config-settings", "editable_mode=strict"],
        check=True,
    )
    # The same tree under a name that says no version: mypy_path in pyproject.toml names it.
    linked = next((ROOT / "build").glob("__editable__.rollguard-*"))
    rooms = ROOT / "build" / "rooms"
    rooms.unlink(missing_ok=True)
    rooms.symlink_to(linked.name, target_is_directory=True)


def main() -> int:
    """Bring `.venv` up to date; 0 when it is."""
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        version = ".".join(str(part) for part in sys.version_info[:3])
        made_for = made_before() if "--this-python" not in sys.argv else f"{version} {ROOT}"
        if not PYTHON.is_file():
            (VENV / ".python.stamp").unlink(missing_ok=True)
        pyproject = (ROOT / "pyproject.toml").read_bytes()
        locked = (ROOT / "requirements.lock").read_bytes()
        try:
            step("python", made_for or f"{version} {ROOT}", make_venv, f"making .venv with Python {version} ({sys.executable})")
            step("locked", digest(locked), install_locked, "installing the dependencies of requirements.lock (once; about a minute)")
            step("linked", digest(pyproject, *package_files()), install_in_place, "linking the package's files (their list changed)")
        except subprocess.CalledProcessError as error:
            print(
                f"setup: failed: {' '.join(map(str, error.cmd))}\nsetup: its message stands above; run `make setup` again once it is mended.", file=sys.stderr
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
