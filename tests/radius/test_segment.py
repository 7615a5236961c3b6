"""The journal's octets: whatever happens to them, what was written before the damage is read, and nothing is read that was not written."""

import uuid
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from netd.model.accounting import Record
from netd.radius.record import AccountingSwitch
from netd.radius.segment import HEAD, MARK, NAMES, Header, Item, decode_header, decode_payload, decode_records, encode_header, encode_record

KEY = bytes(range(16))


def record(number: int = 1, **more: object) -> Record:
    values: dict[str, object] = {
        "acctuniqueid": f"{number:032x}", "tenant_id": 1, "nas_id": 2, "subscriber_id": None, "acctsessionid": f"s{number}", "username": "älice@example.net",
        "nasipaddress": "192.0.2.1", "nassourceaddress": "192.0.2.1", "kind": "start", "event_at": 1.5e9, "exact": True, "heard_at": 1.5e9 + 0.25,
        "acctinputoctets": 2**55,
    }  # fmt: skip
    return Record(**values | more)  # type: ignore[arg-type]


SWITCH = AccountingSwitch(7, "192.0.2.9", None, "bras", 1.6e9, "NAS-Reboot")


items = st.one_of(
    st.builds(record, st.integers(0, 2**64), username=st.text(max_size=253), class_=st.none() | st.sampled_from(["\xa7rec", "netd1:a:1:b"])),
    st.just(SWITCH),
)


def segment(written: list[Item]) -> tuple[bytes, list[tuple[int, bytes, int]]]:
    """A segment with these records, and what must be read from it: sequence, payload, end."""
    data = encode_header(Header(journal=str(uuid.UUID(bytes=KEY)), node="n", made_at=1.0, names=NAMES))
    expected = []
    for sequence, item in enumerate(written, 1):
        octets = encode_record(KEY, sequence, item)
        data += octets
        expected.append((sequence, octets[HEAD:], len(data)))
    return data, expected


@settings(deadline=None)
@given(st.lists(items, max_size=6))
def test_what_is_written_is_read(written: list[Item]) -> None:
    data, expected = segment(written)
    found = decode_header(data)
    assert found is not None
    header, start = found
    assert list(decode_records(data, start, KEY)) == expected
    assert [decode_payload(header.names, payload) for _, payload, _ in expected] == written


@settings(deadline=None)
@given(st.lists(items, min_size=1, max_size=6), st.data())
def test_a_cut_at_any_octet_loses_only_what_it_cuts(written: list[Item], data: st.DataObject) -> None:
    octets, expected = segment(written)
    cut = data.draw(st.integers(0, len(octets)))
    found = decode_header(octets[:cut])
    if found is not None:
        assert list(decode_records(octets[:cut], found[1], KEY)) == [each for each in expected if each[2] <= cut]
    else:
        assert cut < expected[0][2], "a whole header is read"


@settings(deadline=None)
@given(st.lists(items, min_size=1, max_size=6), st.data())
def test_damage_anywhere_costs_what_it_touches_and_invents_nothing(written: list[Item], data: st.DataObject) -> None:
    octets, expected = segment(written)
    start = decode_header(octets)[1]  # type: ignore[index]
    at = data.draw(st.integers(start, len(octets) - 1))
    damage = data.draw(st.binary(max_size=80) | st.just(octets[start : start + 60]) | st.just(bytes(300)))
    gone = data.draw(st.integers(0, 400))
    broken = octets[:at] + damage + octets[at + gone :]
    read = [(sequence, payload) for sequence, payload, _ in decode_records(broken, start, KEY)]
    true = [(sequence, payload) for sequence, payload, _ in expected]
    before = [(sequence, payload) for sequence, payload, end in expected if end <= at]
    behind = [(sequence, payload) for sequence, payload, end in expected if end - len(payload) - HEAD >= at + gone]
    assert read[: len(before)] == before
    assert set(read) <= set(true)
    assert set(behind) <= set(read), "records behind the damage are found again"


@settings(deadline=None)
@given(st.binary(max_size=300), st.lists(st.tuples(st.just(MARK), st.binary(max_size=40)), max_size=5))
def test_arbitrary_octets_are_no_records(noise: bytes, marks: list[tuple[bytes, bytes]]) -> None:
    data = noise + b"".join(mark + rest for mark, rest in marks)
    assert list(decode_records(data, 0, KEY)) == []
    assert decode_header(data) is None
    decode_payload(NAMES, noise)


def test_records_of_another_journal_are_none_of_this_one() -> None:
    assert list(decode_records(encode_record(bytes(16), 1, record()), 0, KEY)) == []


def test_another_version_with_more_and_fewer_members() -> None:
    data = encode_record(KEY, 1, record())
    older = tuple(name if name != "realm" else "a_member_of_another_version" for name in NAMES[0])
    assert decode_payload((older, NAMES[1]), data[HEAD:]) == record(), "what is not known is left out, what is missing has its default"
    needed = tuple(name if name != "username" else "user" for name in NAMES[0])
    assert decode_payload((needed, NAMES[1]), data[HEAD:]) is None
    assert decode_payload((NAMES[0][:-1], NAMES[1]), data[HEAD:]) is None


def test_a_journal_of_the_first_release_is_read() -> None:
    """If this fails, a member of Record or AccountingSwitch was renamed, removed, or added without a default: an upgrade during an outage loses records."""
    data = (Path(__file__).parent / "first_release.journal").read_bytes()
    header, start = decode_header(data)  # type: ignore[misc]
    read = [decode_payload(header.names, payload) for _, payload, _ in decode_records(data, start, uuid.UUID(header.journal).bytes)]
    assert read == [record(1, class_="netd1:a:1:b", framedipaddress="100.64.0.1"), SWITCH]
