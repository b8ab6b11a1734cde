import pickle
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from doctor.redaction import (
    Secret,
    Vault,
    is_secret_name,
    outside,
    printable,
    scrub,
    scrub_words,
    token_kind,
)

TOKENS = st.from_regex(r"(gho|ghu|ghs|ghr|ghp)_[A-Za-z0-9]{8,60}", fullmatch=True) | st.from_regex(
    r"github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{30,59}", fullmatch=True
)
VALUES = st.text(
    alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=6, max_size=80
)
STEERING = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


AROUND = st.text(alphabet="xyz /.,:=\"'\n\x1b[]{}", max_size=30)


def _body(token: str) -> str:
    return max(token.split("_"), key=len)


@given(TOKENS, AROUND, AROUND)
def test_a_github_token_is_hidden_wherever_it_stands(token: str, before: str, after: str) -> None:
    assert _body(token) not in outside(f"{before} {token} {after}", 10_000)


@given(TOKENS, st.integers(min_value=1, max_value=12))
def test_an_escape_sequence_inside_of_a_token_does_not_uncover_it(token: str, place: int) -> None:
    broken = token[:place] + "\x1b[0m" + token[place:]

    assert _body(token) not in outside(broken, 10_000)


@given(VALUES, st.text(max_size=30))
def test_a_value_known_to_the_vault_never_passes(value: str, around: str) -> None:
    vault = Vault()
    vault.add("MY_VARIABLE", value)

    shown = vault.outside(f"{around}{value}{around}", 10_000)

    assert value not in shown.replace("[MY_VARIABLE]", "")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("--token hunter2", "hunter2"),
        ("--api-key=hunter2", "hunter2"),
        ("COPILOT_CONNECTION_TOKEN=hunter2 copilot", "hunter2"),
        ('{"apiKey": "hunter2"}', "hunter2"),
        ("https://user:hunter2@example.org:8080/", "hunter2"),
        ("Authorization: Bearer hunter22", "hunter22"),
        ("shared secret 9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "9b1deb4d"),
        ("key=sk-proj-abcdef0123456789", "abcdef"),
        ("0123456789abcdef0123456789abcdef", "0123456789abcdef"),
    ],
)
def test_secrets_are_hidden_by_name_and_by_shape(text: str, secret: str) -> None:
    assert secret not in scrub(text)


@pytest.mark.parametrize(
    "text",
    [
        "copilot --server --port 3000 --host 0.0.0.0 --auth-token-env MY_TOKEN",
        "/home/dev/app/node_modules/@github/copilot-linux-x64/copilot",
        "Failed to start server: Error: listen EADDRINUSE: address already in use 127.0.0.1:3000",
        "No COPILOT_CONNECTION_TOKEN was set, so connections will be accepted from any client",
        "Execution failed: InvalidArg, No GitHub OAuth token or Copilot HMAC key provided",
    ],
)
def test_evidence_survives(text: str) -> None:
    assert text == outside(text)


def test_the_value_after_a_secret_option_is_hidden_as_a_word() -> None:
    words = scrub_words(["serve", "--password", "hunter2", "--port", "80"])

    assert words == ["serve", "--password", "[redacted, 7 characters]", "--port", "80"]


@given(st.text(max_size=2000))
@example("\x1b]0;title\x07\x1b[2J\n\rtext\x9b31m")
@example("\udcff\udc80")
def test_printable_text_cannot_steer_a_terminal(text: str) -> None:
    shown = printable(text)

    assert not STEERING.search(shown)
    assert len(shown) <= 300
    shown.encode("utf-8")


@given(st.text(max_size=500))
def test_redaction_is_idempotent(text: str) -> None:
    once = outside(text, 10_000)

    assert outside(once, 10_000) == once


def test_a_megabyte_is_cut_quickly() -> None:
    assert len(outside("gho_" + "a" * 1_000_000)) <= 300


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("gho_16C7e42F292c6912E7710c838347Ae178B4a", "gho"),
        ("ghu_16C7e42F292c6912E7710c838347Ae178B4a", "ghu"),
        ("ghs_16C7e42F292c6912E7710c838347Ae178B4a", "ghs"),
        ("ghr_16C7e42F292c6912E7710c838347Ae178B4a", "ghr"),
        ("ghp_16C7e42F292c6912E7710c838347Ae178B4a", "ghp"),
        ("github_pat_11ABCDEFG0abcdefghijkl_mnopqrst", "github_pat"),
        (' "gho_16C7e42F292c6912E7710c838347Ae178B4a"\n', "gho"),
        ("ghp_xxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("github_pat_XXXXXXXX", "placeholder"),
        ("<your token>", "placeholder"),
        ("${GITHUB_TOKEN}", "placeholder"),
        ("your-token-here", "placeholder"),
        ("changeme", "placeholder"),
        ("hunter2", "unrecognised"),
    ],
)
def test_the_kind_of_a_token(value: str, kind: str) -> None:
    assert kind == token_kind(value)


def test_names_that_may_hold_a_secret() -> None:
    assert is_secret_name("AWS_SECRET_ACCESS_KEY")
    assert is_secret_name("COPILOT_PROVIDER_API_KEY")
    assert not is_secret_name("--auth-token-env")
    assert not is_secret_name("TOKEN_FILE")
    assert not is_secret_name("PATH")


def test_a_secret_shows_itself_only_on_request() -> None:
    secret = Secret("COPILOT_CONNECTION_TOKEN", "hunter2")

    assert "hunter2" not in f"{secret} {secret!r} {secret:>40} {[secret]}"
    assert secret.reveal() == "hunter2"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_equal_values_share_a_group() -> None:
    vault = Vault()

    assert vault.add("A", "one-value") == vault.add("B", "one-value")
    assert vault.add("A", "one-value") != vault.add("C", "another")
    assert vault.add("D", "") == 0
