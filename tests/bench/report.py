"""The numbers of tests/bench/against.py for a person."""

from typing import Any, Final

Results = dict[str, Any]
NAMES: Final = (
    ("echo", "UDP echo in C, bare"), ("netd", "netd, every log-in recorded"), ("files", "FreeRADIUS, users file, nothing recorded"),
    ("sql", "FreeRADIUS + PostgreSQL, nothing recorded"), ("sql_recorded", "FreeRADIUS + PostgreSQL, every log-in recorded"),
)  # fmt: skip


def line(name: str, *cells: str) -> str:
    """A row."""
    return f"  {name:<60}" + "".join(f"{cell:>22}" for cell in cells)


def _rates(name: str, found: Results) -> str:
    rates = f"{found['per_second']:,.0f}", f"{found['slowest']:,.0f}-{found['fastest']:,.0f}"
    return line(name, *rates, f"{found['cpu_us']:.1f}", f"{found['database_us']:.1f}")


def _ratio(name: str, found: Results, key: str) -> list[str]:
    if key not in found:
        return []
    low, high = found[f"{key}_range"]
    return [line(name, f"{found[key]:.2f}", f"{low:.2f}-{high:.2f}")]


def table(results: Results) -> str:
    """All of it."""
    access, accounting, scale, steady = results["access"], results["accounting"], results["scale"], results["steady"]
    version = results["peer_version"] or "not installed"
    head = f"PostgreSQL {results['postgresql_version']}, one server for all, fsync on; FreeRADIUS {version}; {results['subscribers']:,} subscribers"
    load = f"Load average before the run: {results['load_average'][0]:.1f}; above 1 others were at work, and the rates below are lower than the machine's."
    columns = ("per second", "range", "CPU µs each", "PostgreSQL's besides")
    lines = ["", head, load, "", line(f"Log-ins: PAP, Message-Authenticator both ways, {access['packet_octets']} octets", *columns)]
    lines += [_rates(name, access[key]) for key, name in NAMES if key in access]
    lines += _ratio("netd's rate to FreeRADIUS + PostgreSQL, recorded", access, "to_sql_recorded")
    lines += _ratio("netd's rate to FreeRADIUS + PostgreSQL, unrecorded", access, "to_sql")
    lines += _ratio("  in CPU, PostgreSQL's included, recorded", access, "cpu_to_sql_recorded")
    lines += _ratio("  in CPU, PostgreSQL's included, unrecorded", access, "cpu_to_sql")
    lines += _ratio("netd's CPU to FreeRADIUS's with a users file", access, "cpu_to_files")
    lines += [
        line(f"netd at {steady['rate']:,.0f}/s, p50 / p99 ms", f"{steady['p50_ms']:.2f} / {steady['p99_ms']:.2f}",
             f"{min(steady['p99_range']):.2f}-{max(steady['p99_range']):.2f}"),
        *([line("log-ins that netd answered and, overloaded, did not record", f"{access['log_ins_shed']:,}")] if access["log_ins_shed"] else []),
        "", line(f"Accounting: {accounting['records']:,} records, Start/Interim/Stop, committed", *columns),
        _rates(f"netd, {accounting['records_per_commit']:.0f} records per commit", accounting["netd"]),
    ]  # fmt: skip
    if "peer" in accounting:
        lines.append(_rates("FreeRADIUS + PostgreSQL", accounting["peer"]))
    lines += _ratio("netd's rate to FreeRADIUS + PostgreSQL", accounting, "to_peer")
    lines += _ratio("  in CPU, PostgreSQL's included", accounting, "cpu_to_peer")
    start = f"{scale['start_range'][0]:.1f}-{scale['start_range'][1]:.1f}"
    lines += [
        "", line(f"netd with {scale['subscribers']:,} subscribers", *columns),
        _rates("log-ins with 10,000 subscribers", scale["small"]), _rates(f"log-ins with {scale['subscribers']:,}", scale["large"]),
        *_ratio("CPU per log-in, large to small", scale, "cpu_ratio"),
        line("process started to the first answer, s", f"{scale['start_seconds']:.1f}", start),
        line("resident after the start / the loads / at its peak, MB", f"{scale['resident_mb']:.0f}", f"{scale['resident_after_load_mb']:.0f}",
             f"{scale['peak_mb']:.0f}"),
        "",
    ]  # fmt: skip
    for goal in results["goals"]:
        said = "unknown" if goal["met"] is None else "met" if goal["met"] else "MISSED"
        lines.append(f"  {said:<7} {goal['value'] if goal['value'] is not None else float('nan'):>8,.2f}   goal {goal['goal']:g} {goal['text']}")
    return "\n".join([*lines, ""])
