"""No form of a secret that programs and devices commonly make of it gets through."""

import base64
import json
import re
import time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netd.domain.redact import FEW, MASK, Redactor

SECRET = 'pä$$ "wörd"/+~9\\x'


@pytest.mark.parametrize(
    "written",
    [
        lambda s: s, json.dumps, lambda s: json.dumps(s, ensure_ascii=False), quote, lambda s: quote(s, safe=""), quote_plus,
        lambda s: base64.b64encode(s.encode()).decode(), lambda s: base64.urlsafe_b64encode(s.encode()).decode(),
    ],
)  # fmt: skip
def test_forms(written):
    text = Redactor([SECRET]).text(f"before {written(SECRET)} after")
    assert "***" in text and text.startswith("before ") and text.endswith(" after")
    assert written(SECRET)[4:10] not in text


@settings(max_examples=50)
@given(st.text(min_size=6, max_size=40), st.binary(max_size=10), st.binary(max_size=10))
def test_base64_of_more_than_the_secret(secret: str, before: bytes, behind: bytes):
    """``user:password`` of HTTP Basic: what is left of the secret's own characters are those that it shares with its neighbours, three at the most."""
    data = before + secret.encode("utf-8", "surrogatepass") + behind
    if len(secret.encode("utf-8", "surrogatepass")) < 6 or any(len(line) < 6 for line in secret.splitlines()):
        return
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(data).decode()
        kept = Redactor([secret]).text(text)
        assert "***" in kept
        assert len(kept.replace("***", "").rstrip("=")) <= (len(before) + len(behind)) * 8 // 6 + 3


def test_values_and_what_is_learned_later():
    redactor = Redactor()
    assert redactor.value({"a": ["hunter2x"]}) == {"a": ["hunter2x"]}
    redactor.add(["hunter2x", "abc", "two\nlines"])
    assert redactor.value({"hunter2x": ["x hunter2x", 7, None, ("lines",)], "b": {"c": "abc"}}) == {"***": ["x ***", 7, None, ["***"]], "b": {"c": "abc"}}
    assert redactor.text("hunter2xhunter2x") == "******"
    redactor.add(["hunter2xx"])
    assert redactor.text("hunter2xx") == "***"  # the longest first: no end of it is left


@settings(deadline=None)
@given(st.lists(st.text("abcd", min_size=4, max_size=8), min_size=1, max_size=30), st.text("abcd ", max_size=60))
def test_many_secrets_are_taken_out_as_few_are(secrets: list[str], text: str):
    """Beyond some forms they are looked for in another way, which finds the same."""
    few, many = Redactor(), Redactor([f"another secret {number}" for number in range(FEW)])
    few.add(secrets)
    many.add(secrets)
    expected = re.sub(
        "|".join(
            sorted({re.escape(form) for found in few._by_head.values() for forms in found.values() for form in forms}, key=lambda form: (-len(form), form))
        ),
        "***",
        text,
    )
    assert few.text(text) == many.text(text) == expected


def test_thousands_of_secrets():
    """Each device may have its own, and a job may be at all devices."""
    redactor, begun = Redactor(), time.process_time()
    for number in range(3000):
        redactor.add([f"secret of device {number}"])
        redactor.text("one line")
    assert redactor.text("the secret of device 2999, and of device 3000") == "the ***, and of device 3000"
    assert time.process_time() - begun < 10, "one more costs as much as all before it"


def test_a_secret_that_is_learned_while_another_thread_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job hides what it reads of one device while what another said is looked at."""
    redactor = Redactor(["canary-one"])
    made = re.compile

    def compiled(*arguments: Any) -> re.Pattern[str]:
        monkeypatch.undo()
        pattern = made(*arguments)
        redactor.add(["canary-two"])
        return pattern

    monkeypatch.setattr(re, "compile", compiled)
    assert redactor.text("canary-one") == MASK
    assert redactor.text("canary-one canary-two") == f"{MASK} {MASK}"
