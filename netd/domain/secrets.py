"""Changing the key that secrets are sealed with."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import msgspec

from netd.domain import audit, billing, certificates, configurations, credentials, jobs, webhooks
from netd.domain.actor import Actor
from netd.domain.boottokens import SECRET_CONTEXT as BOOT_CONTEXT
from netd.domain.coa_clients import SECRET_CONTEXT as CLIENT_CONTEXT
from netd.domain.nas import LINE_LOGIN_CONTEXT, SECRET_CONTEXT
from netd.domain.subscribers import PASSWORD_CONTEXT
from netd.domain.users import TOTP_CONTEXT
from netd.keyring import Keyring
from netd.store import billing as billing_store
from netd.store import boot as boot_store
from netd.store import certificates as certificate_store
from netd.store import coa_clients, nas, subscribers, users
from netd.store import configurations as configuration_store
from netd.store import credentials as credential_store
from netd.store import jobs as job_store
from netd.store import schedules as schedule_store
from netd.store import webhooks as webhook_store
from netd.store.database import Database

BATCH_ROWS = 500
_LINE_LOGIN_SEALED = partial(nas.sealed, column="line_login_password")
_LINE_LOGIN_RESEAL = partial(nas.reseal, column="line_login_password")
_AUTHORITIES_SEALED = partial(certificate_store.sealed, table="certificate_authorities")
_AUTHORITIES_RESEAL = partial(certificate_store.reseal, table="certificate_authorities")
_CERTIFICATES_SEALED = partial(certificate_store.sealed, table="certificates")
_CERTIFICATES_RESEAL = partial(certificate_store.reseal, table="certificates")
PASSES = 10


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """What a rotation did: how many values it sealed anew under ``key_id``. With ``complete`` no value needs an older key any more.

    Not complete: somebody, such as another node that has not read the key file again, goes on sealing with an older key.
    """

    key_id: str
    subscribers: int
    nas: int
    coa_clients: int
    users: int
    webhooks: int
    billing_hooks: int
    credentials: int
    jobs: int
    schedules: int
    configurations: int
    ztp_devices: int
    certificates: int
    complete: bool

    def counts(self) -> dict[str, int]:
        """How many values of each."""
        return {name: getattr(self, name) for name in self.__struct_fields__ if name not in ("key_id", "complete")}


async def rotate(db: Database, actor: Actor, keyring: Keyring, *, new_key: bool = True) -> Rotation:
    """Add a key and seal every secret of every tenant with it. The values stay the same, so nothing has to be told to the engine.

    May be stopped at any point: each value opens at every moment, for the new key is on disk before anything is sealed with it and the
    old ones stay. With ``new_key`` False it finishes what was stopped, adding no further key. Raises ConfigError for the key file,
    StoreError for a value that does not open.
    """
    if new_key:
        await asyncio.to_thread(keyring.rotate)
    counts = {
        "subscribers": 0, "nas": 0, "coa_clients": 0, "users": 0, "webhooks": 0, "billing_hooks": 0, "jobs": 0, "schedules": 0, "credentials": 0,
        "configurations": 0, "ztp_devices": 0, "certificates": 0,
    }  # fmt: skip
    complete = False
    for _ in range(PASSES):
        before = sum(counts.values())
        stale = 0
        for name, sealed, reseal, context in (
            ("subscribers", subscribers.sealed, subscribers.reseal, PASSWORD_CONTEXT),
            ("nas", nas.sealed, nas.reseal, SECRET_CONTEXT),
            ("coa_clients", coa_clients.sealed, coa_clients.reseal, CLIENT_CONTEXT),
            ("nas", _LINE_LOGIN_SEALED, _LINE_LOGIN_RESEAL, LINE_LOGIN_CONTEXT),
            ("users", users.sealed, users.reseal, TOTP_CONTEXT),
            ("webhooks", webhook_store.sealed, webhook_store.reseal, webhooks.CONTEXT),
            ("billing_hooks", billing_store.sealed, billing_store.reseal, billing.CONTEXT),
            ("credentials", credential_store.sealed, credential_store.reseal, credentials.CONTEXT),
            ("jobs", job_store.sealed, job_store.reseal, jobs.CONTEXT),
            ("schedules", schedule_store.sealed, schedule_store.reseal, jobs.CONTEXT),
            ("ztp_devices", boot_store.sealed, boot_store.reseal, BOOT_CONTEXT),
            ("certificates", _AUTHORITIES_SEALED, _AUTHORITIES_RESEAL, certificates.AUTHORITY_CONTEXT),
            ("certificates", _CERTIFICATES_SEALED, _CERTIFICATES_RESEAL, certificates.CONTEXT),
            ("configurations", configuration_store.sealed, configuration_store.reseal, configurations.CONTEXT),
            ("configurations", configuration_store.sealed_keys, configuration_store.reseal_keys, configurations.KEY_CONTEXT),
        ):
            found, done = await _pass(db, keyring, sealed, reseal, context)
            counts[name] += done
            stale += found
        if not stale:
            complete = True
            break
        if sum(counts.values()) == before:
            await asyncio.sleep(0.1)
    result = Rotation(key_id=keyring.current_id, complete=complete, **counts)
    async with db.transaction(actor.scope) as conn:
        await audit.record(conn, actor, "secret.rotate", "key", keyring.current_id, after={**counts, "complete": complete})
    return result


async def _pass(
    db: Database, keyring: Keyring, sealed: Callable[..., Awaitable[list[tuple[int, bytes]]]],
    reseal: Callable[..., Awaitable[int]], context: bytes,
) -> tuple[int, int]:  # fmt: skip
    """Walk a column once: (values found under older keys, those sealed anew). A value that changes meanwhile is left to the next pass."""
    after = found = done = 0
    while True:
        async with db.transaction() as conn:
            batch = await sealed(conn, after=after, limit=BATCH_ROWS)
            if not batch:
                return found, done
            after = batch[-1][0]
            stale = [(row_id, value, keyring.reseal(value, context)) for row_id, value in batch if keyring.key_id(value) != keyring.current_id]
            if stale:
                found += len(stale)
                done += await reseal(conn, stale)
