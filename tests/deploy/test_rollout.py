"""From a bare host to an archiver at work: the begin of one sequence, which test_rollout_later.py goes on with."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.deploy.rollout import ANSIBLE, OPT, PASSWORD, WORK, Rollout

pytestmark = pytest.mark.timeout(1500)


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


def test_check_mode_on_a_bare_host_changes_nothing(rollout: Rollout) -> None:
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
    assert PASSWORD not in played.output
    assert rollout.daq.ssh("id archiver", check=False).returncode != 0


def test_it_converges_where_the_existing_archiver_was(rollout: Rollout) -> None:
    units = {
        "timer": "[Timer]\nOnCalendar=*:*:0/5\n",
        "service": "[Service]\nExecStart=/usr/bin/touch /root/existing\n",
    }
    for kind, text in units.items():
        (rollout.daq.tree / f"etc/systemd/system/run-record-archiver.{kind}").write_text(text)
    rollout.daq.ssh("systemctl daemon-reload; systemctl start run-record-archiver.timer")

    rollout.play("site.yml")

    rollout.daq.ssh("rm /etc/systemd/system/run-record-archiver.service; systemctl daemon-reload")
    assert rollout.property("Unit", "run-record-archiver.timer") == "run-record-archiver@sbnd.service"
    assert rollout.look(rollout.daq).service("run-record-archiver.timer").is_running
    assert rollout.look(rollout.stand).service("ucondb-dev").is_running


def test_the_second_converge_changes_nothing(rollout: Rollout) -> None:
    played = rollout.play("site.yml")
    checked = rollout.play("site.yml", "--check", "--diff")
    built = rollout.play("site.yml", "--check", "--limit", "archivers", rra_wheelhouse="")

    rollout.told.append(f"second converge: changed={played.changed}")
    assert played.changed == {"daq": 0, "stand": 0}, played.output
    assert checked.changed == {"daq": 0, "stand": 0}, checked.output
    assert built.changed == {"daq": 0}, "the wheel that the role builds of the same source is another"


@pytest.mark.parametrize("phase", ["install", "configure", "service", "verify"])
def test_a_phase_alone_is_checked_true_to_life(rollout: Rollout, phase: str) -> None:
    played = rollout.play("site.yml", "--check", "--limit", "archivers", "--tags", f"run_record_archiver_{phase}")

    assert played.changed == {"daq": 0}


def test_check_mode_shows_a_changed_setting_without_secrets(rollout: Rollout) -> None:
    instance = rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb")
    instance["settings"]["source_files"]["settle_seconds"] = 7
    open_ = rollout.play(
        "site.yml", "--check", "--diff", "--tags", "run_record_archiver_configure", rra_instances=[instance]
    )
    instance["settings"]["reporting"] = {"urls": ["json://daq:a-secret-of-the-notifier@localhost"]}
    closed = rollout.play(
        "site.yml", "--check", "--diff", "--tags", "run_record_archiver_configure", rra_instances=[instance]
    )
    directory = "/etc/run_record_archiver/sbnd"
    rollout.daq.ssh(f"echo '# json://daq:another-secret@localhost' >> {directory}/candidate.yaml")
    removed = rollout.play("site.yml", "--check", "--diff", "--tags", "run_record_archiver_configure")
    rollout.daq.ssh(f"cp -p {directory}/config.yaml {directory}/candidate.yaml")

    assert "settle_seconds: 7" in open_.output
    assert open_.changed["daq"] == closed.changed["daq"] == 1
    assert "a-secret-of-the-notifier" not in closed.output
    assert removed.changed["daq"] == 1
    assert "another-secret" not in removed.output


def test_another_default_instance_is_refused(rollout: Rollout) -> None:
    sbnd, icarus = rollout.variables["rra_instances"][0], rollout.instance("icarus", "/daq/run_records", "/icarus/db")
    swapped = {"rra_instances": [icarus, sbnd]}

    tried = [rollout.play("site.yml", "--limit", "archivers", check=False, **swapped)]
    tried.append(
        rollout.play("site.yml", "--limit", "archivers", check=False, rra_ensure="absent", rra_purge=True, **swapped)
    )
    rollout.daq.ssh("mv /var/lib/run_record_archiver.default /root")
    tried.append(rollout.play("site.yml", "--limit", "archivers", check=False, **swapped))
    rollout.daq.ssh("mv /root/run_record_archiver.default /var/lib")

    for played in tried:
        assert played.code != 0
        assert "this host's default instance is sbnd" in played.output


def test_the_timer_archives_into_another_hosts_ucondb(rollout: Rollout) -> None:
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

    secret, candidate = (
        daq.file(f"/etc/run_record_archiver/sbnd/{name}") for name in ("ucondb_password", "candidate_password")
    )
    assert (secret.user, secret.mode) == (candidate.user, candidate.mode) == ("root", 0o600)
    pgpass = daq.file("/etc/run_record_archiver/sbnd/pgpass")
    assert (pgpass.user, pgpass.mode) == ("archiver", 0o600)
    config = daq.file("/etc/run_record_archiver/sbnd/config.yaml")
    assert (config.user, config.group, config.mode) == ("root", "archiver", 0o640)
    assert daq.run("runuser -u shifter -- cat %s", secret.path).rc != 0
    assert daq.run("runuser -u archiver -- cat %s", secret.path).rc != 0
    found = daq.run(
        f"grep -rlF {PASSWORD} /etc /opt /var/lib/run_record_archiver /var/log /daq/artdaqdb /run/systemd/system"
    )
    assert sorted(found.stdout.split()) == [candidate.path, secret.path]
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
    daq.check_output("sudo systemctl restart run-record-archiver.timer")

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
