"""The control API about the owner's keys and the API keys of others."""

from __future__ import annotations

from node.api.call import Call
from protocols.http import control


async def show_identity(call: Call) -> control.Identity:
    return call.parts.identity.describe()


async def backup_identity(call: Call) -> control.BackupWords:
    what = call.take(control.BackupIdentity)
    return await call.parts.identity.backup(what.passphrase, what.forget)


async def restore_identity(call: Call) -> control.Identity:
    await call.parts.identity.restore(call.take(control.RestoreIdentity))
    return call.parts.identity.describe()


async def rotate_identity(call: Call) -> control.Identity:
    await call.parts.identity.rotate(call.take(control.RotateIdentity))
    return call.parts.identity.describe()


async def protect_identity(call: Call) -> control.Identity:
    what = call.take(control.ProtectIdentity)
    await call.parts.identity.protect(what.passphrase, what.new)
    return call.parts.identity.describe()


async def revoke_device(call: Call) -> control.Identity:
    what = call.take(control.RevokeDevice)
    await call.parts.identity.revoke_device(
        what.device, what.why, words=what.words, passphrase=what.passphrase
    )
    return call.parts.identity.describe()


async def list_grants(call: Call) -> control.KeyList:
    return control.KeyList(tuple(await call.parts.grants.list()))


async def new_grant(call: Call) -> control.MadeKey:
    return await call.parts.grants.new(call.take(control.NewKey))


async def revoke_grant(call: Call) -> control.Key:
    return await call.parts.grants.revoke(call.path("id"))
