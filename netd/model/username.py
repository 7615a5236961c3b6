"""User names as keys. Apart from ``netd.model.subscriber`` so that it can be compiled with what calls it for every packet."""


def username_key(username: str) -> str:
    """The form under which user names are compared: surrounding blanks off, Unicode lower case.

    The one case rule of netd: authentication, accounting, session limits and the API all compare this form.
    """
    return username.strip().lower()
