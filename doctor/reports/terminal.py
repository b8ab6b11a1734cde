"""The report for people: the verdict first, the next command last.

Every text is added as plain text, never as markup,
and passes `printable`: what came from outside cannot steer the terminal.
Commands to paste are never wrapped by the renderer, so that they stay one line in the clipboard.
"""

import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from doctor.behaviour.versions import span
from doctor.deployment import Hop, Status, Unseen
from doctor.redaction import printable
from doctor.reports.report import Report, ReportedFinding, ReportedRoute, ShownFix

_STYLE: Final[dict[Status, str]] = {
    "pass": "green",
    "warn": "yellow",
    "fail": "bold red",
    "skip": "bright_black",
    "unknown": "cyan",
    "error": "bold magenta",
}
_MARK: Final[dict[Status, str]] = {
    "pass": "✓",
    "warn": "!",
    "fail": "✗",
    "skip": "·",
    "unknown": "?",
    "error": "‼",
}
# For streams that cannot carry the characters that the catalogue is written in.
_ASCII: Final = str.maketrans(
    {
        "✓": "+",
        "✗": "x",
        "·": "-",
        "‼": "E",
        "…": "...",
        "≤": "<=",
        "≥": ">=",
        "→": "->",
        "×": "x",  # noqa: RUF001
        "–": "-",  # noqa: RUF001
        "—": "-",
        "’": "'",  # noqa: RUF001
        "“": '"',
        "”": '"',
        "�": "?",
        "\N{NO-BREAK SPACE}": " ",
    }
)
_NOT_ASCII: Final = "✓✗·‼…≤≥→"
"""What a stream must carry to get all of it."""

# What a person or a script runs for itself: nobody connects to it.
_PERSONAL: Final = frozenset({"interactive", "prompt", "subcommand", "help"})
_LABEL_WIDTH: Final = 10
_NARROWEST: Final = 40


def render(
    report: Report,
    *,
    width: int = 80,
    color: bool = False,
    encoding: str = "utf-8",
    verbose: bool = False,
    quiet: bool = False,
) -> str:
    """Return the report as text.

    Args:
        report: What to show.
        width: Columns to wrap at.
        color: Whether to write ANSI colours.
        encoding: Of the stream that the text goes to.
        verbose: Also show every check that passed, with its reason, and elapsed times.
        quiet: Show the findings alone.
    """
    page = _Page(width=max(width, _NARROWEST), color=color, encoding=encoding)
    _verdict(page, report, verbose=verbose)
    shown = [f for f in report.findings if f.status != "unknown" or verbose]
    for finding, alike in _grouped(shown, verbose=verbose):
        _finding(page, finding, verbose=verbose)
        if alike:
            page.row("Also", [Text(_plain(f"{f.subject}: {f.title}")) for f in alike])
            page.row("", [Text("their fixes: run with --verbose", style="bright_black")])
    _broken(page, report)
    if not quiet:
        for route in report.routes:
            _route(page, route, verbose=verbose)
        _rest(page, report, verbose=verbose)
    if report.next_command:
        page.blank()
        after = "apply a fix above, then run: " if report.next_command == "copilot-doctor" else ""
        command = Text(after + _line(report.next_command), style="bold")
        page.row("Next", [command], indent=0, wrap=False)
    return page.text()


def _grouped(
    findings: Sequence[ReportedFinding], *, verbose: bool
) -> Iterator[tuple[ReportedFinding, list[ReportedFinding]]]:
    """Yield each finding with those of other subjects that have the same cause."""
    groups: dict[tuple[str, str, str, str], list[ReportedFinding]] = {}
    for number, finding in enumerate(findings):
        one = str(number) if verbose or finding.status == "unknown" else ""
        key = (finding.check, finding.cause_id, finding.status, one)
        # Two findings on one subject are two problems, whatever they have in common.
        same = groups.get(key, [])
        if any(other.subject == finding.subject for other in same):
            key = (*key[:3], str(number))
        groups.setdefault(key, []).append(finding)
    for first, *others in groups.values():
        yield first, others


