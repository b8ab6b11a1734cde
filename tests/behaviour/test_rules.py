"""Permission rules against what the real CLI allowed and refused."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doctor.behaviour.rules import (
    OBSERVED,
    Observation,
    Rule,
    command_of,
    covers,
    malformed_message,
    matches_command,
    parse_rule,
    review,
    split_values,
)

READ_ONLY = {"git", "git status"}  # run without any rule


def decides(observation: Observation, command: str) -> bool:
    """Say whether the rules let one plain command run."""
    flags = [flag.partition("=")[::2] for flag in observation.flags]
    rules = {
        name: [
            rule
            for flag, value in flags
            if flag == name
            for text in split_values([value])
            if (rule := parse_rule(text))
        ]
        for name in ("--allow-tool", "--deny-tool")
    }
    name = command_of([word for word in shlex.split(command) if "=" not in word])
    if any(matches_command(rule, name) for rule in rules["--deny-tool"]):
        return False
    everything = "--allow-all-tools" in observation.flags
    return (
        everything
        or name in READ_ONLY
        or any(matches_command(rule, name) for rule in rules["--allow-tool"])
    )


PLAIN = [
    (observation, command, ran)
    for observation in OBSERVED
    for ran, commands in ((True, observation.ran), (False, observation.refused))
    for command in commands
    if not any(sign in command for sign in ("&&", ">", ".txt", "/etc/"))
]


@pytest.mark.parametrize(("observation", "command", "ran"), PLAIN)
def test_matching_agrees_with_the_real_cli(
    observation: Observation, command: str, *, ran: bool
) -> None:
    assert decides(observation, command) is ran


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("shell", Rule("shell")),
        ("shell(git:*)", Rule("shell", "git:*")),
        ("shell( )", Rule("shell", " ")),
        ("shell((a)", Rule("shell", "(a")),
        ("url(https://x)", Rule("url", "https://x")),
        ("x@y/z.1_-(t)", Rule("x@y/z.1_-", "t")),
        ("shell()", None),
        ("shell(git", None),
        ("shell (git)", None),
        ("shell(a)b)", None),
        ("shell((a))", None),
        ("a(b)(c)", None),
        (" shell(a)", None),
        ("shell(a)\n", None),
        ("a b", None),
        ("a:b", None),
        ("*", None),
        ("é", None),
        ("", None),
    ],
)
def test_parses_as_the_native_parser_of_1_0_63_and_1_0_102_did(
    text: str, rule: Rule | None
) -> None:
    assert parse_rule(text) == rule


def test_commas_separate_outside_of_parentheses_since_1_0_11() -> None:
    assert split_values(["shell(a,b), write", "url"], "1.0.63") == ["shell(a,b)", "write", "url"]
    assert split_values(["shell(a),write"], "1.0.2") == ["shell(a),write"]


@pytest.mark.parametrize(
    ("rule", "code", "better"),
    [
        ("shell(git)", "bare-command", "shell(git:*)"),
        ("shell(npm)", "bare-command", "shell(npm:*)"),
        ("shell(git *)", "wildcard", "shell(git:*)"),
        ("shell(git*)", "wildcard", "shell(git:*)"),
        ("shell(*)", "wildcard", "shell"),
        ("shell(:*)", "never-matches", "shell"),
        ("shell(git:**)", "wildcard", "shell(git:*)"),
        ("shell(git:push)", "never-matches", "shell(git push)"),
        ("shell(npm run test:*)", "never-matches", "shell(npm run)"),
        ("shell(git push origin main)", "never-matches", "shell(git push)"),
        ("shell(touch f1)", "never-matches", "shell(touch)"),
        ("shell( git:*)", "white-space", "shell(git:*)"),
        ("shell(git: *)", "white-space", "shell(git:*)"),
        ("shell(git :*)", "white-space", "shell(git:*)"),
        ('shell("git:*")', "quotes", "shell(git:*)"),
        ("bash", "tool-name", "shell"),
        ("bash(git:*)", "tool-name", "shell(git:*)"),
        ("create", "tool-name", "write"),
        ("Shell(git:*)", "letter-case", "shell(git:*)"),
        ("Write", "letter-case", "write"),
        ("shell(git", "malformed", "shell(git:*)"),
        ("shell(ls", "malformed", "shell(ls)"),
        ("shell (git:*)", "malformed", "shell(git:*)"),
        ("'shell(git:*)'", "malformed", "shell(git:*)"),
        ("shell()", "malformed", "shell"),
        ("git:*", "malformed", "shell(git:*)"),
        ("git push", "malformed", "shell(git push)"),
        ("shell(git:*) shell(touch:*)", "malformed", "shell(git:*),shell(touch:*)"),
        ("*", "malformed", "--allow-all-tools"),
        ("url(github.com)", "https-only", "url(http://github.com)"),
    ],
)
def test_review_says_what_to_write_instead(rule: str, code: str, better: str) -> None:
    (problem,) = review([rule], version="1.0.63")
    assert (problem.code, problem.better) == (code, better)
    if not better.startswith("--") and code != "https-only":
        assert review([better], version="1.0.63") == []


@pytest.mark.parametrize(
    "rule",
    [
        "shell",
        "shell(git:*)",
        "shell(git push)",
        "shell(git push:*)",
        "shell(touch)",
        "shell(docker)",
        "write",
        "write(new.txt)",
        "memory",
        "MyMCP",
        "MyMCP(tool)",
        "url(https://github.com)",
    ],
)
def test_review_is_silent_on_rules_that_do_what_they_say(rule: str) -> None:
    assert review([rule], version="1.0.63") == []


def test_wildcards_of_write_by_version() -> None:
    assert [p.code for p in review(["write(*)"], version="1.0.63")] == ["wildcard"]
    assert review(["write(*)"], version="1.0.102") == []


def test_deny_wins() -> None:
    (problem,) = review(["shell(git push)", "shell(ls)"], ["shell(git:*)"])
    assert (problem.rule, problem.code) == ("shell(git push)", "denied")
    assert "shell(git:*)" in problem.message


def test_a_narrow_denial_under_a_wide_permission_can_be_walked_around() -> None:
    (problem,) = review([], ["shell(git push)"], allows_all_tools=True)
    assert (problem.flag, problem.code) == ("--deny-tool", "bypass")
    assert review([], ["shell"], allows_all_tools=True) == []
    assert review(["shell(git:*)"], ["shell(git push)"]) == []


def test_redundant_rules() -> None:
    found = review(["shell(git:*)", "shell(git push)", "write", "write"])
    assert [(p.rule, p.code) for p in found] == [
        ("shell(git push)", "redundant"),
        ("write", "redundant"),
    ]
    assert [p.code for p in review(["write"], allows_all_tools=True)] == ["redundant"]


def test_urls() -> None:
    found = review(allow_url=["github.com", "https://*", "https://x.org"], deny_url=["http://x"])
    assert [(p.rule, p.code, p.better) for p in found] == [
        ("github.com", "https-only", "http://github.com"),
        ("https://*", "wildcard", "--allow-all-urls"),
        ("http://x", "url-port", None),
    ]
    assert [p.code for p in review(allow_url=["::bad::"])] == ["malformed"]


def test_visible_tools_are_named_by_tool() -> None:
    (problem,) = review(available=["shell,view"])
    assert (problem.code, problem.better) == ("kind-for-tool", "bash")


def test_malformed_rules_end_the_start_without_a_word_on_old_versions() -> None:
    assert malformed_message("shell(git", "--allow-tool", "1.0.63") == ""
    assert (
        malformed_message("shell(git", "--allow-tool", "1.0.102")
        == "Invalid --allow-tool value. Error: Invalid rule format: shell(git"
    )


@given(st.lists(st.text(alphabet="shelgit(): *,.\"'/ a", max_size=30), max_size=5))
def test_review_never_raises_and_its_rules_are_rules(texts: list[str]) -> None:
    for problem in review(texts, texts, allow_url=texts, deny_url=texts, available=texts):
        if problem.better and problem.flag in {"--allow-tool", "--deny-tool"}:
            better = problem.better
            assert better.startswith("--") or all(parse_rule(r) for r in split_values([better]))


@given(st.sampled_from(OBSERVED), st.sampled_from(OBSERVED))
def test_a_rule_that_covers_another_matches_all_that_it_does(
    first: Observation, second: Observation
) -> None:
    rules = [parse_rule(flag.partition("=")[2]) for flag in (*first.flags, *second.flags)]
    commands = {command_of(shlex.split(c)) for o in (first, second) for c in (*o.ran, *o.refused)}
    for wide in filter(None, rules):
        for narrow in filter(None, rules):
            if covers(wide, narrow):
                assert all(matches_command(wide, c) for c in commands if matches_command(narrow, c))
