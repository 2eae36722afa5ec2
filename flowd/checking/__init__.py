"""What somebody who asks for a check is told of flow packages, beyond what the catalog says of them by itself."""
