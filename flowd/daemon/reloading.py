"""What a reload of the packages has changed."""

from flowd.domain.flow import Snapshot


def changes_of(before: Snapshot, after: Snapshot) -> dict[str, str]:
    """What is different, as fields of a log line."""
    old, new = before.by_name, after.by_name
    names = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name].package_hash != old[name].package_hash],
        "broken_packages": [package.name for package in after.broken],
    }
    return {what: ",".join(found) for what, found in names.items() if found}
