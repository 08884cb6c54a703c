"""The login at Neo4j: read again from its file when the server has refused it, and not before.

So the file may be rewritten before Neo4j knows the new password: connections that are open go on with the old one.
"""

from neo4j import Auth, basic_auth
from neo4j.auth_management import AsyncAuthManager
from neo4j.exceptions import Neo4jError

from graphinator.settings import Neo4jSettings


class Login(AsyncAuthManager):
    """What the driver logs in with. None if no password is set, for a server without authentication."""

    def __init__(self, settings: Neo4jSettings) -> None:
        self._settings = settings
        self._auth = settings.auth
        self._is_refused = False

    async def get_auth(self) -> Auth | None:
        """Give the driver what is known. An open connection logs in again if that differs from its own."""
        if self._is_refused:
            self._auth = self._settings.auth
            self._is_refused = False
        return basic_auth(*self._auth) if self._auth else None

    async def handle_security_exception(self, auth: object, error: Neo4jError) -> bool:
        """Hear of a refusal on an open connection; say that the driver need not try again."""
        self.look_at(error)
        return False

    def look_at(self, error: Neo4jError) -> None:
        """See whether this is a refusal. The driver itself tells nobody of that of a new connection."""
        if (error.code or "").endswith(".Security.Unauthorized"):
            self._is_refused = True
