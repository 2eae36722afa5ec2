"""Every slug that the daemon refuses with stands in a table of the wire, or the refusal would become a fault."""

import ast
from collections.abc import Iterator
from pathlib import Path

import flowd
from flowd_client import wire

TABLES = {"error_of": wire.FAILURES, "refusal": wire.FAILURES, "HttpError": wire.HTTP_FAILURES}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    for path in Path(flowd.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.name, node


def slugs_of_classes() -> Iterator[tuple[str, str]]:
    """The slugs that error classes have, each with where it stands."""
    for file, node in nodes():
        if isinstance(node, ast.ClassDef):
            for line in node.body:
                match line:
                    case (
                        ast.Assign(targets=[ast.Name("slug")], value=ast.Constant(str() as slug))
                        | ast.AnnAssign(target=ast.Name("slug"), value=ast.Constant(str() as slug))
                    ):
                        yield f"{file}:{node.name}", slug


def slugs_of_calls() -> Iterator[tuple[str, str, str]]:
    for file, node in nodes():
        match node:
            case ast.Call(func=ast.Name(name), args=[ast.Constant(str() as slug), *_]) if name in TABLES:
                yield f"{file}:{node.lineno}", name, slug


def test_every_error_class_has_a_slug_of_the_table() -> None:
    found = dict(slugs_of_classes())
    assert found["errors.py:RefusedError"] == "refused"
    assert {where: slug for where, slug in found.items() if slug not in wire.FAILURES} == {}


def test_every_error_made_by_its_slug_has_one_of_its_table() -> None:
    found = list(slugs_of_calls())
    assert {name for _, name, _ in found} == set(TABLES)
    assert [(where, slug) for where, name, slug in found if slug not in TABLES[name]] == []
