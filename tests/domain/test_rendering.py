"""Templates are rendered in a process of their own: what they may do there, and what they may not."""

import pytest

from netd.domain import rendering
from netd.domain.rendering import Wanted, render

HOSTILE = {
    "python": "{{ ''.__class__.__mro__ }}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'x' * 10**10 }}",
    "numbers": "{{ 10 ** (10 ** 10) }}",
    "recursion": "{% include 'recursion' %}",
    "broken": "line one\n{% if %}",
    "unknown": "one\ntwo\n{{ nothing }}",
    "missing": "{% include 'no such' %}",
    "file": "{% include '/etc/passwd' %}",
    "changes": "{{ things.append(1) }}",
    "divides": "{{ 1 / 0 }}",
}


async def test_what_it_renders() -> None:
    sources = {"base": "{% block all %}none{% endblock %}", "own": "{% extends 'base' %}{% block all %}{{ name | upper }} {{ data | tojson }}{% endblock %}"}
    made = await render(sources, [Wanted(template="own", variables={"name": "oslo", "data": {"a": [1, "ä"]}}), Wanted(template="base", variables={})])
    assert [(each.text, each.error) for each in made] == [('OSLO {"a": [1, "ä"]}', None), ("none", None)]
    assert await render({}, []) == []


@pytest.mark.parametrize("name", sorted(HOSTILE))
async def test_what_it_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "SECONDS", 0.8)
    bad, good = await render({**HOSTILE, "fine": "fine"}, [Wanted(template=name, variables={"things": []}), Wanted(template="fine", variables={})])
    assert bad.text is None and bad.error
    if name in ("loops", "numbers"):  # ended: what stood behind it was not rendered either
        assert good.error == "the template was not done in 0.8 s"
    else:
        assert good.text == "fine"


async def test_where_it_is_wrong() -> None:
    made = await render(HOSTILE, [Wanted(template=name, variables={}) for name in ("broken", "unknown", "no such")])
    assert made[0].error is not None and made[0].error.startswith("broken, line 2: ")
    assert made[1].error == "unknown, line 3: 'nothing' is undefined"
    assert made[2].error is not None and "no such" in made[2].error
