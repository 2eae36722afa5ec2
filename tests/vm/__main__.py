"""``make vm``: boot a Debian, install flowd in it as a new user would, and try what only a whole machine can show."""

import argparse
import shlex
import signal
import sys
import time
import xml.etree.ElementTree as ET

from vm.image import image, missing
from vm.machine import Machine
from vm.wheels import CHECKOUT, wheels

FOLDER = CHECKOUT / ".tools" / "vm"
_CHECKS = "/opt/checks"
_INSTALL = f"""
set -e
python3 -m venv /opt/flowd
/opt/flowd/bin/pip install --quiet --no-index --find-links {_CHECKS}/wheels/needed --find-links {_CHECKS}/wheels/now \
    codex-flowd pytest pytest-timeout
ln -sf /opt/flowd/bin/flowd /usr/local/bin/flowd
"""
_PYTEST = (
    f"cd {_CHECKS} && FLOWD_IN_VM=1 /opt/flowd/bin/python -m pytest -p no:cacheprovider --color=no "
    "--timeout=1800 -o junit_family=xunit1"
)
_REBOOTS = {
    "test_2_after_a_reboot.py": "systemctl reboot",
    "test_3_after_a_power_cut.py": "echo b > /proc/sysrq-trigger",
}


def main() -> int:
    """Run the checks; 0 where all held, 1 where one did not, 2 where this machine cannot run them."""
    parser = argparse.ArgumentParser(prog="make vm", description=__doc__)
    parser.add_argument("-k", metavar="WORDS", help="only checks with these words, as pytest has it, and no reboots")
    parser.add_argument("--wait", action="store_true", help="no checks: only boot, install, and say how to get in")
    options = parser.parse_args()
    if lacking := missing():
        print("NOT TESTED in a machine of its own. This one lacks:", *lacking, sep="\n  ", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # which ends the machine, too
    began_s = time.monotonic()
    booted = image(FOLDER)
    sent = wheels(FOLDER, booted.python)
    with Machine(booted, FOLDER) as machine:
        boot = machine.await_boot()
        print(f"booted {'with KVM' if machine.has_kvm else 'without KVM, slow'}: {_about(machine)}", flush=True)
        machine.send(sent.parent, [sent.name], _CHECKS)
        machine.send(CHECKOUT, ["pyproject.toml", "tests", "systemd", "README.md"], _CHECKS)
        machine.run(_INSTALL)
        if options.wait:
            print(f"get in by: {shlex.join(machine.ssh_command())}\nctrl-c ends it", flush=True)
            signal.pause()
        reports = [_suite(machine, "guest", *(("-k", options.k) if options.k else ()))]
        if not options.k:
            reports.append(_suite(machine, "reboot/test_1_before.py"))
            for file, how in _REBOOTS.items():
                machine.go_down(how)
                boot = machine.await_boot(other_than=boot)
                reports.append(_suite(machine, f"reboot/{file}"))
    failed = _table(reports)
    print(f"{time.monotonic() - began_s:.0f} s in all")
    return 1 if failed else 0


def _about(machine: Machine) -> str:
    script = '. /etc/os-release; echo "$PRETTY_NAME, Linux $(uname -r), $(systemctl --version | head -1)"'
    return machine.run(script).strip()


def _suite(machine: Machine, path: str, *words: str) -> str:
    """Run checks, and return pytest's report."""
    machine.show(f"rm -f /tmp/report; {_PYTEST} --junitxml=/tmp/report tests/vm/{path} {shlex.join(words)}")
    return machine.run("cat /tmp/report")


def _table(reports: list[str]) -> int:
    """Print every check, how it ended and what was seen; how many did not hold, none at all being one."""
    counts = {"held": 0, "FAILED": 0}
    for report in reports:
        for case in ET.fromstring(report).iter("testcase"):
            ended = "held" if all(case.find(bad) is None for bad in ("failure", "error", "skipped")) else "FAILED"
            counts[ended] += 1
            name = str(case.get("name")).removeprefix("test_").replace("_", " ")
            print(f"{ended:6} {float(case.get('time') or 0):5.0f} s  {name}")
            for entry in case.iter("property"):
                if entry.get("name") == "seen":
                    print(f"{'':16}{' '.join(str(entry.get('value')).split())}")
    print(", ".join(f"{count} {ended}" for ended, count in counts.items()))
    return counts["FAILED"] or (0 if counts["held"] else 1)


if __name__ == "__main__":
    sys.exit(main())
