"""What ``/metrics`` shows. Hot code counts in plain integers; they become Prometheus series only when somebody scrapes.

A scrape reads memory only: no collector here or registered here may touch the database or a device.
"""

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

SERIES_AT_ONCE = 100
"""Series of one piece of the page: one or two milliseconds. A thousand NAS have tens of thousands."""

log = logging.getLogger(__name__)

Key = str | tuple[str, ...]
"""Label values of one series: a string for one label, a tuple for several, ``()`` for none."""

Values = float | Mapping[Any, float]
Read = Callable[[], Values]
"""Returns a value from memory: a number where there are no labels, else a number for each Key."""


Family = CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily


class _Kept(NamedTuple):
    """A family: how an empty one is made, what its series are, and their labels."""

    make: Callable[[], Family]
    read: Read
    labels: Sequence[str]


class Counts(dict[Key, int]):
    """A counter: ``counts[key] += 1``, at the price of a dict."""

    __slots__ = ()

    def __missing__(self, key: Key) -> int:
        return 0


class Metrics:
    """All series of this process, in a registry of their own. Names are given in full, counters without ``_total``."""

    def __init__(self, version: str, now: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._families: dict[str, _Kept] = {}
        self._errors = self.counter("netd_scrape_errors", "Scrapes in which a series could not be read", ("metric",))
        started = now()
        self.gauge("netd_uptime_seconds", "Seconds since the start", lambda: now() - started)
        build = {"version": version, "python": platform.python_version()}
        self._add("netd_build", lambda: InfoMetricFamily("netd_build", "What is running", build), dict, ())
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counts:
        """Add a counter and return what to count in; a counter without labels starts at 0, others show what was counted."""
        counts = Counts() if labels else Counts({(): 0})
        self.counter_of(name, help, lambda: counts, labels)
        return counts

    def counter_of(self, name: str, help: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Add a counter that somebody else keeps."""
        self._add(name, lambda: CounterMetricFamily(name, help, labels=labels), read, labels)

    def gauge(self, name: str, help: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Add a gauge whose value ``read`` returns at each scrape."""
        self._add(name, lambda: GaugeMetricFamily(name, help, labels=labels), read, labels)

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type, in the format that the ``Accept`` header asks for."""
        pieces, content_type = self.pieces(accept)
        return b"".join(pieces), content_type

    def pieces(self, accept: str = "") -> tuple[Iterator[bytes], str]:
        """``render`` bit by bit, each a millisecond or two, so that a page of thousands of NAS does not hold the loop."""
        encode, content_type = choose_encoder(accept)
        return self._pieces(encode), content_type

    def _pieces(self, encode: Callable[[Collector], bytes]) -> Iterator[bytes]:
        end = encode(_Only())  # OpenMetrics has a last line
        for name, family in list(self._families.items()):
            try:
                yield from _encoded(family, lambda metric: encode(_Only(metric)).removesuffix(end))
            except Exception:  # barrier: one series that cannot be read must not hide all others
                log.exception("a metric cannot be read", extra={"metric": name})
                self._errors[name] += 1
        yield encode(self.registry)

    def _add(self, name: str, make: Callable[[], Family], read: Read, labels: Sequence[str]) -> None:
        if name in self._families:
            raise ValueError(f"there is a metric {name} already")
        Metric(name, "", "unknown")  # refuses a bad name here, not at the scrape
        self._families[name] = _Kept(make, read, labels)


class _Only(Collector):
    """A registry of the metrics given."""

    def __init__(self, *metrics: Metric) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def _encoded(family: _Kept, encode: Callable[[Metric], bytes]) -> Iterator[bytes]:
    """A family's text in pieces; only the first has its description."""
    value = family.read()
    series: list[tuple[Key, float]] = list(value.items()) if isinstance(value, Mapping) else [((), value)]
    head = len(encode(family.make())) if len(series) > SERIES_AT_ONCE else 0
    for start in range(0, len(series) or 1, SERIES_AT_ONCE):
        text = encode(_filled(family.make(), series[start : start + SERIES_AT_ONCE], family.labels))
        yield text[head:] if start else text


def _filled(family: Family, series: Sequence[tuple[Key, float]], labels: Sequence[str]) -> Family:
    for key, number in series:
        # A label may hold a peer's bytes: lone surrogates would make the page unencodable.
        values = [str(value).encode("utf-8", "backslashreplace").decode() for value in ((key,) if isinstance(key, str) else key)]
        if len(values) != len(labels):
            raise ValueError(f"{family.name}: {key!r} does not fit the labels {tuple(labels)!r}")
        family.add_metric(values, number)  # type: ignore[arg-type]  # an info family has no series of its own here
    return family
