"""A demonstration has a folder of its own, and a real installation's is none."""

from pathlib import Path

import pytest

from netd import cli, daemon
from netd.config import Config
from netd.demo import folder
from netd.errors import ConfigError


def test_a_new_folder_is_marked_before_anything_is_in_it(tmp_path: Path) -> None:
    place = tmp_path / "new" / "demo"
    state = folder.enter(place, 7)
    assert [each.name for each in place.iterdir()] == [daemon.DEMO] and place.stat().st_mode & 0o777 == 0o700
    assert (place / daemon.DEMO).stat().st_mode & 0o777 == 0o600
    (place / "admin.token").write_text("x")
    state.furnished = True
    folder.keep(place, state)
    assert folder.enter(place, None) == state and state.seed == 7 and "nothing of it is real" in state.simulated
    with pytest.raises(ConfigError, match="has the seed 7"):
        folder.enter(place, 8)


def test_a_folder_has_one_demonstration_at_a_time(tmp_path: Path) -> None:
    with folder.alone(tmp_path), pytest.raises(ConfigError, match="already"), folder.alone(tmp_path):
        raise AssertionError("there were two")
    with folder.alone(tmp_path):
        assert (tmp_path / folder.LOCK).exists()


def test_two_demonstrations_have_other_secrets(tmp_path: Path) -> None:
    assert folder.enter(tmp_path / "a", None).nas_secret != folder.enter(tmp_path / "b", None).nas_secret


@pytest.mark.parametrize("held", ["admin.token", "postgres", "secret.key", "anything"])
def test_what_it_did_not_make_is_refused(held: str, tmp_path: Path) -> None:
    (tmp_path / held).touch()
    with pytest.raises(ConfigError, match=f"it holds {held}"):
        folder.enter(tmp_path, None)
    assert [each.name for each in tmp_path.iterdir()] == [held]


def test_what_cannot_be_used_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be used"):
        folder.enter(tmp_path / "file", None)
    (tmp_path / daemon.DEMO).write_text('{"seed": "one"}')
    with pytest.raises(ConfigError, match="is damaged"):
        folder.enter(tmp_path, None)


def test_the_default_is_beside_the_installation_and_never_it() -> None:
    for environ in ({"HOME": "/home/x"}, {"XDG_DATA_HOME": "/data"}, {"STATE_DIRECTORY": "/var/lib/netd", "HOME": "/home/x"}):
        found = folder.default_folder(environ)
        assert found.name == "netd-demo" and found != Path("/var/lib/netd")


def test_serve_does_not_run_on_a_demonstration(tmp_path: Path) -> None:
    folder.enter(tmp_path, None)
    with pytest.raises(ConfigError, match="simulated"):
        daemon.run(Config(data_dir=tmp_path))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--port", "70000"], "not a port"),
        (["--port", "-1"], "not a port"),
        (["--change-after", "soon"], "number of seconds"),
        (["--change-after", "nan"], "number"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["demo", *arguments])
    assert ended.value.code == 2 and said in capsys.readouterr().err


def test_another_database_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setenv("NETD_DATABASE__URL", "postgresql://netd:hidden@db/netd")
    assert cli.main(["demo", "--data-dir", str(tmp_path / "demo")]) == 2
    said = capsys.readouterr().err
    assert "NETD_DATABASE__URL" in said and "hidden" not in said and not (tmp_path / "demo").exists()


def test_a_folder_of_others_is_refused_by_the_command(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "admin.token").touch()
    assert cli.main(["demo", "--data-dir", str(tmp_path)]) == 2
    assert "name a new folder" in capsys.readouterr().err


def test_a_first_start_that_was_killed_while_it_wrote_is_made_up_for(tmp_path: Path) -> None:
    (tmp_path / folder.NEW).write_text("{")
    assert folder.enter(tmp_path, 7).seed == 7
    assert folder.enter(tmp_path, None).seed == 7
