"""What methods take and give: one module per subject, each with its parameters, its views, and what makes the views.

A view is a struct. Its fields are the members of the JSON, in camelCase; a field that is None is absent, never null.
The descriptions of the API (OpenRPC, OpenAPI) are made of the same structs, so a member is added in one place.
"""

import msgspec


class View(msgspec.Struct, rename="camel", omit_defaults=True):
    """Base of everything that callers get to see."""
