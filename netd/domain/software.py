"""The library of software images, and which software devices should run."""

import asyncio
import contextlib
import hashlib
import os
import secrets
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from netd.domain import audit, inputs, lists
from netd.domain.actor import Actor
from netd.domain.devices import Catalogue
from netd.domain.inputs import Faults, Label, Note, given
from netd.domain.lists import ListQuery
from netd.domain.paging import Page
from netd.errors import Fault, InvalidInput, NotFound, OutsideScope, StoreError
from netd.model.configuration import Compliance, SoftwareImage, SoftwareTarget
from netd.store import software as store
from netd.store.database import Connection, Database

IMAGE_OCTETS: Final = 4 << 30
BLOCK_OCTETS: Final = 1 << 20

FileName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$")]
Version = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^\S(?:.*\S)?$")]
Digest = Annotated[str, Meta(pattern=r"^[0-9a-fA-F]{64}$")]


class NewImage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An image to be kept: its file is the request's body. ``sha256`` is what it must have, ``file_name`` what it is called on devices."""

    platform: Label
    software_version: Version
    file_name: FileName
    sha256: Digest
    note: Note | None = None


class NewSoftwareTarget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That devices of a platform, of one model only if that is given, should run a version, and why."""

    platform: Label
    software_version: Version
    reason: Annotated[str, Meta(min_length=1, max_length=1000)]
    model: Annotated[str, Meta(min_length=1, max_length=253)] | None = None


class SoftwareTargetPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a target."""

    software_version: Version | UnsetType = UNSET
    reason: Annotated[str, Meta(min_length=1, max_length=1000)] | UnsetType = UNSET


LEFT_SECONDS: Final = 6 * 3600.0
"""No file is on its way for so long: a netd that was killed left it, perhaps another node's that shares the folder."""


class _File:
    """A file on its way into the library, with its sums."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        for left in folder.glob(".*.part"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()
        self.path = folder / f".{secrets.token_hex(8)}.part"
        self.octets = 0
        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._file = self.path.open("xb")

    def write(self, block: bytes) -> None:
        self._file.write(block)
        self._sha256.update(block)
        self._md5.update(block)
        self.octets += len(block)

    def end(self) -> tuple[str, str]:
        """Bring it onto the disk; returns SHA-256 and MD5 in hex."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._sha256.hexdigest(), self._md5.hexdigest()

    def close(self) -> None:
        """Remove it, if it was not kept."""
        self._file.close()
        self.path.unlink(missing_ok=True)


def path_of(folder: Path, image: SoftwareImage) -> Path:
    """Where the image's file lies."""
    return folder / image.sha256


async def add_image(db: Database, actor: Actor, folder: Path, catalogue: Catalogue, new: NewImage, chunks: AsyncIterator[bytes]) -> SoftwareImage:
    """Keep an image. Raises InvalidInput (also for another sum than promised); Conflict if the platform has one of this version; StoreError without room."""
    if new.platform not in catalogue.platforms:
        raise InvalidInput([Fault("/platform", "no such platform")])
    if actor.sites is not None:  # before gigabytes are sent for nothing
        raise OutsideScope("images are the whole tenant's")
    try:
        file = await asyncio.to_thread(_File, folder)
    except OSError as error:
        raise StoreError(f"the image cannot be kept: {error.strerror}") from error
    try:
        sha256, md5 = await _received(file, chunks)
        if sha256 != new.sha256.lower():
            raise InvalidInput([Fault("/sha256", f"the file has the SHA-256 {sha256}")])
        values = {**msgspec.structs.asdict(new), "sha256": sha256, "md5": md5, "octets": file.octets, "created_by": actor.name}
        async with db.transaction(actor.scope) as conn:
            await store.lock_file(conn, sha256)
            made = await held_image(conn, actor, await store.insert_image(conn, actor.tenant_id, values))
            await audit.record(conn, actor, "software_image.create", "software_image", made.id, after=audit.values(made))
            await asyncio.to_thread(os.replace, file.path, path_of(folder, made))
    except OSError as error:
        raise StoreError(f"the image cannot be kept: {error.strerror}") from error
    finally:
        await asyncio.to_thread(file.close)
    return made


async def _received(file: _File, chunks: AsyncIterator[bytes]) -> tuple[str, str]:
    block = bytearray()
    async for chunk in chunks:
        block += chunk
        if len(block) >= BLOCK_OCTETS:
            await asyncio.to_thread(file.write, bytes(block))
            block.clear()
        if file.octets > IMAGE_OCTETS:
            raise InvalidInput([Fault("", f"an image may have {IMAGE_OCTETS >> 30} GiB")])
    await asyncio.to_thread(file.write, bytes(block))
    return await asyncio.to_thread(file.end)


