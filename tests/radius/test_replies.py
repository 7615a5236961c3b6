"""Duplicate detection: what counts as the same request, for how long, and how much memory it may take."""

import pytest

from netd.radius.replies import IN_WORK, Replies

KEY = b"192.0.2.1 port 40000 7"
OTHER = b"192.0.2.1 port 40001 7"
FIRST, SECOND = b"a" * 16, b"b" * 16


@pytest.fixture
def replies() -> Replies:
    made = Replies(10.0)
    made.turn(1000.0)
    return made


def test_a_request_is_known_by_source_identifier_and_authenticator(replies: Replies) -> None:
    replies.put(KEY, FIRST, b"answer")
    assert replies.find(KEY, FIRST) == b"answer"
    assert replies.find(KEY, SECOND) is None, "a new request under an old identifier is new"
    assert replies.find(OTHER, FIRST) is None
    assert replies.find(KEY[:-1] + b"8", FIRST) is None


def test_in_work_is_not_the_same_as_unknown(replies: Replies) -> None:
    replies.put(KEY, FIRST, IN_WORK)
    found = replies.find(KEY, FIRST)
    assert found is not None
    assert not found
    replies.finish(KEY, FIRST, b"answer")
    assert replies.find(KEY, FIRST) == b"answer"


def test_a_late_answer_does_not_take_the_place_of_a_newer_request(replies: Replies) -> None:
    replies.put(KEY, FIRST, IN_WORK)
    replies.put(KEY, SECOND, IN_WORK)
    replies.finish(KEY, FIRST, b"too late")
    assert replies.find(KEY, SECOND) == IN_WORK
    assert replies.find(KEY, FIRST) is None


def test_an_answer_that_comes_after_its_request_was_forgotten_is_kept(replies: Replies) -> None:
    replies.put(KEY, FIRST, IN_WORK)
    replies.turn(1011.0)
    replies.turn(1022.0)
    assert replies.find(KEY, FIRST) is None
    replies.finish(KEY, FIRST, b"answer")
    assert replies.find(KEY, FIRST) == b"answer"


@pytest.mark.parametrize(("wait", "known"), [(0.0, True), (9.9, True), (10.0, True), (19.9, True), (20.0, False), (500.0, False)])
def test_an_answer_lives_between_one_and_two_terms(wait: float, known: bool) -> None:
    replies = Replies(10.0)
    replies.turn(1000.0)
    replies.put(KEY, FIRST, b"answer")  # at the beginning of a term: the case that could be forgotten first
    for tenth in range(int(wait * 10) + 1):  # woken up often, as under load
        replies.turn(1000.0 + tenth / 10)
    assert (replies.find(KEY, FIRST) is not None) is known
    idle = Replies(10.0)
    idle.turn(1000.0)
    idle.put(KEY, FIRST, b"answer")
    idle.turn(1000.0 + wait)  # not woken up in between
    assert (idle.find(KEY, FIRST) is not None) is known


def test_an_answer_of_the_end_of_a_term_outlives_it_for_a_whole_term() -> None:
    replies = Replies(10.0)
    replies.turn(1000.0)
    replies.put(KEY, FIRST, b"answer")
    replies.turn(1010.0)
    replies.put(OTHER, FIRST, b"other")
    replies.turn(1019.9)
    assert replies.find(KEY, FIRST) == b"answer"
    replies.turn(1020.0)
    assert replies.find(KEY, FIRST) is None
    assert replies.find(OTHER, FIRST) == b"other"


def test_what_is_finished_in_the_next_term_counts_from_then(replies: Replies) -> None:
    replies.put(KEY, FIRST, IN_WORK)
    replies.turn(1011.0)
    replies.finish(KEY, FIRST, b"answer")
    replies.turn(1022.0)
    assert replies.find(KEY, FIRST) == b"answer", "the newer entry, not the older one that says IN_WORK"


def test_a_request_that_was_given_up_is_new_again(replies: Replies) -> None:
    replies.put(KEY, FIRST, IN_WORK)
    replies.turn(1011.0)
    replies.forget(KEY, FIRST)
    assert replies.find(KEY, FIRST) is None
    replies.put(KEY, SECOND, b"answer")
    replies.forget(KEY, FIRST)
    assert replies.find(KEY, SECOND) == b"answer", "another request has the identifier now"
    replies.forget(OTHER, FIRST)


def test_a_flood_shortens_the_memory_instead_of_filling_it() -> None:
    replies = Replies(10.0, most=100)
    for number in range(1000):
        if number % 10 == 0:
            replies.turn(1000.0)
        replies.put(number.to_bytes(4, "big"), FIRST, b"answer")
        assert len(replies) <= 230
    assert replies.find((999).to_bytes(4, "big"), FIRST) == b"answer"


def test_what_is_forgotten_is_freed_little_by_little() -> None:
    """Freed at once, a busy server's last term holds the loop for tens of milliseconds."""
    replies = Replies(10.0)
    replies.turn(1000.0)
    for number in range(1_000):
        replies.put(number.to_bytes(4, "big"), FIRST, b"answer")
    replies.turn(1010.0)
    replies.turn(1020.0)
    assert replies.find((7).to_bytes(4, "big"), FIRST) is None
    left = [len(replies._gone)]
    while left[-1]:
        replies.turn(1020.0)
        left.append(len(replies._gone))
    assert left == [800, 600, 400, 200, 0]
