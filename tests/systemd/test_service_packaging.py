"""What comes with flowd for those who install it otherwise than by ``flowd service install``."""

import os
import re

from daemon_rig import say, until
from systemd_rig import CHECKOUT, FLOWD, Box, install


def test_the_recipe_by_hand_works(box: Box) -> None:
    text = (CHECKOUT / "systemd" / "README.md").read_text(encoding="utf-8")
    found = re.search(r"## By hand.*?```sh\n(.*?)```", text, re.DOTALL)
    assert found is not None
    workspace = "/var/tmp/automation"
    recipe = found[1].replace("/srv/automation", workspace)
    box.flow(workspace, "quick", f"id -un; pwd; echo $HOME; touch ~/mine\n{say('changed')}", owner="root")
    path = f"{FLOWD.parent}:{os.defpath}:/usr/sbin:/sbin"
    box.run("rm", "-rf", "/etc/sysusers.d", "/etc/tmpfiles.d")  # as on a fresh Debian
    box.run("sh", "-euc", f"cd {CHECKOUT}; {recipe}", PATH=path)
    try:
        run = box.flowd(workspace, "dispatch", "--type", "quick.go", "--wait", "--json", user=None)["runs"][0]
        printed = box.flowd(workspace, "logs", run["id"], user=None).split("FLOW_RESULT")[0].split()
        assert (run["effectiveStatus"], printed[0], printed[2]) == ("changed", "flowd", "/var/lib/flowd-home")
        assert box.run("stat", "-c", "%U", "/var/lib/flowd", "/var/lib/flowd-home").stdout.split() == ["root", "flowd"]

        timer = "flowd-prune@var-tmp-automation"
        box.systemctl("start", f"{timer}.timer", f"{timer}.service")
        assert (box.show(f"{timer}.timer", "ActiveState"), box.show(f"{timer}.service", "Result")) == (
            "active",
            "success",
        )

        box.flow(workspace, "long", "cat /proc/self/oom_score_adj; exec sleep 300", owner="root")
        box.flowd(workspace, "reload", user=None)
        box.flowd(workspace, "dispatch", "--type", "long.go", user=None)
        (step,) = until(lambda: box.alive("^sleep 300$"), what="the step")
        pids = box.run("systemctl", "show", "--value", "--property=MainPID", "flowd@var-tmp-automation.service").stdout
        keeper = box.flowd(workspace, "status", "--json", user=None)["keeper"]["pid"]
        scores = [box.read(f"/proc/{pid}/oom_score_adj").strip() for pid in (pids.strip(), keeper, step)]
        # Where the box may not protect anybody, nobody is; a virtual machine shows it whole.
        assert scores in (["-500", "-500", "0"], ["0", "0", "0"])
        assert box.show("flowd@var-tmp-automation.service", "OOMScoreAdjust") == "-500"
    finally:
        units = ("flowd@var-tmp-automation.service", "flowd@var-tmp-automation.socket")
        box.systemctl("disable", "--now", *units, check=False)
        box.systemctl("stop", "flowd-prune@var-tmp-automation.timer", check=False)
        box.run("rm", "-rf", workspace, "/etc/sysusers.d/flowd.conf", "/etc/tmpfiles.d/flowd.conf")
        box.run("userdel", "flowd", check=False)
        box.run("chown", "root:", "/var/lib/flowd")


def test_an_install_for_roots_workspace_makes_the_user_with_a_home_of_its_own(box: Box) -> None:
    workspace = "/var/tmp/roots"
    box.run("sh", "-c", "rm -rf /etc/systemd/system/flowd*")  # a package's units would keep the user's files
    box.run("mkdir", "-p", workspace)
    try:
        done = install(box, workspace)
        assert done.returncode == 0, done.stderr
        assert box.run("stat", "-c", "%U", "/var/lib/flowd", "/var/lib/flowd-home").stdout.split() == ["root", "flowd"]
        assert box.run("sh", "-c", "echo ~flowd").stdout.strip() == "/var/lib/flowd-home"
        box.run(str(FLOWD), "service", "uninstall", "--system", "-w", workspace)
        assert box.run("find", "/etc/sysusers.d", "/etc/tmpfiles.d", "-name", "flowd.conf", check=False).stdout == ""
    finally:
        box.run("rm", "-rf", workspace, "/var/lib/flowd-home")
        box.run("userdel", "flowd", check=False)
