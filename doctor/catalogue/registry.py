"""The checks there are: every module in `doctor.checks`, and those of other packages.

Adding a check is adding its file: nothing is registered by hand.
Other packages offer theirs in the entry-point group ``copilot_doctor.checks``,
each entry naming a `Check`.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from doctor import checks
from doctor.catalogue.check import Check

if TYPE_CHECKING:
    from doctor.catalogue.findings import Outcome
    from doctor.deployment import Deployment

GROUP: Final = "copilot_doctor.checks"


class UnknownCheckError(LookupError):
    """Raised for a check id that no check has."""


@cache
def all_checks() -> tuple[Check, ...]:
    """Return every check, in the order of their ids.

    Raises:
        ValueError: Two checks have the same id.
    """
    found: dict[str, Check] = {}
    for check in (*_own(), *_others()):
        if check.id in found:
            msg = f"two checks have the id {check.id!r}"
            raise ValueError(msg)
        found[check.id] = check
    return tuple(found[check_id] for check_id in sorted(found))


def check_by_id(check_id: str) -> Check:
    """Return one check.

    Raises:
        UnknownCheckError: No check has this id; the message names the nearest.
    """
    for check in all_checks():
        if check.id == check_id:
            return check
    import difflib

    near = difflib.get_close_matches(check_id, [check.id for check in all_checks()], n=1)
    hint = f"; the nearest is {near[0]!r}" if near else ""
    msg = f"no check has the id {check_id[:80]!r}{hint}"
    raise UnknownCheckError(msg)


def _own() -> Iterator[Check]:
    for module in pkgutil.iter_modules(checks.__path__):
        if not module.name.startswith("_"):
            check = importlib.import_module(f"{checks.__name__}.{module.name}").CHECK
            if isinstance(check, Check):
                yield check


def _others() -> Iterator[Check]:
    # `importlib.metadata` takes longer than all the checks together:
    # it is asked only where some package names the group at all.
    if not any(_names_group(Path(folder)) for folder in dict.fromkeys(sys.path) if folder):
        return
    from importlib.metadata import entry_points

    for entry in entry_points(group=GROUP):
        try:
            check = entry.load()
        except Exception as error:  # noqa: BLE001 - another package's defect must not stop ours
            check = _broken(entry.name, error)
        if isinstance(check, Check):
            yield check


def _broken(name: str, error: Exception) -> Check:
    """Stand in for a check that could not be loaded: it ends in ``error`` and says why."""
    text = f"the check could not be loaded: {type(error).__name__}"

    def judge(_: "Deployment") -> "Iterator[Outcome]":
        raise RuntimeError(text)
        yield  # a generator, as every judge is

    return Check(
        id=name,
        title=f"Can the check {name} be loaded?",
        category="process",
        looks_at="nothing",
        symptoms=(),
        causes=(),
        judge=judge,
    )


def _names_group(folder: Path) -> bool:
    if not folder.name.endswith("-packages"):
        return False
    try:
        return any(
            GROUP in path.read_text(encoding="utf-8", errors="replace")
            for path in folder.glob("*.dist-info/entry_points.txt")
        )
    except OSError:
        return False
