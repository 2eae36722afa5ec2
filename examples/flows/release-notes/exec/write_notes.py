"""Writes RELEASE_NOTES-<tag>.md from the commits since the tag before.

An event is somebody else's text: the tag is only ever used as the name of a tag, and the checkout has to lie in the
workspace.
"""

import re
import subprocess
from pathlib import Path


def run(context):
    payload = context["flow"]["event"]["payload"]
    skip = tuple(context["flow"].get("config", {}).get("skip", []))
    tag = payload["tag"]

    workspace = Path.cwd()  # the step's cwd is "@"
    checkout = (workspace / payload.get("checkout", ".")).resolve()
    if not checkout.is_relative_to(workspace):
        return {"status": "blocked", "message": f"The checkout {checkout} is outside the workspace."}
    commit = git(checkout, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/tags/{tag}^{{commit}}")
    if commit is None:
        return {"status": "blocked", "message": f"{checkout} has no tag {tag}. Run `git fetch --tags` there and retry."}

    previous = git(checkout, "describe", "--tags", "--abbrev=0", f"{commit}^")
    print(f"reading the commits from {previous or 'the beginning'} to {tag}")
    subjects = git(checkout, "log", "--format=%h %s", f"refs/tags/{previous}..{commit}" if previous else commit) or ""
    commits = [line.split(" ", 1) for line in subjects.splitlines()]
    commits = [(short, subject) for short, subject in commits if not subject.startswith(skip)]
    if not commits:
        return {"status": "skipped", "message": f"Nothing new since {previous}."}

    notes = "\n".join(
        [f"# {payload['repo']} {tag}", "", *(f"- {subject} ({short})" for short, subject in commits), ""]
    )
    path = workspace / f"RELEASE_NOTES-{re.sub(r'[^A-Za-z0-9._-]+', '-', tag)}.md"
    artifacts = {"path": str(path), "commits": len(commits)}
    if path.is_file() and path.read_text(encoding="utf-8") == notes:
        return {"status": "skipped", "message": f"{path.name} is up to date.", "artifacts": artifacts}
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(notes, encoding="utf-8")
    temporary.replace(path)
    return {"status": "changed", "message": f"Wrote {path.name} with {len(commits)} changes.", "artifacts": artifacts}


def git(folder, *arguments):
    """What git prints, or None when it fails."""
    done = subprocess.run(["git", "-C", folder, *arguments], capture_output=True, text=True, encoding="utf-8")
    return done.stdout.strip() if done.returncode == 0 else None
