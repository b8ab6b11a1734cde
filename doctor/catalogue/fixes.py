"""Fixes: what a reader pastes, changes or does."""

import shlex
from typing import Literal

import msgspec


class Edit(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A change to a file: the text between two positions becomes `new`.

    Lines and columns count from 1; the end is not included.
    """

    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    new: str


class Fix(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One way to cure a finding; the fixes of a finding are alternatives, best first.

    Attributes:
        id: Unique within its check: the key under which scenario results are recorded.
        kind: ``command`` (paste into a shell), ``edit``, ``code`` (into the client) or ``advice``.
        summary: What it does, one imperative sentence without a full stop.
        shell: The lines to paste, for a command; a POSIX shell, PowerShell on Windows.
        argv: The same for programs; several lines become one call of a shell.
        language: Of `code`: ``python``, ``typescript``, ``go``, ``csharp`` …
        safe: Whether it can be applied without a second look: it stops or loses nothing.
    """

    id: str
    kind: Literal["command", "edit", "code", "advice"]
    summary: str
    shell: str = ""
    argv: tuple[str, ...] = ()
    language: str = ""
    code: str = ""
    edits: tuple[Edit, ...] = ()
    safe: bool = False


def command(fix_id: str, summary: str, *lines: str | tuple[str, ...], safe: bool = False) -> Fix:
    """Make a fix of command lines, each a ready shell line or an argument vector."""
    texts = [line if isinstance(line, str) else shlex.join(line) for line in lines]
    if len(lines) == 1 and not isinstance(lines[0], str):
        argv = lines[0]
    else:
        argv = ("sh", "-c", "\n".join(texts))
    return Fix(
        id=fix_id, kind="command", summary=summary, shell="\n".join(texts), argv=argv, safe=safe
    )


def code(fix_id: str, summary: str, language: str, text: str) -> Fix:
    """Make a fix of a snippet for the client's code."""
    return Fix(id=fix_id, kind="code", summary=summary, language=language, code=text.strip("\n"))


def edit(fix_id: str, summary: str, *edits: Edit, safe: bool = False) -> Fix:
    """Make a fix of changes to files."""
    return Fix(id=fix_id, kind="edit", summary=summary, edits=edits, safe=safe)


def advice(fix_id: str, summary: str) -> Fix:
    """Make a fix that nothing can be pasted for."""
    return Fix(id=fix_id, kind="advice", summary=summary)
