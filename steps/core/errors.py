"""The one exception that means: the user can repair this."""

EXIT_USER = 2
EXIT_BUG = 1


class RecipeError(Exception):
    """What a user did, or what their data or machine lacks: shown as one message, exit status 2.

    The message says what happened and where (file, line, key, id), what was expected and what was found,
    and what to do next.
    """
