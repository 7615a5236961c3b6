"""Which software devices of a model could run, where nobody said which they should: what others of the model run without trouble. Never applied by itself."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from netd.domain import versions
from netd.domain.actor import Actor
from netd.model.configuration import ModelSoftware, VersionCount
from netd.store import software as store
from netd.store.database import Database

LEAST: Final = 2
"""What one device alone does says nothing of the others."""


class RecommendationQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A version is recommended that at least ``percent`` of a model's devices, and two, run for ``days`` without restarting and without a major alarm."""

    days: Annotated[int, Meta(ge=1, le=365)] = 30
    percent: Annotated[int, Meta(ge=1, le=100)] = 20
    platform: Annotated[str, Meta(max_length=64)] | None = None
    model: Annotated[str, Meta(max_length=253)] | None = None


class Recommendations(msgspec.Struct, frozen=True, kw_only=True):
    """Every model of which nobody said what it should run, by platform and model."""

    items: tuple[ModelSoftware, ...]
    next: None = None


async def recommend(db: Database, actor: Actor, query: RecommendationQuery, now: datetime) -> Recommendations:
    """What the models that the actor sees run, and which version could be their target. Devices whose model is not known are left out."""
    async with db.transaction(actor.scope) as conn:
        rows = await store.fleet(conn, actor.tenant_id, now - timedelta(days=query.days), query.platform, query.model)
    found = groupby(rows, key=lambda row: (row.platform, row.model))
    return Recommendations(items=tuple(judged(platform, model, of_one, query, now) for (platform, model), of_one in found))


def judged(platform: str, model: str, rows: Iterable[store.Fleet], query: RecommendationQuery, now: datetime) -> ModelSoftware:
    """The verdict on one model: the newest released version that runs steadily on enough of its devices, and why. Pure."""
    known = sorted((row for row in rows), key=lambda row: (row.software_version is not None, versions.order(row.software_version or "")), reverse=True)
    devices = sum(row.devices for row in known)
    needed = max(LEAST, -(-devices * query.percent // 100))
    best = next((row for row in known if row.software_version and versions.released(row.software_version) and row.steady >= needed), None)
    return ModelSoftware(
        platform=platform, model=model, devices=devices, software_version=None if best is None else best.software_version,
        reason=_refusal(devices, needed, query.days) if best is None else _reason(best, known, devices, query.days, now),
        versions=tuple(VersionCount(software_version=row.software_version, devices=row.devices, steady=row.steady) for row in known),
    )  # fmt: skip


def _reason(best: store.Fleet, known: Sequence[store.Fleet], devices: int, days: int, now: datetime) -> str:
    assert best.latest_at is not None  # some run it steadily
    since = (now - best.latest_at).days
    steady = "all" if best.steady == best.devices else str(best.steady)
    said = f"{best.devices} of {devices} run {best.software_version}, {steady} of them without a restart or major alarm in {days} days"
    said += f", the newest since {since} days"
    newer = sum(row.devices for row in known[: known.index(best)])
    return said + (f"; {newer} {'runs' if newer == 1 else 'run'} something newer, on too few, not for long enough, or not released yet" if newer else "")


def _refusal(devices: int, needed: int, days: int) -> str:
    if devices < LEAST:
        return "there is one device of the model only"
    return f"no version runs on {needed} of {devices} for {days} days without a restart or major alarm"
