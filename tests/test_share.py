from pathlib import Path

from netd.share import share


def test_in_a_checkout_the_folders_are_beside_the_package() -> None:
    assert (share("vendors", "mikrotik") / "manifest.toml").is_file()
    assert share("sql") == share() / "sql"


def test_in_a_wheel_they_are_inside_the_package(tmp_path: Path) -> None:
    package = tmp_path / "site-packages" / "netd"
    (package / "_share" / "vendors").mkdir(parents=True)
    assert share("vendors", package=package) == package / "_share" / "vendors"


def test_without_them_the_package_is_taken_for_a_checkout(tmp_path: Path) -> None:
    package = tmp_path / "netd"
    package.mkdir()
    assert share("plugins", "x", package=package) == tmp_path / "plugins" / "x"
