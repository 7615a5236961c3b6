"""Templates are rendered in a process of their own: what they may do there, and what they may not."""

import asyncio
import resource
from collections.abc import Mapping, Sequence

import pytest

from netd.domain import rendering
from netd.domain.rendering import PATIENCE, Patience, Rendered, Renderer, Wanted
from netd.errors import Conflict, TooOften

DAEMONS = dict(PATIENCE)
"""As it is for the daemon; tests have more."""

HOSTILE = {
    "python": "{{ ''.__class__.__mro__ }}",
    "loops": "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "memory": "{{ 'x' * 10**10 }}",
    "numbers": "{{ 10 ** (10 ** 10) }}",
    "sums": "{{ ([10 ** 100000] * 10 ** 7) | sum }}",
    "recursion": "{% include 'recursion' %}",
    "broken": "line one\n{% if %}",
    "unknown": "one\ntwo\n{{ nothing }}",
    "missing": "{% include 'no such' %}",
    "file": "{% include '/etc/passwd' %}",
    "changes": "{{ things.append(1) }}",
    "divides": "{{ 1 / 0 }}",
    "names": "{% include 'x' * 40000000 %}",
    "long names": "{% include 'x' * 100000 %}",
}


async def render(sources: Mapping[str, str], wanted: Sequence[Wanted]) -> list[Rendered]:
    return await Renderer().render("work", sources, wanted)


async def test_what_it_renders() -> None:
    sources = {"base": "{% block all %}none{% endblock %}", "own": "{% extends 'base' %}{% block all %}{{ name | upper }} {{ data | tojson }}{% endblock %}"}
    made = await render(sources, [Wanted(template="own", variables={"name": "oslo", "data": {"a": [1, "ä"]}}), Wanted(template="base", variables={})])
    assert [(each.text, each.error) for each in made] == [('OSLO {"a": [1, "ä"]}', None), ("none", None)]
    assert await render({}, []) == []


