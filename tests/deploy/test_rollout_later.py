"""The archiver that test_rollout.py leaves is upgraded, taken back, rebooted, joined by another and removed."""

from __future__ import annotations

import time

import pytest

from rra_state import __version__
from tests.deploy.rollout import OPT, PASSWORD, UNIT, WORK, Rollout

pytestmark = pytest.mark.timeout(1500)


def test_an_upgrade_in_mid_cycle_loses_no_run(rollout: Rollout) -> None:
    wheel = rollout.wheel("0.9.0")
    rollout.records(400, 6001)
    rollout.wait("the new runs have begun", lambda: len(rollout.archived("import")) > 40)
    before = rollout.property("InvocationID")

    rollout.play("site.yml", "--limit", "archivers", rra_wheel=wheel)

    assert rollout.release() == "0.9.0"
    rollout.wait("all runs archived", lambda: len(rollout.archived()) == 440)
    assert rollout.in_ucondb() == sorted([*range(5001, 5041), *range(6001, 6401)])
    ended = rollout.daq.ssh(f"journalctl --output=cat --no-pager INVOCATION_ID={before}").stdout
    assert f"{UNIT}: Deactivated successfully." in ended
    assert rollout.property("Result") == "success"


def test_a_release_that_fails_its_check_stays_inactive(rollout: Rollout) -> None:
    broken = rollout.wheel("0.9.9", {"config/loading": ('"ucondb_password"', '"no_such_credential"')})

    played = rollout.play("site.yml", "--limit", "archivers", check=False, rra_wheel=broken)

    assert played.code != 0
    assert "but no user or password to write with" in played.output
    assert PASSWORD not in played.output
    assert rollout.release() == "0.9.0"
    rollout.records(1, 6501)
    rollout.wait("the old release goes on", lambda: 6501 in rollout.archived())


def test_settings_that_fail_their_check_stay_inactive(rollout: Rollout) -> None:
    wheel = next((rollout.directory / "source-0.9.0/dist").glob("*.whl"))
    wrong = rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb")
    wrong["ucondb"]["folder_name"] = "no_such_folder"

    played = rollout.play("site.yml", "--limit", "archivers", check=False, rra_instances=[wrong], rra_wheel=str(wheel))

    assert played.code != 0
    assert PASSWORD not in played.output
    assert "no_such_folder" not in rollout.daq.ssh("cat /etc/run_record_archiver/sbnd/config.yaml").stdout


def test_a_rollback_takes_the_release_before(rollout: Rollout) -> None:
    rollout.play("rollback.yml")
    again = rollout.play("rollback.yml")

    assert rollout.release() == __version__
    assert again.changed == {"daq": 0}
    rollout.records(1, 6502)
    rollout.wait("the release before archives", lambda: 6502 in rollout.archived())
    assert __version__ in rollout.daq.ssh(f"{OPT}/current/bin/run-record-archiver --version").stdout


@pytest.mark.parametrize("way", ["reboot", "power cut"])
def test_a_host_that_goes_down_goes_on_by_itself(rollout: Rollout, way: str) -> None:
    before = rollout.in_ucondb()
    new = rollout.records(300, 7001 if way == "reboot" else 8001)
    rollout.wait("the new runs have begun", lambda: len(rollout.archived("import") & set(new)) > 0)

    if way == "reboot":
        rollout.daq.reboot()
    else:
        rollout.daq.power_off()
        rollout.daq.boot()

    rollout.wait("all runs archived", lambda: set(new) <= rollout.archived())
    assert rollout.in_ucondb() == sorted([*before, *new])
    rollout.wait("a cycle ended well", lambda: rollout.property("Result") == "success")


