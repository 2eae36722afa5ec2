"""Finds who has the address that a workspace's socket for HTTP is to listen at."""

from flowd.service.systemctl import ServiceManager


def why_taken(manager: ServiceManager, unit: str) -> str:
    """Who has the address of a unit that could not listen, and what to do, as the end of a sentence."""
    address = manager.show(unit, "Listen").get("Listen", "").rpartition(" (")[0]
    if others := _units_at(manager, unit, address):
        return (
            f"{' and '.join(others)} {'has' if len(others) == 1 else 'have'} {address}, too. Choose another address "
            "for one of them ([http] listen)"
        )
    return f"look who has {address}: ss -ltnp 'sport = :{address.rpartition(':')[2]}'"


def _units_at(manager: ServiceManager, unit: str, address: str) -> list[str]:
    """Other workspaces' units that listen at the same address."""
    listed = manager.run("list-units", "--no-legend", "--plain", "--state=active", "flowd-http@*.socket")
    others = [line.split()[0] for line in listed.splitlines() if line.strip()]
    return [
        other
        for other in others
        if other != unit and manager.show(other, "Listen").get("Listen", "").startswith(f"{address} (")
    ]
