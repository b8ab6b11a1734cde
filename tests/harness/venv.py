"""Python environments of the tests' own, made on demand in the cache."""

from __future__ import annotations

import contextlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness import MACHINE, MissingPartError, cache_dir, locked

_INSTALL_LIMIT_S = 600.0


def venv_python(kind: str, requirement: str) -> Path:
    """Return the Python of an environment that has one requirement installed.

    Args:
        kind: Folder of the cache that it lives in.
        requirement: `name==version`.

    Raises:
        MissingPartError: pip could not install it.
    """
    root = cache_dir() / kind / requirement.replace("==", "-")
    if not root.is_dir():
        with locked(f"{kind}-{root.name}"):
            if not root.is_dir():
                _make(requirement, root)
    return _python(root)


def _python(root: Path) -> Path:
    return root / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _make(requirement: str, root: Path) -> None:
    root.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{root.name}-", dir=root.parent))
    install = ["install", "--quiet", "--disable-pip-version-check", requirement]
    if importlib.util.find_spec("pip"):  # saves the making of another pip
        make = [sys.executable, "-m", "venv", "--without-pip", str(fresh)]
        fill = [sys.executable, "-m", "pip", "--python", str(_python(fresh)), *install]
    else:
        make = [sys.executable, "-m", "venv", str(fresh)]
        fill = [str(_python(fresh)), "-m", "pip", *install]
    try:
        for argv in (make, fill):
            subprocess.run(
                argv,
                env=MACHINE,
                check=True,
                capture_output=True,
                text=True,
                errors="replace",
                stdin=subprocess.DEVNULL,
                timeout=_INSTALL_LIMIT_S,
            )
        # Only a finished install ever bears the final name.
        with contextlib.suppress(FileExistsError):
            fresh.rename(root)
    except subprocess.CalledProcessError as error:
        raise MissingPartError(f"could not install {requirement}: {error.stderr[-500:]}") from error
    except subprocess.TimeoutExpired as error:
        raise MissingPartError(f"{requirement} was not installed in time") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