def test_an_expired_password_is_reported_and_replaced(rollout: Rollout) -> None:
    rollout.stand.ssh("echo another > /etc/ucondb_dev.password; systemctl restart ucondb-dev")
    rollout.daq.ssh("rm -f /var/log/rra-alerts")
    (new,) = rollout.records(1, 9001)

    rollout.wait("an alert", lambda: UNIT in rollout.daq.ssh("cat /var/log/rra-alerts", check=False).stdout)
    told = rollout.daq.ssh("journalctl -t run-record-archiver-alert -p alert -o cat --no-pager").stdout

    assert f"{UNIT} failed on daq" in told
    assert "password" in rollout.daq.ssh("cat /var/log/rra-alerts").stdout
    assert new not in rollout.in_ucondb()
    mistyped = rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb") | {"ucondb_password": "mistyped"}
    refused = rollout.play("site.yml", "--limit", "archivers", check=False, rra_instances=[mistyped])
    assert refused.code != 0
    assert "mistyped" not in refused.output
    assert rollout.daq.ssh("cat /etc/run_record_archiver/sbnd/ucondb_password").stdout.strip() == PASSWORD
    rollout.password = "another"
    rollout.variables["rra_instances"][0]["ucondb_password"] = "another"
    rollout.play("site.yml", "--limit", "archivers")
    rollout.wait("the run is archived", lambda: new in rollout.archived())
    assert rollout.in_ucondb().count(new) == 1


def test_a_second_instance_leaves_the_first_alone(rollout: Rollout) -> None:
    first = rollout.archived()
    rollout.records(20, 101, "/icarus/disk")
    rollout.daq.ssh("ln -s disk /icarus/run_records")
    rollout.variables["rra_instances"].append(rollout.instance("icarus", "/icarus/run_records", "/icarus/artdaqdb"))

    rollout.play("site.yml", "--limit", "archivers")

    wanted = set(range(101, 121))
    rollout.wait("its runs are archived", lambda: rollout.archived(work=f"{WORK}-icarus") == wanted)
    assert rollout.in_ucondb("icarus") == sorted(wanted)
    assert rollout.archived() == first
    rollout.daq.ssh("systemctl stop run-record-archiver.timer")
    timers = rollout.daq.ssh(
        "systemctl list-timers --no-legend 'run-record-archiver*' | grep -o '[a-z-]*@[a-z]*.timer'"
    )
    assert sorted(timers.stdout.split()) == [
        f"run-record-archiver{kind}@icarus.timer" for kind in ("-retry", "-verify", "")
    ]
    rollout.daq.ssh("systemctl start run-record-archiver.timer")
    forgotten = rollout.play(
        "site.yml", "--limit", "archivers", check=False, rra_instances=rollout.variables["rra_instances"][:1]
    )
    assert "this host has icarus, which rra_instances does not name" in forgotten.output
    assert rollout.daq.ssh("rra-status icarus").stdout.count("SAFE: every complete run on disk (20)") == 1


def test_a_removed_instance_keeps_its_data(rollout: Rollout) -> None:
    rollout.variables["rra_instances"][1]["state"] = "absent"

    rollout.play("site.yml", "--limit", "archivers", rra_status_group="")

    assert rollout.daq.ssh("ls /etc/sudoers.d/run-record-archiver", check=False).returncode != 0
    assert rollout.archived(work=f"{WORK}-icarus") == set(range(101, 121))
    assert rollout.daq.ssh("ls /icarus/artdaqdb").stdout != ""
    assert rollout.daq.ssh("ls -d /etc/run_record_archiver/icarus", check=False).returncode != 0
    assert rollout.daq.ssh("systemctl list-timers --no-legend '*icarus*'").stdout == ""
    assert rollout.look(rollout.daq).service("run-record-archiver.timer").is_running


def test_a_host_without_state_is_refused_until_adoption(rollout: Rollout) -> None:
    rollout.daq.ssh(f"rm -r {WORK}-icarus")
    rollout.variables["rra_instances"][1]["state"] = "present"

    refused = rollout.play("site.yml", "--limit", "archivers", check=False)
    rollout.stand.ssh("systemctl stop ucondb-dev")
    failed = rollout.play("site.yml", "--limit", "archivers", "-e", "rra_adopt_existing=true", check=False)
    rollout.daq.ssh("systemctl start run-record-archiver@icarus.service")
    begun = rollout.property("ConditionResult", "run-record-archiver@icarus.service")
    rollout.stand.ssh("systemctl start ucondb-dev")
    refused_again = rollout.play("site.yml", "--limit", "archivers", check=False)
    timer = rollout.daq.ssh("systemctl is-active run-record-archiver@icarus.timer", check=False).stdout.strip()
    rollout.play("site.yml", "--limit", "archivers", rra_adopt_existing=True)

    assert failed.code != 0
    assert begun == "no"
    for played in (refused, refused_again):
        assert played.code != 0
        assert "to take them over set rra_adopt_existing: true" in played.output
    assert timer == "inactive"
    assert rollout.archived(work=f"{WORK}-icarus") == set(range(101, 121))
    since = time.monotonic()
    rollout.wait("a cycle", lambda: rollout.property("Result", "run-record-archiver@icarus.service") == "success")
    assert time.monotonic() - since < 120
    assert rollout.in_ucondb("icarus") == list(range(101, 121))


