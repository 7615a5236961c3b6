"""What ``/metrics`` shows. Hot code counts in plain integers; they become Prometheus series only when somebody scrapes.

A scrape reads memory only: no collector here or registered here may touch the database or a device.
"""

import logging
import platform
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

Key = str | tuple[str, ...]
"""Label values of one series: a string for one label, a tuple for several, ``()`` for none."""

Values = float | Mapping[Any, float]
Read = Callable[[], Values]
"""Returns a value from memory: a number where there are no labels, else a number for each Key."""

LATENCY_SECONDS = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Counts(dict[Key, int]):
    """A counter: ``counts[key] += 1``, at the price of a dict."""

    __slots__ = ()

    def __missing__(self, key: Key) -> int:
        return 0


class Histogram:
    """How values are spread over ``buckets``, their upper bounds; without labels."""

    __slots__ = ("buckets", "counts", "total")

    def __init__(self, buckets: Sequence[float]) -> None:
        self.buckets = tuple(buckets)
        self.counts = [0] * (len(self.buckets) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.buckets, value)] += 1
        self.total += value


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

    def histogram(self, name: str, help: str, buckets: Sequence[float] = LATENCY_SECONDS) -> Histogram:
        """Add a histogram and return what to observe with."""
        histogram = Histogram(buckets)
        self._add(name, lambda: _spread(HistogramMetricFamily(name, help), histogram))
        return histogram

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


def _spread(family: HistogramMetricFamily, histogram: Histogram) -> Metric:
    buckets, sofar = [], 0
    for bound, count in zip([*map(str, histogram.buckets), "+Inf"], histogram.counts, strict=True):
        sofar += count
        buckets.append((bound, float(sofar)))
    family.add_metric([], buckets, histogram.total)
    return family
