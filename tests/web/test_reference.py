"""/api/docs: everything is there, nothing comes from elsewhere, and its policy lets nothing else in."""

import re
from html.parser import HTMLParser

import pytest

from netd.web.api import resources
from tests.web.running import Api

VOID = {"meta", "link", "input", "wbr", "br"}


class Reader(HTMLParser):
    """What the page has: ids, links, and tags that were not closed in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.faults: list[str] = []
        self.texts: dict[str, str] = {}  # by id of the operation
        self._inside = ""

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in told:
            self.ids.append(told["id"])
            self._inside = told["id"] if tag == "details" else self._inside
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]
        self.faults += [f"{tag} {name}" for name in told if name.startswith("on") or name == "style"]

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(f"/{tag}")

    def handle_data(self, data):
        self.texts[self._inside] = self.texts.get(self._inside, "") + data
        if self.open and self.open[-1] in ("script", "style") and data.strip():
            self.faults.append("inline " + self.open[-1])


@pytest.fixture
async def page(api: Api) -> Reader:
    answer = await api.get("//api/docs", role=None)
    assert answer.status == 200
    reader = Reader()
    reader.feed(answer.raw.decode())
    reader.close()
    return reader


def test_every_operation_is_shown_with_what_it_needs(page: Reader):
    for route in resources.ROUTES:
        text = page.texts[route.handler.__name__]
        assert route.full_path in text
        assert route.summary.replace("`", "") in text
        assert f"Needs the permission {route.permission}." in text if route.permission else "ny valid token" in text or "no token" in text
        assert re.search(r"curl .*\$NETD_URL/api/v1/", text), text
        assert ("Bearer $NETD_TOKEN" in text) != route.public
        if route.body is not None:
            assert route.body.__name__ in text or "the file as it is" in text


def test_it_is_sound_and_reaches_nothing_outside(page: Reader):
    assert (page.faults, page.open) == ([], [])
    assert len(page.ids) == len(set(page.ids))
    assert {link for link in page.links if not link.startswith("#")} == {"/api/docs/reference.css", "/api/docs/reference.js", "/api/openapi.json"}
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)


@pytest.mark.parametrize("path", ["//api/docs", "//api/docs/reference.css", "//api/docs/reference.js"])
async def test_its_policy(api: Api, path):
    answer = await api.get(path, role=None)
    policy = dict(part.strip().partition(" ")[::2] for part in answer.headers["content-security-policy"].split(";"))
    assert (policy["default-src"], policy["script-src"], policy["style-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'self'", "'none'")
    assert not {"'unsafe-inline'", "'unsafe-eval'"} & set(answer.headers["content-security-policy"].split())
    assert (answer.headers["x-content-type-options"], answer.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert b"http://" not in answer.raw and b"https://" not in answer.raw
    assert re.search(rb"@import|url\(|innerHTML|fetch\(", answer.raw) is None
    assert answer.headers["content-type"].startswith(("text/html", "text/css", "text/javascript"))


async def test_it_comes_small_or_plain(api: Api):
    small = await api.get("//api/docs", role=None, headers={"Accept-Encoding": "gzip"})
    plain = await api.get("//api/docs", role=None, headers={"Accept-Encoding": "identity"})
    assert small.raw == plain.raw, "the client unpacked it"
    assert ("content-encoding" in small.headers, "content-encoding" in plain.headers) == (True, False)
    assert int(small.headers["content-length"]) * 5 < int(plain.headers["content-length"])
