"""A compiled JSON Schema as data: how a payload is checked, what that may cost, and why one does not fit. No I/O."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True, slots=True)
class SchemaError:
    """Why a payload does not fit: where (``$.a[0]``), which keyword, and a sentence."""

    path: str
    keyword: str
    message: str


@dataclass(frozen=True)
class SchemaSource:
    """A schema as it was read: all that another process needs to make the same check.

    Attributes:
        path: Absolute path of the schema file.
        package: Absolute path of the package's folder.
        documents: The texts of the schema and of every file that it refers to, by absolute path.
        is_subset: Check as the reference system does, by four keywords only.
    """

    path: str
    package: str
    documents: Mapping[str, bytes]
    is_subset: bool = False

    @cached_property
    def key(self) -> str:
        """The same for the same check."""
        total = hashlib.sha256(repr((self.path, self.package, self.is_subset)).encode("utf-8", "surrogatepass"))
        for path in sorted(self.documents):
            total.update(hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest())
            total.update(hashlib.sha256(self.documents[path]).digest())
        return total.hexdigest()


@dataclass(frozen=True)
class PayloadCheck:
    """A compiled schema.

    Attributes:
        run: Makes the check here and now: an empty list means that the payload fits. At most 20 errors, never raises.
            None where it is costly.
        weight: What one value of a payload can cost, in units of 10 ns and more; `COSTLY` where nothing bounds it.
        source: For making the check elsewhere; None where it is always cheap.
        why_costly: The rest of a sentence on the schema, None where it is cheap.
        unchecked_formats: Values of ``format`` in the schema, in a draft where they are a note to the reader.
    """

    run: Callable[[object], list[SchemaError]] | None = field(default=None, repr=False)
    weight: int = 1
    source: SchemaSource | None = None
    why_costly: str | None = None
    unchecked_formats: tuple[str, ...] = ()


COSTLY = 1 << 60
"""The weight of a schema that is never checked on the event loop."""
