"""What may be asked: a query is a sentence with at least one word in it."""

from vmrtool.errors import UsageError
from vmrtool.text.tokens import tokenize


def query_words(query: str) -> list[str]:
    """The words of a query.

    Raises:
        UsageError: there are none.
    """
    words = tokenize(query)
    if not words:
        why = f"the query {query!r} holds no word" if query.strip() else "the query is empty"
        raise UsageError(why, remedy='Say what to look for: vmrtool search "person opens a door"')
    return words
