"""From a bare host to an archiver that is upgraded, taken back, rebooted and removed: one sequence, in this order."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy.rollout import ANSIBLE, PASSWORD, UNIT, WORK, Rollout

pytestmark = pytest.mark.timeout(1500)
OPT = "/opt/run-record-archiver"


def test_the_collection_and_the_example_inventory_are_sound(tmp_path: Path) -> None:
    programs = Path(sys.executable).parent
    for command in (
        ["ansible-galaxy", "collection", "build", "--output-path", str(tmp_path)],
        ["ansible-playbook", "-i", "inventory/hosts.yml", "--syntax-check", "site.yml", "rollback.yml"],
        ["ansible-lint"],
    ):
        done = subprocess.run(
            [str(programs / command[0]), *command[1:]], cwd=ANSIBLE, capture_output=True, text=True, check=False
        )

        assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.glob("run_record_archiver-deploy-*.tar.gz"))


def test_check_mode_on_a_bare_host_tells_changes_and_makes_none(rollout: Rollout) -> None:
    rollout.records(40, 5001)

    played = rollout.play("site.yml", "--check", "--diff")

    assert played.changed["daq"] > 0
    assert played.changed["stand"] > 0
    assert (
        rollout.daq.ssh(f"ls -d {OPT} /etc/run_record_archiver /etc/systemd/system/run-record*", check=False).stdout
        == ""
    )
    assert rollout.daq.ssh("id archiver", check=False).returncode != 0


def test_a_host_without_its_run_records_is_refused(rollout: Rollout) -> None:
    instances = [rollout.instance("sbnd", "/daq/not_mounted", "/daq/artdaqdb")]

    played = rollout.play("site.yml", "--limit", "archivers", check=False, rra_instances=instances)

    assert played.code != 0
    assert "there is no directory /daq/not_mounted; mount it first" in played.output
    assert rollout.daq.ssh("id archiver", check=False).returncode != 0


def test_it_converges(rollout: Rollout) -> None:
    rollout.play("site.yml")

    assert rollout.look(rollout.daq).service("run-record-archiver.timer").is_running
    assert rollout.look(rollout.stand).service("ucondb-dev").is_running


def test_the_second_converge_changes_nothing(rollout: Rollout) -> None:
    played = rollout.play("site.yml")
    checked = rollout.play("site.yml", "--check", "--diff")
    built = rollout.play("site.yml", "--check", "--limit", "archivers", rra_wheelhouse="")

    rollout.told.append(f"second converge: changed={played.changed}")
    assert played.changed == {"daq": 0, "stand": 0}
    assert checked.changed == {"daq": 0, "stand": 0}
    assert built.changed == {"daq": 0}, "the wheel that the role builds of the same source is another"


def test_the_timer_archives_the_records_in_a_ucondb_on_another_host(rollout: Rollout) -> None:
    wanted = set(range(5001, 5041))

    rollout.wait("40 runs archived", lambda: rollout.archived() == wanted)

    assert rollout.in_ucondb() == sorted(wanted)
    rollout.wait_for_cycle(begun=False)
    verified = rollout.daq.ssh("rra-run sbnd --verify").stdout
    assert "verified 40 runs: 40 equal" in verified


def test_the_units_are_hardened(rollout: Rollout) -> None:
    rollout.daq.ssh("systemd-analyze verify run-record-archiver@sbnd.service run-record-archiver.timer")
    for kind in ("", "-retry", "-verify"):
        told = rollout.daq.ssh(f"systemd-analyze security --no-pager run-record-archiver{kind}@sbnd.service").stdout
        score = re.search(r"Overall exposure level for (\S+): ([0-9.]+)", told)
        assert score is not None
        rollout.told.append(f"systemd-analyze security {score[1]}: {score[2]}")
        assert float(score[2]) <= 3.0

    wanted = {"User": "archiver", "ProtectSystem": "strict", "NoNewPrivileges": "yes", "KillMode": "mixed",
              "CapabilityBoundingSet": "", "UMask": "0022", "ReadOnlyPaths": "/daq/run_records"}  # fmt: skip
    assert {name: rollout.property(name) for name in wanted} == wanted


def test_secrets_are_for_root_alone(rollout: Rollout) -> None:
    daq = rollout.look(rollout.daq)

    secret = daq.file("/etc/run_record_archiver/sbnd/ucondb_password")
    assert (secret.user, secret.mode) == ("root", 0o600)
    config = daq.file("/etc/run_record_archiver/sbnd/config.yaml")
    assert (config.user, config.group, config.mode) == ("root", "archiver", 0o640)
    assert daq.run("runuser -u shifter -- cat %s", secret.path).rc != 0
    assert daq.run("runuser -u archiver -- cat %s", secret.path).rc != 0
    found = daq.run(
        f"grep -rlF {PASSWORD} /etc /opt /var/lib/run_record_archiver /var/log /daq/artdaqdb /run/systemd/system"
    )
    assert found.stdout.split() == [secret.path]
    assert (
        PASSWORD
        not in daq.run("systemctl show '*.service' --no-pager; journalctl --no-pager; cat /proc/*/cmdline").stdout
    )


def test_a_shifter_sees_the_status_and_can_do_nothing_else(rollout: Rollout) -> None:
    daq = rollout.look(rollout.daq)

    status = daq.run("runuser -u shifter -- rra-status")
    assert status.rc == 0
    assert "SAFE: every complete run on disk (40) is in UconDB." in status.stdout
    assert daq.run("runuser -u shifter -- rra-status sbnd --format csv").rc == 0
    for refused in (
        "sbnd --recover-import-state",
        "--format json --runs 1",
        "icarus",
        "sbnd ../../etc",
        "--config /tmp/x",
    ):
        assert daq.run(f"runuser -u shifter -- rra-status {refused}").rc == 1, refused
    program = f"{OPT}/current/bin/run-record-archiver"
    assert daq.run(f"runuser -u shifter -- sudo -n -u archiver {program} --version").rc != 0
    assert daq.run("runuser -u shifter -- sudo -n id").rc != 0


def test_the_commands_of_the_seed_work_for_the_default_instance(rollout: Rollout) -> None:
    daq = rollout.look(rollout.daq)

    daq.check_output("sudo systemctl stop run-record-archiver.timer")
    timers = daq.run("systemctl list-timers --no-legend 'run-record-archiver*'").stdout
    daq.check_output(f"cp {WORK}/importer_state.json {WORK}/importer_state.json.backup")
    daq.check_output(f"sudo chown -R archiver:archiver {WORK}")
    daq.check_output(f"python3 -m json.tool {WORK}/importer_state.json")
    daq.check_output("sudo systemctl start run-record-archiver.timer")

    assert timers == ""
    for timer in (
        "run-record-archiver.timer",
        "run-record-archiver-retry@sbnd.timer",
        "run-record-archiver-verify@sbnd.timer",
    ):
        assert daq.service(timer).is_running


def test_metrics_are_where_node_exporter_looks(rollout: Rollout) -> None:
    told = rollout.daq.ssh("cat /var/lib/prometheus/node-exporter/rra-sbnd.prom").stdout

    assert re.search(r"^rra_\w+", told, re.M)


def test_retry_and_verification_run_as_their_timers_would_run_them(rollout: Rollout) -> None:
    for kind in ("retry", "verify"):
        rollout.daq.ssh(f"systemctl start run-record-archiver-{kind}@sbnd.service")

        assert rollout.property("Result", f"run-record-archiver-{kind}@sbnd.service") == "success"


def test_an_upgrade_in_the_middle_of_a_cycle_loses_no_run(rollout: Rollout) -> None:
    wheel = rollout.wheel("0.2.0")
    rollout.records(400, 6001)
    rollout.wait("the new runs have begun", lambda: len(rollout.archived("import")) > 40)
    before = rollout.property("InvocationID")

    rollout.play("site.yml", "--limit", "archivers", rra_wheel=wheel)

    assert rollout.release() == "0.2.0"
    rollout.wait("all runs archived", lambda: len(rollout.archived()) == 440)
    assert rollout.in_ucondb() == sorted([*range(5001, 5041), *range(6001, 6401)])
    ended = rollout.daq.ssh(f"journalctl --output=cat --no-pager INVOCATION_ID={before}").stdout
    assert f"{UNIT}: Deactivated successfully." in ended
    assert rollout.property("Result") == "success"


def test_a_release_that_fails_its_check_stays_inactive(rollout: Rollout) -> None:
    broken = rollout.wheel("0.3.0", config=('"ucondb_password"', '"no_such_credential"'))

    played = rollout.play("site.yml", "--limit", "archivers", check=False, rra_wheel=broken)

    assert played.code != 0
    assert "but no user or password to write with" in played.output
    assert rollout.release() == "0.2.0"
    rollout.records(1, 6501)
    rollout.wait("the old release goes on", lambda: 6501 in rollout.archived())


def test_settings_that_fail_their_check_stay_inactive(rollout: Rollout) -> None:
    wheel = next((rollout.directory / "source-0.2.0/dist").glob("*.whl"))
    wrong = rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb")
    wrong["ucondb"]["folder_name"] = "no_such_folder"

    played = rollout.play("site.yml", "--limit", "archivers", check=False, rra_instances=[wrong], rra_wheel=str(wheel))

    assert played.code != 0
    assert "no_such_folder" not in rollout.daq.ssh("cat /etc/run_record_archiver/sbnd/config.yaml").stdout


def test_a_rollback_takes_the_release_before(rollout: Rollout) -> None:
    rollout.play("rollback.yml")

    assert rollout.release() == "0.1.0"
    rollout.records(1, 6502)
    rollout.wait("the release before archives", lambda: 6502 in rollout.archived())
    assert "0.1.0" in rollout.daq.ssh(f"{OPT}/current/bin/run-record-archiver --version").stdout


@pytest.mark.parametrize("way", ["reboot", "power cut"])
def test_a_host_that_goes_down_in_the_middle_of_a_cycle_goes_on_by_itself(rollout: Rollout, way: str) -> None:
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


def test_an_expired_password_is_told_and_a_new_one_is_taken(rollout: Rollout) -> None:
    rollout.stand.ssh("echo another > /etc/ucondb_dev.password; systemctl restart ucondb-dev")
    rollout.daq.ssh("rm -f /var/log/rra-alerts")
    (new,) = rollout.records(1, 9001)

    rollout.wait("an alert", lambda: UNIT in rollout.daq.ssh("cat /var/log/rra-alerts", check=False).stdout)
    told = rollout.daq.ssh("journalctl -t run-record-archiver-alert -p alert -o cat --no-pager").stdout

    assert f"{UNIT} failed on daq" in told
    assert "password" in rollout.daq.ssh("cat /var/log/rra-alerts").stdout
    assert new not in rollout.in_ucondb()
    rollout.password = "another"
    rollout.variables["rra_instances"][0]["ucondb_password"] = "another"
    rollout.play("site.yml", "--limit", "archivers")
    rollout.wait("the run is archived", lambda: new in rollout.archived())
    assert rollout.in_ucondb().count(new) == 1


def test_a_second_instance_leaves_the_first_alone(rollout: Rollout) -> None:
    first = rollout.archived()
    rollout.records(20, 101, "/icarus/run_records")
    rollout.variables["rra_instances"].append(rollout.instance("icarus", "/icarus/run_records", "/icarus/artdaqdb"))

    rollout.play("site.yml", "--limit", "archivers")

    wanted = set(range(101, 121))
    rollout.wait("its runs are archived", lambda: rollout.archived(work=f"{WORK}-icarus") == wanted)
    assert rollout.in_ucondb("icarus") == sorted(wanted)
    assert rollout.archived() == first
    assert rollout.daq.ssh("rra-status icarus").stdout.count("SAFE: every complete run on disk (20)") == 1


def test_a_removed_instance_keeps_its_data(rollout: Rollout) -> None:
    rollout.variables["rra_instances"][1]["state"] = "absent"

    rollout.play("site.yml", "--limit", "archivers")

    assert rollout.archived(work=f"{WORK}-icarus") == set(range(101, 121))
    assert rollout.daq.ssh("ls /icarus/artdaqdb").stdout != ""
    assert rollout.daq.ssh("ls -d /etc/run_record_archiver/icarus", check=False).returncode != 0
    assert rollout.daq.ssh("systemctl list-timers --no-legend '*icarus*'").stdout == ""
    assert rollout.look(rollout.daq).service("run-record-archiver.timer").is_running


def test_a_host_without_state_is_refused_until_it_may_adopt_what_is_archived(rollout: Rollout) -> None:
    rollout.daq.ssh(f"rm -r {WORK}-icarus")
    rollout.variables["rra_instances"][1]["state"] = "present"

    refused = rollout.play("site.yml", "--limit", "archivers", check=False)
    timer = rollout.daq.ssh("systemctl is-active run-record-archiver@icarus.timer", check=False).stdout.strip()
    rollout.play("site.yml", "--limit", "archivers", rra_adopt_existing=True)

    assert refused.code != 0
    assert "to take them over set rra_adopt_existing: true" in refused.output
    assert timer == "inactive"
    assert rollout.archived(work=f"{WORK}-icarus") == set(range(101, 121))
    begun = time.monotonic()
    rollout.wait("a cycle", lambda: rollout.property("Result", "run-record-archiver@icarus.service") == "success")
    assert time.monotonic() - begun < 120
    assert rollout.in_ucondb("icarus") == list(range(101, 121))


def test_removal_keeps_the_data_unless_told(rollout: Rollout) -> None:
    archived = rollout.archived()

    rollout.play("site.yml", "--limit", "archivers", rra_state="absent")

    assert rollout.archived() == archived
    gone = f"{OPT} /etc/run_record_archiver /etc/systemd/system/run-record-archiver* /usr/local/bin/rra-status"
    assert rollout.daq.ssh(f"ls -d {gone}", check=False).stdout == ""
    assert rollout.daq.ssh("systemctl list-units --all --no-legend 'run-record-archiver*.timer'").stdout == ""
    again = rollout.play("site.yml", "--limit", "archivers", rra_state="absent")
    assert again.changed == {"daq": 0}

    rollout.play("site.yml", "--limit", "archivers", rra_state="absent", rra_purge=True)

    assert rollout.daq.ssh(f"ls -d {WORK}", check=False).returncode != 0
    assert rollout.daq.ssh("ls /daq/artdaqdb").stdout != ""
