import itertools

from hypothesis import given
from hypothesis import strategies as st

from doctor.behaviour import facts
from doctor.behaviour.versions import TESTED, ByVersion, Fact, at_most, key, observed_range, span

BIND = ByVersion((("0.0.400", "1.0.22", "*"), ("1.0.32", "1.0.102", "127.0.0.1")))


def test_versions_sort_by_number() -> None:
    assert sorted(TESTED, key=lambda version: key(version) or ()) == list(TESTED)
    assert key("1.0.9") < key("1.0.63-2") < key("1.0.63")  # type: ignore[operator]


def test_what_is_no_version_has_no_key() -> None:
    for text in ("", "latest", "1.0", "1.0.x", "1.0.99999999999", "1.0.63.4"):
        assert key(text) is None


def test_a_fact_is_observed_on_tested_versions_and_inferred_beside_them() -> None:
    assert BIND.at("1.0.63") == Fact("127.0.0.1", "observed")
    assert BIND.at("1.0.70") == Fact("127.0.0.1", "between")
    assert BIND.at("1.2.0") == Fact("127.0.0.1", "newer")
    assert BIND.at("0.0.300") == Fact("*", "older")


def test_a_fact_is_unknown_where_it_changed_somewhere() -> None:
    assert BIND.at("1.0.25") == Fact(None, "unknown")
    assert BIND.at(None) == Fact(None, "unknown")
    assert BIND.at("not a version") == Fact(None, "unknown")


def test_the_tested_versions_of_a_value() -> None:
    assert BIND.where("*") == observed_range("0.0.400", "1.0.22")


def test_spans_are_read_as_people_write_them() -> None:
    assert span(("1.0.44", "1.0.57", "1.0.63", "1.0.102")) == "1.0.44 … 1.0.63, 1.0.102"
    assert span(()) == ""
    assert span(("1.0.63", "1.1.0")) == "1.0.63, 1.1.0"


def test_at_most() -> None:
    assert at_most("1.0.81", "1.0.81") is True
    assert at_most("1.0.92", "1.0.81") is False
    assert at_most(None, "1.0.81") is None


def test_every_table_is_in_order_and_names_tested_versions_only() -> None:
    tables = [value for value in vars(facts).values() if isinstance(value, ByVersion)]
    assert tables
    for table in tables:
        bounds = [bound for first, last, _ in table.rows for bound in (first, last)]
        assert set(bounds) <= set(TESTED)
        assert bounds == sorted(bounds, key=TESTED.index)
        for (_, last, _), (first, _, _) in itertools.pairwise(table.rows):
            assert TESTED.index(last) < TESTED.index(first)


@given(st.text(max_size=30))
def test_no_text_breaks_a_look_up(text: str) -> None:
    assert BIND.at(text).certainty in {"observed", "between", "newer", "older", "unknown"}
