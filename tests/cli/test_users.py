"""``netd user`` from the first admin on."""

from tests.cli.conftest import Netd
from tests.web.running import Api
from tests.web.test_login import PASSWORD, Browser


async def test_from_the_first_admin_on(netd: Netd, api: Api):
    made = await netd("user", "add", "ann", "--role", "admin", "--full-name", "Ann")
    assert (made.code, "it is not shown again" in made.err) == (0, True)
    token = made.out.strip()
    assert (await netd("user", "setup", "--token", token, "--password", "-", stdin="short\n")).err == "netd: password: has less than 12 characters\n"
    done = await netd("user", "setup", "--token", token, "--password", "-", stdin=f"{PASSWORD}\n")
    assert (done.code, done.out) == (0, "the password is set\n")
    page = Browser(api)
    assert (await page.login()).status == 200
    assert (await page.call("GET", "/tenants")).status == 200

    await api.post("/sites", {"name": "oslo"})
    assert (await netd("user", "grant", "ann", "--role", "reseller", "--site", "Oslo")).out == "ann has admin reseller@oslo\n"
    listed = await netd("user", "list", "--search", "AN")
    assert ("admin reseller@oslo" in listed.out, "good" in listed.out) == (True, True)
    refused = await netd("user", "revoke", "ann", "--role", "reseller")
    assert (refused.code, "admin reseller@oslo" in refused.err) == (1, True)
    assert (await netd("user", "revoke", "ann", "--role", "reseller", "--site", "oslo")).out == "ann has admin\n"
    assert (await netd("user", "show", "ann", "--json")).value["full_name"] == "Ann"
    assert "Ann B." in (await netd("user", "update", "ann", "--full-name", "Ann B.")).out

    for _ in range(api.deps.login.user_failures):
        await Browser(api).login(password="guess guess")
    assert "user_at_address" in (await netd("user", "lockouts")).out
    assert (await netd("user", "unlock", "ann")).code == 0
    assert "user_at_address" not in (await netd("user", "lockouts")).out

    assert (await netd("user", "disable", "ann")).out == "ann is disabled\n"
    assert "disabled" in (await netd("user", "list")).out
    assert (await page.call("GET", "/me")).status == 401
    assert (await netd("user", "enable", "ann")).out == "ann may log in again\n"
    assert (await netd("user", "remove-totp", "ann")).code == 0
    again = await netd("user", "reset-password", "ann", "--json")
    assert again.value["setup_token"].startswith("netdsetup_")
    assert (await page.login()).status == 401
    assert (await netd("user", "remove", "ann")).out == "user ann is removed\n"
    assert (await netd("user", "show", "ann")).code == 1


async def test_a_place_without_a_role(netd: Netd):
    assert (await netd("user", "add", "ann", "--site", "oslo")).code == 2