async def delete_image(db: Database, owner: Database, actor: Actor, folder: Path, image_id: int, *, version: int | None = None) -> None:
    """Forget an image, and its file if no other has it. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await held_image(conn, actor, image_id)
        inputs.same_version("software image", before.version, version)
        if not await store.delete_image(conn, actor.tenant_id, image_id):
            raise NotFound("software image", image_id)
        await audit.record(conn, actor, "software_image.delete", "software_image", image_id, before=audit.values(before))
    async with owner.transaction() as conn:
        await store.lock_file(conn, before.sha256)
        if not await store.images_with(conn, before.sha256):
            await asyncio.to_thread(path_of(folder, before).unlink, missing_ok=True)


ImageQuery = lists.query_type(store.IMAGES)
TargetQuery = lists.query_type(store.TARGETS)
ComplianceQuery = lists.query_type(store.COMPLIANCE)


async def images(db: Database, actor: Actor, query: ListQuery) -> Page[SoftwareImage]:
    """Images, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.IMAGES, actor.tenant_id, query, store.images_of)


async def image(db: Database, actor: Actor, image_id: int) -> SoftwareImage:
    """The image. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await held_image(conn, actor, image_id)


async def compliance(db: Database, actor: Actor, query: ListQuery) -> Page[Compliance]:
    """Devices for which it is known what they should run. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.COMPLIANCE, actor.tenant_id, query, store.compliance_of)


async def targets(db: Database, actor: Actor, query: ListQuery) -> Page[SoftwareTarget]:
    """Targets, by id unless the query says otherwise. Raises InvalidInput."""
    async with db.transaction(actor.scope) as conn:
        return await lists.page(conn, store.TARGETS, actor.tenant_id, query, store.targets_of)


async def target(db: Database, actor: Actor, target_id: int) -> SoftwareTarget:
    """The target. Raises NotFound."""
    async with db.transaction(actor.scope) as conn:
        return await _held(conn, actor, target_id)


async def create_target(db: Database, actor: Actor, catalogue: Catalogue, new: NewSoftwareTarget) -> SoftwareTarget:
    """Say which software devices should run. Raises InvalidInput; Conflict if that is said already."""
    faults = Faults()
    if new.platform not in catalogue.platforms:
        faults.add("/platform", "no such platform")
    faults.check()
    async with db.transaction(actor.scope) as conn:
        made = await _held(conn, actor, await store.insert_target(conn, actor.tenant_id, msgspec.structs.asdict(new)))
        await audit.record(conn, actor, "software_target.create", "software_target", made.id, after=audit.values(made))
    return made


async def update_target(db: Database, actor: Actor, target_id: int, patch: SoftwareTargetPatch, *, version: int | None = None) -> SoftwareTarget:
    """Change a target. Raises NotFound; Conflict on another ``version``."""
    members: dict[str, Any] = given(patch)
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, target_id, lock=True)
        inputs.same_version("software target", before.version, version)
        if not members:
            return before
        await store.update_target(conn, actor.tenant_id, target_id, members)
        after = await _held(conn, actor, target_id)
        old, new = audit.changes(before, after)
        await audit.record(conn, actor, "software_target.update", "software_target", target_id, before=old, after=new)
    return after


async def delete_target(db: Database, actor: Actor, target_id: int, *, version: int | None = None) -> None:
    """Say no longer which software devices should run. Raises NotFound; Conflict on another ``version``."""
    async with db.transaction(actor.scope) as conn:
        before = await _held(conn, actor, target_id, lock=True)
        inputs.same_version("software target", before.version, version)
        await store.delete_target(conn, actor.tenant_id, target_id)
        await audit.record(conn, actor, "software_target.delete", "software_target", target_id, before=audit.values(before))


async def held_image(conn: Connection, actor: Actor, image_id: int) -> SoftwareImage:
    """The image within a transaction. Raises NotFound."""
    found = await store.image(conn, actor.tenant_id, image_id) if 0 < image_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("software image", image_id)
    return found


async def _held(conn: Connection, actor: Actor, target_id: int, *, lock: bool = False) -> SoftwareTarget:
    found = await store.target(conn, actor.tenant_id, target_id, lock=lock) if 0 < target_id <= inputs.ROW_ID_MAX else None
    if found is None:
        raise NotFound("software target", target_id)
    return found
