"""Texts, addresses and prefixes as people send them."""

import msgspec
import pytest

from netd.domain import inputs
from netd.domain.nas import NasPatch, NewNas
from netd.domain.subscribers import NewSubscriber, SubscriberPatch


@pytest.mark.parametrize("text", ["a", "Home 100", "é", "a" * 64])
def test_label_accepts(text):
    assert msgspec.convert(text, inputs.Label) == text


@pytest.mark.parametrize("text", ["", " a", "a ", "a\n", "a\0b", "\ta", "a\x7f", "a" * 65])
def test_label_refuses(text):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(text, inputs.Label)


def test_note_keeps_lines_but_no_nul():
    assert msgspec.convert("a\nb\tc\r\n", inputs.Note)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert("a\0", inputs.Note)


def test_prefix_with_host_bits_names_the_prefix():
    with pytest.raises(ValueError, match=r"the prefix is 10\.1\.2\.0/24, the single address 10\.1\.2\.3"):
        inputs.prefix("10.1.2.3/24")


@pytest.mark.parametrize(("text", "canonical"), [
    ("10.0.0.1", "10.0.0.1/32"), ("10.0.0.0/8", "10.0.0.0/8"), ("2001:DB8::/32", "2001:db8::/32"), ("::1", "::1/128"),
])  # fmt: skip
def test_prefix(text, canonical):
    assert str(inputs.prefix(text)) == canonical


@pytest.mark.parametrize("text", ["", "10.0.0.256", "10.0.0.0/33", "bras1", "fe80::1%eth0", "::ffff:10.0.0.1", "10.0.0.1/24"])
def test_prefix_refuses(text):
    with pytest.raises(ValueError, match="'"):
        inputs.prefix(text)


def test_no_secret_in_repr():
    values = [
        NewNas(name="n", address="10.0.0.1", secret="hunter22", vendor="v"),
        NasPatch(secret="hunter22"),
        NewSubscriber(username="u", password="hunter22", plan="p"),
        SubscriberPatch(password="hunter22"),
    ]
    assert "hunter22" not in repr(values)
    assert "***" in repr(values[0])
    assert "***" not in repr(NasPatch())
