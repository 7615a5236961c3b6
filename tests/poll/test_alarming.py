"""When an alarm is raised and when it is over."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from netd.poll.alarming import Alarming, Rule

AT = datetime(2026, 11, 26, tzinfo=UTC)
HOT = Rule(id=5, name="hot", metric="temperature_celsius", raise_level=70, clear_level=60)


def run(alarming: Alarming, rule: Rule, values: list[float | None], *, device: int = 1, step: float = 60.0) -> list[str]:
    """What each value leads to."""
    return [
        ",".join(change.what for change in alarming.observe(device, rule, [("", value)], number * step, AT)) for number, value in enumerate(values)
    ]  # fmt: skip


def test_hysteresis() -> None:
    assert run(Alarming(lambda device: False), HOT, [65, 71, 65, 61, 60.5, 60, 65, 71]) == ["", "raised", "", "", "", "cleared", "", "raised"]
    weak = Rule(id=6, name="dark", metric="rx_dbm", above=False, raise_level=-27, clear_level=-25)
    assert run(Alarming(lambda device: False), weak, [-20, -28, -26, -25, -26]) == ["", "raised", "", "cleared", ""]


def test_it_must_be_wrong_for_a_while_without_a_break() -> None:
    slow = Rule(id=5, name="hot", metric="x", raise_level=70, clear_level=60, hold_seconds=120)
    assert run(Alarming(lambda device: False), slow, [71, 71, 69, 71, 71, 71]) == ["", "", "", "", "", "raised"]


def test_gaps_change_nothing() -> None:
    slow = Rule(id=5, name="hot", metric="x", raise_level=70, clear_level=60, hold_seconds=120)
    assert run(Alarming(lambda device: False), slow, [None, 71, None, 71, None, None, 50]) == ["", "", "", "raised", "", "", "cleared"]


def test_who_is_behind_one_that_is_down_is_silent() -> None:
    down = {1}
    alarming = Alarming(lambda device: device == 2 and 1 in down)
    assert run(alarming, HOT, [71], device=1) == ["raised"] and run(alarming, HOT, [71, 71], device=2) == ["", ""]
    down.clear()
    assert run(alarming, HOT, [71], device=2) == ["raised"]


def test_subjects_that_are_gone_have_nothing_wrong() -> None:
    alarming = Alarming(lambda device: False)
    assert [each.what for each in alarming.observe(1, HOT, [("a", 80), ("b", 80)], 0, AT)] == ["raised", "raised"] and len(alarming) == 2
    assert [(each.what, each.key) for each in alarming.observe(1, HOT, [("a", 80)], 60, AT)] == [("cleared", (1, 5, "b"))]


def test_thresholds_that_are_gone_end_what_they_raised() -> None:
    alarming = Alarming(lambda device: False)
    run(alarming, HOT, [80])
    alarming.open((1, 0, ""), HOT)
    assert list(alarming.retain({1: [5]}, AT)) == []
    assert [each.key for each in alarming.retain({1: [6]}, AT)] == [(1, 5, "")] and len(alarming) == 1
    alarming.close((1, 0, ""))
    assert len(alarming) == 0


def test_what_was_open_before_is_not_raised_again() -> None:
    alarming = Alarming(lambda device: False)
    alarming.open((1, 5, ""), HOT)
    assert alarming.is_raised((1, 5, "")) and run(alarming, HOT, [80, 65, 60]) == ["", "", "cleared"]
    alarming.open((1, 5, ""), HOT)
    alarming.forget(1)
    assert not alarming.is_raised((1, 5, ""))


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60), st.floats(0, 300))
def test_raised_and_cleared_take_turns(values: list[float | None], hold: float) -> None:
    rule = Rule(id=5, name="hot", metric="x", raise_level=70, clear_level=60, hold_seconds=hold)
    said = [each for each in run(Alarming(lambda device: False), rule, values) if each]
    assert said == [("raised", "cleared")[number % 2] for number in range(len(said))]
