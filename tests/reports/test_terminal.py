"""The report for people: order, width, colours, encodings, and texts that try to break it."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from doctor.reports import terminal
from tests.reports.sample import EVERY_STATUS, finding, full, hop, report

STEERING = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def without_pasted(text: str) -> list[str]:
    """Return the lines that the renderer may wrap: no commands, no snippets."""
    pasted = ("kill 7", "copilot --server", "if ", "    run(", "run(", "}")
    return [line for line in text.splitlines() if not line.strip().startswith(pasted)]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
@pytest.mark.parametrize("options", [{}, {"verbose": True}, {"quiet": True}])
def test_no_line_is_wider_than_the_page(
    width: int, encoding: str, options: dict[str, bool]
) -> None:
    text = terminal.render(full(), width=width, encoding=encoding, **options)

    lines = [line for line in without_pasted(text) if not line.startswith("Next")]
    assert max(map(cell_len, lines)) <= width, max(lines, key=cell_len)


def test_what_is_pasted_is_never_wrapped_nor_changed() -> None:
    text = terminal.render(full(), width=40, verbose=True)

    assert "copilot --server --port 3000 " + ("--flag " * 20).rstrip() in text
    assert "run('a  b')" in text  # both spaces
    lines = text.splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith("if true {"))
    indent = len(lines[start]) - len(lines[start].lstrip())
    assert lines[start + 1] == " " * (indent + 4) + "run()"


def test_the_verdict_comes_first_and_the_next_command_last() -> None:
    lines = terminal.render(full()).splitlines()

    assert lines[0].startswith("‼ 1 problem, 1 warning")
    assert "1 check of the doctor broke" in " ".join(lines[:3])
    assert lines[1].startswith("  ") or "could not see" in lines[0] + lines[1]
    assert lines[-1] == "Next      kill 7"


@pytest.mark.parametrize(
    ("statuses", "words"),
    [
        (("pass",), "✓ no problem found"),
        (("pass", "unknown"), "? no problem found, 1 check could not see what it needs"),
        (("unknown", "unknown"), "? nothing could be checked, 2 checks could not see what they"),
        (("skip",), "· nothing could be checked"),
        ((), "· nothing could be checked"),
        (("pass", "error"), "‼ 1 check of the doctor broke"),
    ],
)
def test_the_verdict_without_findings(statuses: tuple[str, ...], words: str) -> None:
    text = terminal.render(report(*statuses, routes=()), width=100)

    assert text.splitlines()[0].startswith(words)


def test_an_unknown_is_never_called_fine() -> None:
    text = terminal.render(report("unknown", "skip", "pass", unseen=()), width=100)
    fine = next(line for line in text.splitlines() if line.startswith("Fine"))

    assert fine == "Fine      pass-check"
    assert "Skipped   skip-check" in text.splitlines()


def test_a_broken_route_without_a_finding_is_in_the_verdict() -> None:
    assert "the route to 127.0.0.1:3000 is broken" in terminal.render(report("pass"))


def test_a_route_shows_the_broken_hop_and_what_it_blocks() -> None:
    lines = terminal.render(report("fail"), width=100).splitlines()

    assert "✗ Route to 127.0.0.1:3000" in lines
    assert "  ✗ connect           refused; expected: accepts" in lines
    assert "  · handshake         not reached: connect is broken" in lines
    assert "  ‼ models            broke" in lines


def test_each_status_has_a_mark_of_its_own() -> None:
    for encoding in ("utf-8", "ascii"):
        routes = tuple(
            report("pass")
            .routes[0]
            .__class__(
                client="c",
                target=status,
                status=status,
                hops=(hop("connect", status, "d"),),  # type: ignore[arg-type]
            )
            for status in EVERY_STATUS
        )
        text = terminal.render(report("pass", routes=routes), encoding=encoding)
        marks = [line[0] for line in text.splitlines() if " Route to " in line]

        assert len(set(marks)) == len(EVERY_STATUS), marks


def test_what_could_not_be_seen_is_shown_with_its_remedy() -> None:
    text = " ".join(terminal.render(full()).split())

    assert "? process 7: it belongs to another user (run as root)" in text


def test_an_unknown_finding_is_one_line_and_with_verbose_a_whole_one() -> None:
    made = report("unknown", findings=(finding("unknown"), finding("unknown", subject="port 3001")))
    short, whole = (terminal.render(made, width=100, verbose=verbose) for verbose in (False, True))

    said = "? Port 3000 is held by another program: copilot-doctor explain port-in-use"
    assert short.count(said) == 1  # however many subjects it is about
    assert "Evidence" not in short
    assert whole.count("Evidence") == 2


def test_verbose_gives_every_check_its_reason() -> None:
    lines = terminal.render(full(), verbose=True).splitlines()

    assert all(any(f"{status}-check because" in line for line in lines) for status in EVERY_STATUS)
    assert "(0.1 ms)" in "\n".join(lines)


def test_quiet_leaves_the_findings_and_what_broke() -> None:
    text = terminal.render(full(), quiet=True)

    assert "Port 3000 is held by another program" in text
    assert "Broken    error-check: because" in text
    assert not [word for word in ("Route to", "Fine", "Not seen", "Skipped") if word in text]


def test_a_partial_report_says_so() -> None:
    text = terminal.render(report("pass", is_partial=True), width=100)

    assert "interrupted, this is what was known by then" in text.splitlines()[0]


def test_an_empty_report_is_shown() -> None:
    text = terminal.render(report(routes=(), servers=(), clients=(), unseen=(), next_command=""))

    assert "no Copilot server was found running here" in text


def test_colours_change_no_character() -> None:
    plain, coloured = terminal.render(full()), terminal.render(full(), color=True)

    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    stripped = [line.rstrip() for line in COLOUR.sub("", coloured).splitlines()]
    assert stripped == plain.splitlines()


def test_a_coloured_line_ends_its_own_colours() -> None:
    for line in terminal.render(full(), color=True).splitlines():
        found = COLOUR.findall(line)
        assert not found or found[-1] in {"\x1b[0m", "\x1b[m"}, repr(line)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "cp437", "shift_jis"])
def test_a_stream_gets_what_it_can_carry(encoding: str) -> None:
    text = terminal.render(report("pass", text="café \N{EN DASH} naïve…"), encoding=encoding)

    text.encode(encoding)
    assert not any(mark in text for mark in "✓✗‼…→")
    if encoding in {"cp1252", "latin-1"}:
        assert "café" in text


def test_an_encoding_that_nobody_knows_gets_ascii() -> None:
    assert terminal.render(full(), encoding="no-such-encoding").isascii()


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(alphabet="[]/boldred=@:link\\ \x1b\x07\x9b\u202e\u200f\r\n\t", max_size=60),
    st.sampled_from(
        [
            "[bold red]x[/]",
            "[/]",
            "[link=http://x]y[/link]",
            ":smile:",
            "\x1b]0;owned\x07\x1b[2J",
            "\u202egnp.exe",
            "x" * 500,
            "\ud800",
            "a\u2028b\x85c\x1cd",
        ]
    ),
)


@settings(deadline=None, max_examples=40)
@given(hostile=HOSTILE, width=st.sampled_from([40, 80]), verbose=st.booleans())
def test_a_hostile_text_in_every_field_steers_nothing(
    hostile: str, width: int, *, verbose: bool
) -> None:
    for color in (False, True):
        text = terminal.render(full(hostile), width=width, verbose=verbose, color=color)
        text.encode()
        bare = COLOUR.sub("", text) if color else text
        assert not STEERING.search(bare)
        assert bare.split("\n")[0].startswith("‼ 1 problem, 1 warning")


def test_markup_is_shown_as_it_is() -> None:
    text = terminal.render(report("pass", text="[bold red]x[/] :smile:"), color=True)

    assert "[bold red]x[/] :smile:" in text