def fit(text: str, encoding: str) -> str:
    """Return a text that a stream of this encoding can carry."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    except LookupError:
        return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
    return text


class _Page:
    """Rows of a label and a text that wraps beside it."""

    def __init__(self, *, width: int, color: bool, encoding: str) -> None:
        self._width = width
        self._encoding = encoding
        # All or nothing: a page with some of the marks in one set and some in another reads badly.
        self._is_rich = fit(_NOT_ASCII, encoding) == _NOT_ASCII
        self._file = io.StringIO()
        self._console = Console(
            file=self._file,
            width=width,
            force_terminal=color,
            color_system="standard" if color else None,
            no_color=not color,
            highlight=False,
            emoji=False,
            markup=False,
            legacy_windows=False,
        )

    def blank(self) -> None:
        self._file.write("\n")

    def line(self, *parts: str | tuple[str, str], indent: int = 0) -> None:
        """Write a line of (text, style) parts, wrapped under its own start."""
        text = Text()
        for part in parts:
            plain, style = (part, "") if isinstance(part, str) else part
            text.append(self._fitted(plain), style)
        for number, row in enumerate(text.wrap(self._console, self._width - indent)):
            row.rstrip()
            self._write(Text.assemble(" " * (indent if number else 0), row))

    def row(self, label: str, texts: Iterable[Text], *, indent: int = 2, wrap: bool = True) -> None:
        """Write texts beside a label, each from a line of its own."""
        head = Text(" " * indent + label.ljust(_LABEL_WIDTH), style="bold")
        rows: Iterable[Text] = map(self._fit, texts)
        if wrap:
            room = self._width - cell_len(head.plain)
            rows = (part for text in rows for part in text.wrap(self._console, room))
        for part in rows:
            part.rstrip()
            self._write(Text.assemble(head, part))
            head = Text(" " * cell_len(head.plain))

    def beside(self, head: Text, text: Text) -> None:
        """Write a text that wraps to the right of its head."""
        head, text = self._fit(head), self._fit(text)
        room = self._width - cell_len(head.plain)
        for part in text.wrap(self._console, room) or [Text()]:
            part.rstrip()
            self._write(Text.assemble(head, part))
            head = Text(" " * cell_len(head.plain))

    def _fit(self, text: Text) -> Text:
        return Text(self._fitted(text.plain), style=text.style)

    def _fitted(self, text: str) -> str:
        # Before it is wrapped: three dots are longer than an ellipsis.
        if not self._is_rich:
            text = text.translate(_ASCII)
        return fit(text, self._encoding)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self._file.getvalue().splitlines()) + "\n"

    def _write(self, text: Text) -> None:
        self._console.print(text, soft_wrap=True, crop=False)


def _plain(text: str) -> str:
    return printable(text, 2000)


def _verdict(page: _Page, report: Report, *, verbose: bool) -> None:
    page.line(
        (f"{_MARK[report.status]} ", _STYLE[report.status]),
        (", ".join(_verdict_words(report)), "bold"),
    )
    for server in report.servers:
        if server.mode not in _PERSONAL or verbose:
            page.line(_server_line(server.label, server.addresses), indent=4)
    if all(server.mode in _PERSONAL for server in report.servers):
        page.line("  no Copilot server was found running here", indent=2)


def _verdict_words(report: Report) -> Iterator[str]:
    statuses = [finding.status for finding in report.findings]
    said = False
    for status, word in (("fail", "problem"), ("warn", "warning")):
        if status in statuses:
            said = True
            yield _count(statuses.count(status), word)
    if "fail" not in statuses:
        broken = [route for route in report.routes if route.status == "fail"]
        for route in broken[:3]:
            said = True
            yield f"the route to {_plain(route.target)} is broken"
    if report.summary.error:
        said = True
        yield f"{_count(report.summary.error, 'check')} of the doctor broke"
    if not said:
        nothing = not (report.summary.passed or report.summary.warn or report.summary.fail)
        yield "nothing could be checked" if nothing else "no problem found"
    unknown = report.summary.unknown
    if unknown:
        needs = "it needs" if unknown == 1 else "they need"
        yield f"{_count(unknown, 'check')} could not see what {needs}"
    if report.is_partial:
        yield "interrupted, this is what was known by then"


def _server_line(label: str, addresses: tuple[str, ...]) -> str:
    where = f", listening on {', '.join(addresses)}" if addresses else ""
    return f"  {_plain(label)}{_plain(where) if where else ''}"


def _finding(page: _Page, finding: ReportedFinding, *, verbose: bool) -> None:
    page.blank()
    page.line(
        (f"{_MARK[finding.status]} ", _STYLE[finding.status]),
        (_plain(finding.title), "bold"),
        (f"  [{_plain(finding.check)}]", "bright_black"),
        indent=2,
    )
    page.row("Where", [Text(_plain(finding.subject))])
    if finding.detail:
        page.row("", [Text(_plain(finding.detail))])
    if finding.symptom:
        page.row("Symptom", [Text(_plain(finding.symptom))])
    if finding.evidence:
        page.row("Evidence", [Text(_plain(item.text)) for item in finding.evidence])
    page.row("Cause", [Text(_plain(finding.cause)), *_provenance(finding)])
    shown, others = _chosen(finding.fixes, verbose=verbose)
    for number, fix in enumerate(shown):
        _fix(page, fix, "Fix" if number == 0 else "or")
    if others:
        page.row(
            "", [Text(f"for {_plain(', '.join(others))}: run with --verbose", style="bright_black")]
        )
    for related in finding.related:
        page.row("Hence", [Text(_plain(f"{related.title} [{related.check}]"))])


def _chosen(fixes: tuple[ShownFix, ...], *, verbose: bool) -> tuple[list[ShownFix], list[str]]:
    """Return the fixes to show, and the languages of snippets that would only repeat the first."""
    if verbose:
        return list(fixes), []
    first = next((fix for fix in fixes if fix.kind == "code"), None)
    shown = [fix for fix in fixes if fix.kind != "code" or fix is first]
    languages = dict.fromkeys(fix.language for fix in fixes if fix.kind == "code")
    return shown, [name for name in languages if first is not None and name != first.language]


def _provenance(finding: ReportedFinding) -> Iterator[Text]:
    if finding.documented_says and finding.documented:
        yield Text(
            _plain(f"Documented otherwise: {finding.documented_says} ({finding.documented.title})"),
            style="bright_black",
        )
    elif finding.documented:
        yield Text(_plain(f"Documented: {finding.documented.title}"), style="bright_black")
    if finding.observed:
        yield Text(_plain(f"Observed on CLI {span(finding.observed)}"), style="bright_black")
    else:
        yield Text(
            "Not reproduced on a real CLI: documented or reported only", style="bright_black"
        )


def _fix(page: _Page, fix: ShownFix, label: str) -> None:
    proven = _plain(f" (proven on CLI {span(fix.verified)})") if fix.verified else ""
    proven = f" {proven}" if proven else ""
    page.row(label, [Text(_sentence(fix.summary) + proven)])
    body = fix.shell or fix.code
    if body:
        if fix.language:
            page.row("", [Text(f"{_plain(fix.language)}:", style="bright_black")])
        lines = [Text("  " + _line(line), style="green") for line in body.splitlines()]
        page.row("", lines, wrap=False)
    for edit in fix.edits:
        page.row("", [Text(_plain(f"{edit.path}:{edit.line}:{edit.column}: {edit.new}"))])


def _sentence(text: str) -> str:
    # The label says "or" already; and all summaries begin alike.
    text = _plain(text)
    text = text[3:] if text[:3].lower() == "or " else text
    return text[:1].upper() + text[1:]


def _line(text: str) -> str:
    # What is pasted must stay as it is: its indentation, and the spaces within quotes.
    return " ".join(printable(part, 8000) for part in text.expandtabs(4).split(" ")).rstrip()


def _route(page: _Page, route: ReportedRoute, *, verbose: bool) -> None:
    page.blank()
    page.line(
        (f"{_MARK[route.status]} ", _STYLE[route.status]),
        (f"Route to {_plain(route.target)}", "bold"),
        indent=2,
    )
    for hop in route.hops:
        _hop(page, hop, verbose=verbose)


def _hop(page: _Page, hop: Hop, *, verbose: bool) -> None:
    style = _STYLE[hop.status]
    detail = hop.detail
    if hop.status == "skip" and hop.blocked_by:
        detail = f"not reached: {hop.blocked_by} is broken"
    elif hop.status in {"fail", "warn"} and hop.expected:
        detail += f"; expected: {hop.expected}"
    if verbose and hop.elapsed_ms:
        detail += f" ({hop.elapsed_ms:.1f} ms)"
    text = Text(_plain(detail), style="bright_black" if hop.status == "skip" else "")
    head = Text(f"  {_MARK[hop.status]} {printable(hop.name, 18):<18}", style=style)
    page.beside(head, text)


def _broken(page: _Page, report: Report) -> None:
    broken = [check for check in report.checks if check.status == "error"]
    if broken:
        page.blank()
    for check in broken:
        text = Text(_plain(f"{check.id}: {check.reason}"), style="magenta")
        page.row("Broken", [text], indent=0)


def _rest(page: _Page, report: Report, *, verbose: bool) -> None:
    by_status: dict[Status, list[str]] = {}
    for check in report.checks:
        by_status.setdefault(check.status, []).append(check.id)
    page.blank()
    if verbose:
        for check in report.checks:
            page.line(
                (f"{_MARK[check.status]} ", _STYLE[check.status]),
                (_plain(check.id), "bold"),
                f" {_plain(check.reason)}",
                indent=4,
            )
    else:
        for status, label in (("pass", "Fine"), ("skip", "Skipped")):
            ids = by_status.get(status, [])  # type: ignore[call-overload]
            if ids:
                page.row(label, [Text(_plain(", ".join(ids)), style=_STYLE[status])], indent=0)  # type: ignore[index]
    notes = [f for f in report.findings if f.status == "unknown"] if not verbose else []
    if report.unseen or notes:
        page.row("Not seen", [*_notes(notes), *_unseen(report.unseen)], indent=0)


def _notes(findings: Iterable[ReportedFinding]) -> Iterator[Text]:
    for check, title in dict.fromkeys((item.check, item.title) for item in findings):
        yield Text(_plain(f"? {title}: copilot-doctor explain {check}"), style="cyan")


def _unseen(unseen: Iterable[Unseen]) -> Iterator[Text]:
    for item in unseen:
        remedy = f" ({item.remedy})" if item.remedy else ""
        yield Text(_plain(f"? {item.subject}: {item.reason}{remedy}"), style="cyan")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
