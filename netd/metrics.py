"""What ``/metrics`` shows. Hot code counts in plain integers; they become Prometheus series only when somebody scrapes.

A scrape reads memory only: no collector here or registered here may touch the database or a device.
"""

import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

Key = str | tuple[str, ...]
"""Label values of one series: a string for one label, a tuple for several, ``()`` for none."""

Values = float | Mapping[Any, float]
Read = Callable[[], Values]
"""Returns a value from memory: a number where there are no labels, else a number for each Key."""


class Counts(dict[Key, int]):
    """A counter: ``counts[key] += 1``, at the price of a dict."""

    __slots__ = ()

    def __missing__(self, key: Key) -> int:
        return 0


class Metrics:
    """All series of this process, in a registry of their own. Names are given in full, counters without ``_total``."""

    def __init__(self, version: str, now: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry()
        self._families: dict[str, Callable[[], Metric]] = {}
        self._errors = self.counter("netd_scrape_errors", "Scrapes in which a series could not be read", ("metric",))
        started = now()
        self.gauge("netd_uptime_seconds", "Seconds since the start", lambda: now() - started)
        build = {"version": version, "python": platform.python_version()}
        self._add("netd_build", lambda: InfoMetricFamily("netd_build", "What is running", build))
        self.registry.register(_Families(self._families, self._errors))
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)

    def counter(self, name: str, help: str, labels: Sequence[str] = ()) -> Counts:
        """Add a counter and return what to count in; a counter without labels starts at 0, others show what was counted."""
        counts = Counts() if labels else Counts({(): 0})
        self.counter_of(name, help, lambda: counts, labels)
        return counts

    def counter_of(self, name: str, help: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Add a counter that somebody else keeps."""
        self._add(name, lambda: _filled(CounterMetricFamily(name, help, labels=labels), read(), labels))

    def gauge(self, name: str, help: str, read: Read, labels: Sequence[str] = ()) -> None:
        """Add a gauge whose value ``read`` returns at each scrape."""
        self._add(name, lambda: _filled(GaugeMetricFamily(name, help, labels=labels), read(), labels))

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page and its content type, in the format that the ``Accept`` header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _add(self, name: str, family: Callable[[], Metric]) -> None:
        if name in self._families:
            raise ValueError(f"there is a metric {name} already")
        Metric(name, "", "unknown")  # refuses a bad name here, not at the scrape
        self._families[name] = family


class _Families(Collector):
    def __init__(self, families: Mapping[str, Callable[[], Metric]], errors: Counts) -> None:
        self._families = families
        self._errors = errors

    def collect(self) -> Iterator[Metric]:
        for name, family in list(self._families.items()):
            try:
                metric = family()
            except Exception:  # barrier: one series that cannot be read must not hide all others
                log.exception("a metric cannot be read", extra={"metric": name})
                self._errors[name] += 1
                continue
            yield metric


def _filled(family: CounterMetricFamily | GaugeMetricFamily, value: Values, labels: Sequence[str]) -> Metric:
    series: dict[Key, float] = dict(value.items()) if isinstance(value, Mapping) else {(): value}
    for key, number in series.items():
        # A label may hold a peer's bytes: lone surrogates would make the page unencodable.
        values = [str(value).encode("utf-8", "backslashreplace").decode() for value in ((key,) if isinstance(key, str) else key)]
        if len(values) != len(labels):
            raise ValueError(f"{family.name}: {key!r} does not fit the labels {tuple(labels)!r}")
        family.add_metric(values, number)
    return family