def test_purging_is_refused_where_it_would_take_an_archive_along(rollout: Rollout) -> None:
    sbnd, icarus = rollout.variables["rra_instances"]
    inside = [{**sbnd, "work_dir": "/daq"}, icarus]

    played = rollout.play(
        "site.yml", "--limit", "archivers", check=False, rra_ensure="absent", rra_purge=True, rra_instances=inside
    )

    assert played.code != 0
    assert "is inside the work directory /daq" in played.output
    assert rollout.daq.ssh("ls /daq/artdaqdb").stdout != ""
    assert rollout.look(rollout.daq).service("run-record-archiver.timer").is_running


def test_the_only_instance_can_be_taken_away(rollout: Rollout) -> None:
    gone = [{**instance, "state": "absent"} for instance in rollout.variables["rra_instances"]]

    rollout.play("site.yml", "--limit", "archivers", rra_instances=gone)

    assert rollout.daq.ssh("systemctl list-timers --no-legend 'run-record-archiver*'").stdout == ""
    assert rollout.archived()


def test_removal_keeps_the_data_unless_told(rollout: Rollout) -> None:
    archived = rollout.archived()

    rollout.play("site.yml", "--limit", "archivers", "-e", "rra_purge=false", rra_ensure="absent")

    assert rollout.archived() == archived
    gone = f"{OPT} /etc/run_record_archiver /etc/systemd/system/run-record-archiver* /usr/local/bin/rra-status"
    assert rollout.daq.ssh(f"ls -d {gone}", check=False).stdout == ""
    assert rollout.daq.ssh("systemctl list-units --all --no-legend 'run-record-archiver*.timer'").stdout == ""
    again = rollout.play("site.yml", "--limit", "archivers", rra_ensure="absent")
    assert again.changed == {"daq": 0}

    rollout.play("site.yml", "--limit", "archivers", rra_ensure="absent", rra_purge=True)

    assert rollout.daq.ssh(f"ls -d {WORK}", check=False).returncode != 0
    assert rollout.daq.ssh("ls /daq/artdaqdb").stdout != ""


def test_the_first_release_is_upgraded_with_its_archive(rollout: Rollout) -> None:
    first = rollout.first_release()
    instance = rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb")
    del instance["settings"]["source_files"]["quiet_seconds"]  # 0.1.0 does not know it
    rollout.play(
        "site.yml", "--limit", "archivers", directory=first / "ansible", rra_wheelhouse=str(first / "wheels"),
        rra_adopt_existing=True, rra_instances=[instance],
    )  # fmt: skip
    (by_first,) = rollout.records(1, 9101)
    rollout.wait("0.1.0 archives", lambda: by_first in rollout.archived())
    rollout.variables["rra_instances"] = rollout.variables["rra_instances"][:1]

    rollout.play("site.yml", "--limit", "archivers")
    (by_this,) = rollout.records(1, 9102)

    rollout.wait("this release archives", lambda: by_this in rollout.archived())
    assert rollout.release() == __version__
    assert rollout.in_ucondb().count(by_first) == rollout.in_ucondb().count(by_this) == 1
    assert " differ" not in rollout.daq.ssh("rra-run sbnd --verify").stdout
    assert "\nSAFE: " in rollout.daq.ssh("rra-status").stdout


def test_a_variables_old_name_is_accepted_with_a_warning(rollout: Rollout) -> None:
    played = rollout.play("site.yml", "--limit", "archivers", rra_state="absent")

    assert "rra_state is deprecated: it is called rra_ensure now" in played.output
    assert rollout.daq.ssh("systemctl list-units --all --no-legend 'run-record-archiver*.timer'").stdout == ""
