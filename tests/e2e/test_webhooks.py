"""The real daemon tells a receiver of what happens, also after it was killed, and takes a billing system's word."""

import hmac
import json
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.e2e.daemon import daemon, eventually


class Hook(BaseHTTPRequestHandler):
    got: list[tuple[str, bytes]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.got.append((self.headers["X-Netd-Signature"], body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def receiver() -> Iterator[ThreadingHTTPServer]:
    Hook.got = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join(5)
    server.server_close()


def digest(secret: str, at: str, body: bytes) -> str:
    return hmac.new(secret.encode(), f"{at}.".encode() + body, "sha256").hexdigest()


def test_told_and_telling(ready_data_dir: Path, receiver: ThreadingHTTPServer):
    settings = {"NETD_WEBHOOKS__ALLOWED_NETWORKS": "127.0.0.0/8", "VOLTHA_URL": "http://127.0.0.1:9"}
    with daemon(ready_data_dir, **settings) as running:
        secret = running.netd("webhook", "add", "crm", "--url", f"http://127.0.0.1:{receiver.server_address[1]}/hook").strip()
        running.netd("plan", "add", "home", "--down", "100M", "--up", "20M")
        eventually(lambda: Hook.got)
        signature, body = Hook.got[0]
        at, v1 = (part.split("=")[1] for part in signature.split(","))
        assert digest(secret, at, body) == v1 and abs(int(at) - time.time()) < 60
        assert json.loads(body)["type"] == "plan.created"
        eventually(lambda: running.sql("select 1 from webhooks where lease_until is null and last_delivered_at is not null"))
        running.signal(signal.SIGKILL)  # in the middle of a delivery the lease would have to run out first
        running.wait()
        running.start()
        running.netd("subscriber", "add", "alice", "--password", "wonderland", "--plan", "home")
        eventually(lambda: any(json.loads(each)["type"] == "subscriber.created" for _, each in Hook.got))

        billing = running.json("billing-hook", "add", "erp")
        notice = json.dumps({"id": "1", "type": "invoice.overdue", "username": "alice"}).encode()
        now = str(int(time.time()))
        headers = {"Content-Type": "application/json", "X-Netd-Signature": f"t={now},v1={digest(billing['secret'], now, notice)}"}
        with urlopen(Request(f"{running.url}/api/v1/hooks/{billing['hook']['public_id']}", notice, headers), timeout=120) as answer:
            assert json.load(answer)["changed"] is True
        assert "overdue" in running.netd("subscriber", "explain", "alice")
        eventually(lambda: any(line["message"] == "voltha is down" for line in running.log()))
        parts = {part["name"]: part for part in running.json("health")["parts"]}
        assert parts["webhooks"]["state"] == "ok"
        assert (parts["voltha"]["state"], parts["voltha"]["critical"]) == ("down", False)
        assert "netbox.url" in running.stderr
        assert secret not in running.stderr and billing["secret"] not in running.stderr
        assert running.stop() == 0
