"""Boot profiles: what a template may say, what is left out, what is refused, and what a broken profile disables."""

from pathlib import Path

import pytest

from netd.extensions import Extensions
from netd.model.ztp import ClientIdentity
from netd.sdk.bootstrap import BootOption, Bootstrap, Member, Pattern, Profile, filled, url_variables


def profile(*options: BootOption, **more: object) -> Profile:
    return Profile(Bootstrap(name="x", title="x", evidence="document", made_from=("here",), options=options, **more))  # type: ignore[arg-type]


def seen(**more: object) -> ClientIdentity:
    values: dict[str, object] = {"family": 4, "tenant_id": 1, "subnet_id": 1, "site_id": None, "mac": "", "client_id": b"", "relay": None, **more}
    return ClientIdentity(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("option", "octets"),
    [
        (BootOption(code=1, value="a {url} b"), b"a http://x/ b"),
        (BootOption(code=1, value="{a}, 10.0.0.2", kind="address"), b"\x0a\0\0\1\x0a\0\0\2"),
        (BootOption(code=1, value="{n}", kind="u16"), b"\1\0"),
        (BootOption(code=1, value="{n}", kind="u32"), b"\0\0\1\0"),
        (BootOption(code=1, value="00ff", kind="hex"), b"\0\xff"),
        (BootOption(code=1, value="{url} {url}", kind="uris"), b"\0\x09http://x/\0\x09http://x/"),
        (BootOption(code=1, kind="suboptions", end=True, members=(Member(code=1, value="{url}"), Member(code=2, value="{missing}"))), b"\1\x09http://x/\xff"),
        (BootOption(code=1, kind="vendor", enterprise=9, members=(Member(code=5, value="ab"),)), b"\0\0\0\x09\4\5\2ab"),
    ],
)
def test_values_are_made_of_variables(option: BootOption, octets: bytes) -> None:
    assert profile(option).options({"url": "http://x/", "a": "10.0.0.1", "n": "256"}, (1,)) == [(1, octets)]


def test_what_cannot_be_filled_is_left_out_or_is_no_answer_at_all() -> None:
    optional = BootOption(code=67, value="{url}", always_send=True)
    assert profile(optional).options({}, ()) == []
    assert profile(optional).options({"url": "u"}, ()) == [(67, b"u")]
    assert profile(BootOption(code=67, value="{url}")).options({"url": "u"}, ()) == []
    with pytest.raises(ValueError, match="x needs url for option 67"):
        profile(BootOption(code=67, value="{url}", required=True)).options({"url": ""}, ())
    with pytest.raises(ValueError, match="x needs acs_url for option 43"):
        profile(BootOption(code=43, kind="suboptions", required=True, members=(Member(code=1, value="{acs_url}"),))).options({}, ())


@pytest.mark.parametrize(
    ("option", "variables"),
    [
        (BootOption(code=1, value="{a}"), {"a": "x\ny"}),
        (BootOption(code=1, value="{a}", kind="u16"), {"a": "65536"}),
        (BootOption(code=1, value="{a}", kind="u8"), {"a": "x"}),
        (BootOption(code=1, value="{a}", kind="address"), {"a": "x"}),
        (BootOption(code=1, value="{a}", kind="hex"), {"a": "xx"}),
        (BootOption(code=1, kind="suboptions", members=(Member(code=1, value="{a}"),)), {"a": "x" * 256}),
    ],
)
def test_values_that_do_not_fit_are_refused(option: BootOption, variables: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        profile(option).options(variables, (1,))


@pytest.mark.parametrize(
    "data",
    [
        {"made_from": ()},
        {"matches": (Pattern(field="vendor_class", pattern="("),)},
        {"options": (BootOption(code=43, kind="suboptions"),)},
        {"options": (BootOption(code=43, kind="vendor", members=(Member(code=1, value="x"),)),)},
        {"options": (BootOption(code=67),)},
        {"options": (BootOption(code=67, value="x", members=(Member(code=1, value="x"),)),)},
    ],
)
def test_a_profile_that_cannot_be_used_is_refused(data: dict[str, object]) -> None:
    values: dict[str, object] = {"name": "x", "title": "x", "evidence": "document", "made_from": ("here",), **data}
    with pytest.raises(ValueError):
        Profile(Bootstrap(**values))  # type: ignore[arg-type]


def test_a_template_is_no_program() -> None:
    assert filled("{a} {b}{{c}} %s {0} {a.b}", {"a": "{b}", "b": "1", "c": "2"}) == "{b} 1{2} %s {0} {a.b}"


def test_a_url_in_parts() -> None:
    assert url_variables("") == {}
    parts = url_variables("http://10.0.0.1:8069/a/b.cfg")
    assert (parts["url_server"], parts["url_host"], parts["url_port"], parts["url_path"], parts["url_scheme"]) == (
        "http://10.0.0.1:8069", "10.0.0.1", "8069", "a/b.cfg", "http",
    )  # fmt: skip
    assert url_variables("tftp://h/x")["url_port"] == "69"


def test_facts_and_patterns_see_octets() -> None:
    made = profile(
        matches=(Pattern(field="vendor_options", enterprise=7, pattern=r"\x00(?P<model>.+)"), Pattern(field="user_class", pattern="boot")),
        facts=(Pattern(field="client_id", pattern=r"\xff(?P<serial>.+)"),),
    )  # fmt: skip
    assert made.recognise(seen(vendor_options=((7, b"\0M1"),), client_id=b"\xffS1")) == ("S1", "M1")
    assert made.recognise(seen(vendor_options=((8, b"\0M1"),))) is None
    assert made.recognise(seen(user_classes=(b"other", b"boot"), client_id=b"\xff\1\2")) == ("", "")  # no serial number has control characters
    assert made.recognise(seen(vendor_class=b"boot")) is None


def test_a_broken_profile_disables_its_vendor_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "manifest.toml").write_text(
        'name = "odd"\ntitle = "Odd"\nversion = "1"\napi = 1\ncapabilities = []\n'
        '[[bootstrap]]\nname = "odd"\ntitle = "x"\nevidence = "none"\nmade_from = ["x"]\nmatches = [{ field = "vendor_class", pattern = "(" }]\n'
    )
    found = Extensions.discover([tmp_path])
    assert [error.extension for error in found.broken] == ["odd"]
    assert "is no regular expression" in str(found.broken[0])
    assert "arista_eos" in found.profiles
