"""What the collections of a vector server are called, for those who write them and those who give rights to them."""


def collection_names(start: str) -> tuple[str, str]:
    """Collections of the live and of the archived rows, by the setting ``weaviate.collection``."""
    return f"{start}Live", f"{start}Archive"
