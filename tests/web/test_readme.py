"""What README.md tells operators and integrators to type works as printed."""

import asyncio
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from netd.store.database import Database
from tests.web.running import Api
from tests.web.test_resources import open_session
from tests.work.receiver import Receiver

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str, having: str) -> str:
    """The code block of the README that has these words in it."""
    (found,) = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if having in text]
    return str(found)


async def shell(script: str, folder: Path, **variables: str) -> str:
    """What a script writes; raises if any command of it fails."""

    def run() -> str:
        bash = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(bash, cwd=folder, env={"PATH": "/usr/bin:/bin", **variables}, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout, done.stderr)
        return done.stdout

    return await asyncio.to_thread(run)


async def test_the_first_calls(api: Api, database: Database, tmp_path: Path, require_peer: Callable[[str], str]):
    require_peer("curl")
    (tmp_path / ".netd").mkdir()
    (tmp_path / ".netd" / "admin.token").write_text(api.tokens["admin"] + "\n")
    await api.post("/plans", {"name": "home", "down_bps": 1_000_000, "up_bps": 1_000_000})
    await open_session(database)
    script = block("console", 'curl -H "Authorization: Bearer $TOKEN" \'http').replace("http://127.0.0.1:8080", api.url)
    assert script.count("curl ") >= 4
    told = await shell(script.replace("curl ", "curl -sS --fail-with-body "), tmp_path)
    assert '"total":0' in told and '"username":"bob"' in told and '"outcome":"ack"' in told
    assert (tmp_path / "audit.csv").read_text().startswith("id,")
    assert [each.id for each in api.control.asked] == [1]


async def test_the_ten_lines_that_verify_a_webhook(api: Api, tmp_path: Path, require_peer: Callable[[str], str]):
    """On a delivery as netd sends it; on a forged, an old and a changed one."""
    require_peer("openssl")
    lines = block("python", "hmac.compare_digest")
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {}
    exec(lines, names)
    verified: Callable[[str, str, bytes], bool] = names["verified"]
    receiver = await Receiver().start()
    try:
        made = (await api.post("/webhooks", {"name": "crm", "url": receiver.url})).value
        sent = await api.post(f"/webhooks/{made['webhook']['id']}/test")
    finally:
        await receiver.stop()
    assert sent.value["delivered"], sent.value
    secret, (got,) = made["secret"], receiver.got
    assert verified(secret, got.signature, got.body)
    assert not verified(secret, got.signature, got.body + b" ")
    assert not verified("other", got.signature, got.body)
    at = re.search(r"t=(\d+)", got.signature)
    assert at is not None
    assert not verified(secret, got.signature.replace(at[1], str(int(at[1]) - 301)), got.body)
    (tmp_path / "body.json").write_bytes(got.body)
    digest = await shell(block("console", "body.json").splitlines()[0], tmp_path, T=at[1], SECRET=secret)
    assert f"v1={digest.split()[-1]}" in got.signature
