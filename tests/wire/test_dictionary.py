"""Dictionaries: what the syntax means, what is refused and where, and that our numbers are those of others."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.errors import ConfigError
from netd.wire.dictionary import Attribute, Dictionary, parse

BASE = """# comment
VENDOR   Acme 9999
ATTRIBUTE Vendor-Specific  26  vsa
ATTRIBUTE Ext-1  241  extended   # trailing comment
ATTRIBUTE Evs-1  241.26  evs
ATTRIBUTE Ext-5  245  long-extended
ATTRIBUTE Tlv    241.9  tlv
ATTRIBUTE Text   1  string
ATTRIBUTE Number 2  integer
"""


def read(text: str) -> Dictionary:
    return parse([("base", BASE), ("more", text)])


def test_attribute_with_everything() -> None:
    found = read("ATTRIBUTE\tTunnel-Password\t0x45\tstring has_tag,encrypt=2\n").attribute("Tunnel-Password")
    assert found == Attribute(name="Tunnel-Password", path=(69,), oid=(69,), type="string", has_tag=True, encrypt=2, secret=True)


def test_flags_may_stand_apart() -> None:
    assert read("attribute X 3 octets[16] secret").attribute("x").size == 16
    found = read("ATTRIBUTE X 3 string has_tag encrypt=2").attribute("X")
    assert (found.has_tag, found.encrypt) == (True, 2)


@pytest.mark.parametrize(
    ("line", "vendor", "path", "oid"),
    [
        ("ATTRIBUTE X 3 octets", 0, (3,), (3,)),
        ("ATTRIBUTE X 241.8 octets", 0, (241, 8), (241, 8)),
        ("ATTRIBUTE X 241.9.2 octets", 0, (241, 9, 2), (241, 9, 2)),
        ("ATTRIBUTE X 26.9999.7 octets", 9999, (7,), (26, 9999, 7)),
        ("ATTRIBUTE X 241.26.9999.7 octets", 9999, (241, 26, 9999, 7), (241, 26, 9999, 7)),
        ("BEGIN-VENDOR Acme\nATTRIBUTE X 7 octets\nEND-VENDOR Acme", 9999, (7,), (26, 9999, 7)),
        ("BEGIN-VENDOR acme\nATTRIBUTE T 7 tlv\nATTRIBUTE X 7.1 octets\nEND-VENDOR acme", 9999, (7, 1), (26, 9999, 7, 1)),
        ("BEGIN-VENDOR Acme\nATTRIBUTE T 7 tlv\nBEGIN-TLV T\nATTRIBUTE X 1 octets\nEND-TLV T\nEND-VENDOR Acme", 9999, (7, 1), (26, 9999, 7, 1)),
        ("BEGIN-VENDOR Acme format=Evs-1\nATTRIBUTE X 7 octets\nEND-VENDOR Acme", 9999, (241, 26, 9999, 7), (241, 26, 9999, 7)),
        ("BEGIN-VENDOR Acme parent=Evs-1\nATTRIBUTE X 7 octets\nEND-VENDOR Acme", 9999, (241, 26, 9999, 7), (241, 26, 9999, 7)),
        ("BEGIN-TLV Tlv\nATTRIBUTE X 3 octets\nEND-TLV Tlv", 0, (241, 9, 3), (241, 9, 3)),
    ],
)
def test_where_an_attribute_stands(line: str, vendor: int, path: tuple[int, ...], oid: tuple[int, ...]) -> None:
    dictionary = read(line)
    found = dictionary.attribute("X")
    assert (found.vendor, found.path, found.oid) == (vendor, path, oid)
    assert dictionary.by_code(vendor, *path) is found
    assert dictionary.by_oid(oid) is found


def test_names_are_found_in_any_case() -> None:
    dictionary = read("")
    assert dictionary.attribute("TEXT").name == "Text"
    assert "tExt" in dictionary
    assert "Texts" not in dictionary


def test_type_names_of_later_versions() -> None:
    dictionary = read("ATTRIBUTE A 11 text\nATTRIBUTE B 12 uint16\nATTRIBUTE C 13 abinary\nATTRIBUTE D 14 String")
    assert [dictionary.attribute(name).type for name in "ABCD"] == ["string", "short", "octets", "string"]


def test_values_may_come_first_and_the_last_name_of_a_number_is_shown() -> None:
    found = read("VALUE Kind One 1\nVALUE Kind Uno 0x01\nATTRIBUTE Kind 3 byte\nVALUE kind Two 2").attribute("Kind")
    assert found.values == {"One": 1, "Uno": 1, "Two": 2}
    assert found.names == {1: "Uno", 2: "Two"}


@pytest.mark.parametrize(
    ("text", "form"),
    [("", (1, 1, False)), ("format=2,1", (2, 1, False)), ("format=2,2", (2, 2, False)), ("format=4,0", (4, 0, False)), ("format=1,1,c", (1, 1, True))],
)
def test_vendor_formats(text: str, form: tuple[int, int, bool]) -> None:
    vendor = read(f"VENDOR Other 65535 {text}").vendors[65535]
    assert (vendor.type_octets, vendor.length_octets, vendor.continuation) == form


def test_a_later_definition_counts_and_keeps_the_values() -> None:
    dictionary = read("VALUE Number One 1\nATTRIBUTE Number 2 short\nATTRIBUTE Other-Name 2 short")
    assert dictionary.attribute("Number").type == "short"
    assert dictionary.attribute("Number").values == {"One": 1}
    decoded = dictionary.by_code(0, 2)
    assert decoded is not None
    assert decoded.name == "Other-Name"


def test_raw_names() -> None:
    dictionary = read("")
    assert dictionary.attribute("Attr-99").oid == (99,)
    assert dictionary.attribute("attr-241.8").oid == (241, 8)
    assert dictionary.attribute("Attr-241.26.9.3").oid == (241, 26, 9, 3)
    assert dictionary.attribute("Vendor-9-Attr-3").oid == (26, 9, 3)
    assert dictionary.attribute("Vendor-9-Attr-3").vendor == 9
    assert dictionary.attribute("Attr-26.9.3").name == "Vendor-9-Attr-3"


@pytest.mark.parametrize("name", ["Nothing", "", "Attr-256", "Attr-1.2", "Attr-242.1", "Vendor-0-Attr-1", "Vendor-9-Attr-256", "Attr-26.9", "Attr-", "Attr-٣"])
def test_unknown_names(name: str) -> None:
    with pytest.raises(LookupError):
        read("").attribute(name)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("$INCLUDE other", "$INCLUDE"),
        ("PROTOCOL RADIUS", "unknown keyword PROTOCOL"),
        ("ATTRIBUTE X 3", "ATTRIBUTE takes"),
        ("ATTRIBUTE X three octets", "three is not a number"),
        ("ATTRIBUTE X 3..1 octets", "is not a number"),
        ("ATTRIBUTE X 256 octets", "code 256"),
        ("ATTRIBUTE X 0 octets", "code 0 is reserved"),
        ("ATTRIBUTE X -3 octets", "code -3"),
        ("ATTRIBUTE X 3 nonsense", "unknown type nonsense"),
        ("ATTRIBUTE X 3 integer[4]", "takes no length"),
        ("ATTRIBUTE X 3 octets hidden", "unknown flag hidden"),
        ("ATTRIBUTE X 3 octets encrypt=4", "unknown flag encrypt=4"),
        ("ATTRIBUTE X 3 ipaddr has_tag", "has_tag goes with"),
        ("ATTRIBUTE X 3 string has_tag,encrypt=1", "has_tag goes with"),
        ("ATTRIBUTE X 241.3 octets concat", "concat goes with"),
        ("ATTRIBUTE X 3 octets concat,encrypt=2", "concat goes with no"),
        ("ATTRIBUTE X 3 string array", "array goes with"),
        ("ATTRIBUTE X 3 tlv encrypt=2", "cannot be encrypted"),
        ("ATTRIBUTE X 3 evs", "cannot be of type evs"),
        ("ATTRIBUTE X 241.9.1 extended", "cannot be of type extended"),
        ("ATTRIBUTE X 1.1 octets", "1 is not of a type that holds attributes"),
        ("ATTRIBUTE X 242.1 octets", "242 is not of a type"),
        ("ATTRIBUTE X 241.300 octets", "code 300"),
        ("ATTRIBUTE X 26.1 octets", "26.1 needs a vendor"),
        ("ATTRIBUTE X 26.1.1 octets", "known vendor"),
        ("ATTRIBUTE Text 9 octets", "Text is already defined, with code 1"),
        ("ATTRIBUTE X 241 octets", "already Ext-1"),
        ("ATTRIBUTE X:1 3 octets", "cannot be the name"),
        ("ATTRIBUTE Attr-5 3 octets", "cannot be the name"),
        ("VALUE Number One", "VALUE takes"),
        ("VALUE Nothing One 1", "unknown attribute Nothing"),
        ("VALUE Text One 1", "no named values"),
        ("VALUE Number One one", "one is not a number"),
        ("VALUE Number Much 4294967296", "4294967296 is not in"),
        ("VENDOR Acme 9998", "already vendor 9999"),
        ("VENDOR Acme", "VENDOR takes"),
        ("VENDOR Other 0", "vendor 0"),
        ("VENDOR Other 9999 format=2,1", "another format"),
        ("VENDOR Other 9 format=3,1", "not a format"),
        ("VENDOR Other 9 format=2,1,c", "not a format"),
        ("BEGIN-VENDOR Nobody", "unknown vendor Nobody"),
        ("BEGIN-VENDOR Acme format=Text", "does not name"),
        ("BEGIN-TLV Text", "BEGIN-TLV takes"),
        ("END-VENDOR Acme", "closes nothing"),
    ],
)
def test_faults_name_their_line(line: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"# first\n\n{line}\nATTRIBUTE Last 200 octets\n")
    assert (caught.value.source, caught.value.key) == ("more", "line 3")
    assert reason in caught.value.reason


def test_faults_of_blocks() -> None:
    with pytest.raises(ConfigError, match=r"END-VENDOR Acme is needed first"):
        read("BEGIN-VENDOR Acme\nEND-VENDOR Other")
    with pytest.raises(ConfigError, match="BEGIN-VENDOR Acme has no END-VENDOR"):
        read("BEGIN-VENDOR Acme\n")
    with pytest.raises(ConfigError, match="outside any other block"):
        read("BEGIN-VENDOR Acme\nBEGIN-VENDOR Acme")
    with pytest.raises(ConfigError, match="One is already 1"):
        read("VALUE Number One 1\nVALUE Number One 2")


FRAGMENTS = (
    "ATTRIBUTE VALUE VENDOR BEGIN-VENDOR END-VENDOR BEGIN-TLV END-TLV $INCLUDE Acme Text Tlv X Y 1 26 0x1f 26.9999.1 241.9.1 241.26 string integer tlv "
    "octets[3] evs vsa has_tag encrypt=2 array concat format=2,1 format=Evs-1 # 99999999999999999999999999"
)
WORDS = st.sampled_from(FRAGMENTS.split())


@settings(max_examples=400, deadline=None)
@given(st.lists(st.lists(WORDS | st.text(max_size=5), max_size=6).map(" ".join), max_size=12).map("\n".join) | st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        dictionary = read(text)
    except ConfigError as error:
        assert error.key.startswith("line ")
    else:
        assert all(dictionary.layers(attribute) for attribute in dictionary)


def test_ours_are_complete(dictionary: Dictionary) -> None:
    assert len(dictionary) > 600
    for name, code in {"User-Name": 1, "Framed-IPv6-Prefix": 97, "Delegated-IPv6-Prefix": 123, "Error-Cause": 101, "Acct-Output-Gigawords": 53}.items():
        assert dictionary.attribute(name).oid == (code,)
    for vendor in (9, 311, 2011, 2352, 2636, 3561, 3902, 4874, 6527, 10415, 14122, 14559, 14988):
        assert vendor in dictionary.vendors
    assert dictionary.attribute("MS-MPPE-Send-Key").encrypt == 2
    assert dictionary.attribute("MS-CHAP-MPPE-Keys").encrypt == 1
    assert dictionary.attribute("EAP-Message").concat


# Where we know better than, or more than, the dictionaries of FreeRADIUS 3.2.
KNOWN_BETTER = {"3GPP-IPv6-DNS-Servers": "TS 29.061: a list of addresses", "MS-MPPE-Encryption-Types": "RFC 2548 2.4.4: bits 2 and 4"}


def test_numbers_are_those_of_freeradius(require_peer: Callable[[str], str], sources: list[tuple[str, str]]) -> None:
    require_peer("radclient")
    theirs = _freeradius(["microsoft", "ericsson.ab", "chillispot", "wispr", "3gpp"])
    ours = parse(source for source in sources if "/" not in source[0])
    compared = 0
    for attribute in ours:
        if attribute.name not in theirs or attribute.name in KNOWN_BETTER:
            continue
        other = theirs.attribute(attribute.name)
        for field in ("oid", "type", "size", "has_tag", "encrypt", "concat", "array"):
            assert getattr(attribute, field) == getattr(other, field), (attribute.name, field)
        for name, number in attribute.values.items():
            assert other.values.get(name, number) == number, (attribute.name, name)
        compared += 1
    assert compared > 350


# Each needs what is not RADIUS (codes above 255), or contradicts the RFCs' dictionaries on purpose.
UNREADABLE = {"cablelabs", "compat", "dhcp", "freedhcp", "freeradius.internal", "iana", "vqp", "ascend.illegal", "usr.illegal", "freeradius.evs5"}


def test_freeradius_files_can_be_dropped_in(require_peer: Callable[[str], str]) -> None:
    require_peer("radclient")
    standard = _files([])
    for path in sorted(FREERADIUS.glob("dictionary.*")):
        if path.name.removeprefix("dictionary.") not in UNREADABLE and not path.name.startswith("dictionary.rfc"):
            parse([*standard, (path.name, path.read_text("utf-8", "replace"))])


FREERADIUS = Path("/usr/share/freeradius")


def _files(vendors: list[str]) -> list[tuple[str, str]]:
    paths = [*sorted(FREERADIUS.glob("dictionary.rfc*")), *(FREERADIUS / f"dictionary.{vendor}" for vendor in vendors)]
    return [(path.name, path.read_text("utf-8", "replace")) for path in paths]


def _freeradius(vendors: list[str]) -> Dictionary:
    return parse(_files(vendors))