@pytest.mark.parametrize("name", sorted(HOSTILE))
async def test_what_it_refuses(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nobody else's text: what stands behind it is rendered all the same."""
    real = rendering._process

    async def process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
        hostile = wanted[0].template == name  # a process that renders the other one only has all the time that a busy machine may need
        with monkeypatch.context() as brief:
            brief.setattr(rendering, "TEXT_CPU_SECONDS", 0.3 if hostile else 60.0)
            brief.setattr(rendering, "KILLED_CPU_SECONDS", 0.6 if hostile else 60.0)
            return await real(sources, wanted, patience, until)

    monkeypatch.setattr(rendering, "_process", process)
    bad, good = await render({**HOSTILE, "fine": "fine"}, [Wanted(template=name, variables={"things": []}), Wanted(template="fine", variables={})])
    assert bad.text is None and bad.error and len(bad.error) <= rendering.ERROR_MOST + 1 and not bad.late
    assert good == Rendered(text="fine")


@pytest.mark.parametrize("name", ["loops", "sums"])
async def test_a_template_has_its_processor_time_however_long_others_wait_for_it(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With sums the interpreter itself is at it and sees no signal. Each text costs all its time: a few are tried, and it is told which they are."""
    monkeypatch.setattr(rendering, "TEXT_CPU_SECONDS", 0.5)
    monkeypatch.setattr(rendering, "KILLED_CPU_SECONDS", 0.6)
    monkeypatch.setitem(PATIENCE, "look", Patience(60.0, 240.0, 0))
    order = [*[name] * 2, "fine", *[name] * 18]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    made = await Renderer().render("look", {**HOSTILE, "fine": "fine"}, [Wanted(template=each, variables={}) for each in order])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    told = f"{name}: uses more than 0.5 s of processor time"
    assert [each.text or each.error for each in made] == ["fine" if each == "fine" else told for each in order]
    assert not any(each.late for each in made)
    assert after.ru_utime - before.ru_utime < 6.0, "all twenty of them were tried"


async def test_a_template_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each text of it costs all its time: a few are tried."""
    tried = 0

    async def process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
        nonlocal tried
        tried += 1
        made = next((place for place, each in enumerate(wanted) if each.template == "hangs"), len(wanted))
        return [Rendered(text=each.template) for each in wanted[:made]], Rendered(error="hung")

    monkeypatch.setattr(rendering, "_process", process)
    order = ["hangs", "fine", *["hangs"] * 50, "fine"]
    made = await render({}, [Wanted(template=name, variables={}) for name in order])
    assert [each.text or each.error for each in made] == ["hung" if name == "hangs" else "fine" for name in order]
    assert tried == rendering.GIVEN_UP + 1


async def test_how_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who look hold up no job, and neither holds up a device that boots."""
    running: list[str] = []
    most: dict[str, int] = {}
    over = asyncio.Event()

    async def process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
        purpose = wanted[0].template
        running.append(purpose)
        most[purpose] = max(most.get(purpose, 0), running.count(purpose))
        most["all"] = max(most.get("all", 0), len(running))
        await over.wait()
        running.remove(purpose)
        return [Rendered(text="")], Rendered()

    monkeypatch.setattr(rendering, "_process", process)
    renderer = Renderer()
    waiting = []
    for purpose in ("look", "work", "boot"):
        waiting += [asyncio.ensure_future(renderer.render(purpose, {}, [Wanted(template=purpose, variables={})])) for _ in range(10)]
        for _ in range(50):  # nothing of this waits for anybody but the others
            await asyncio.sleep(0)
    over.set()
    await asyncio.gather(*waiting)
    assert most["look"] == 1 and 1 <= most["work"] <= 2 and most["boot"] == 2 and most["all"] == 4


async def test_who_looks_is_told_to_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "WAITS_SECONDS", 0.01)
    monkeypatch.setattr(rendering, "TEXT_CPU_SECONDS", 0.5)
    renderer = Renderer()
    first = asyncio.ensure_future(renderer.render("look", HOSTILE, [Wanted(template="loops", variables={})]))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="try again"):
        await renderer.render("look", HOSTILE, [Wanted(template="divides", variables={})])
    assert (await first)[0].error


async def test_who_waits_for_a_turn_loses_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A street has its power back: all of its devices want their files at once."""
    left: list[float] = []

    async def process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
        left.append(until - asyncio.get_running_loop().time())
        await asyncio.sleep(0.1)
        return [Rendered(text="")], Rendered()

    monkeypatch.setattr(rendering, "_process", process)
    monkeypatch.setitem(PATIENCE, "boot", Patience(0.2, 0.2, 5))
    renderer = Renderer()
    made = await asyncio.gather(*(renderer.render("boot", {}, [Wanted(template="", variables={})]) for _ in range(8)))
    assert [each[0].error for each in made] == [None] * 8
    assert len(left) == 8 and min(left) > 0  # the last two have waited for longer than they may take


async def test_a_device_that_waits_too_long_may_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    over = asyncio.Event()

    async def process(sources: Mapping[str, str], wanted: Sequence[Wanted], patience: Patience, until: float) -> tuple[list[Rendered], Rendered]:
        await over.wait()
        return [Rendered(text="")], Rendered()

    monkeypatch.setattr(rendering, "WAITS_SECONDS", 0.01)
    monkeypatch.setattr(rendering, "_process", process)
    renderer = Renderer()
    busy = [asyncio.ensure_future(renderer.render("boot", {}, [Wanted(template="", variables={})])) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(TooOften):
        await renderer.render("boot", {}, [Wanted(template="", variables={})])
    over.set()
    assert [each[0].text for each in await asyncio.gather(*busy)] == ["", ""]


async def test_what_a_busy_machine_does_not_do_in_time_is_no_fault_of_the_template(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PATIENCE, "work", Patience(0.001, 60.0, 0))
    (made,) = await render({"fine": "fine"}, [Wanted(template="fine", variables={})])
    assert made.late and "not done in" in str(made.error)


async def test_a_template_sees_none_that_is_hidden() -> None:
    (made,) = await render({"own": "{% include 'south' %}", "south": "secret"}, [Wanted(template="own", variables={}, hidden=("south",))])
    assert made.text is None and "south" in str(made.error) and "secret" not in str(made.error)


async def test_it_yields_to_all_else() -> None:
    assert all(each.nice > 0 for each in DAEMONS.values()) and DAEMONS["look"].nice == DAEMONS["work"].nice == 19
    assert DAEMONS["look"].text_seconds < DAEMONS["boot"].text_seconds


async def test_where_it_is_wrong() -> None:
    made = await render(HOSTILE, [Wanted(template=name, variables={}) for name in ("broken", "unknown", "no such")])
    assert made[0].error is not None and made[0].error.startswith("broken, line 2: ")
    assert made[1].error == "unknown, line 3: 'nothing' is undefined"
    assert made[2].error is not None and "no such" in made[2].error
