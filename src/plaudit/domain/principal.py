"""Who is asking: a user with a token, or the host app itself."""

import msgspec


class Principal(msgspec.Struct, frozen=True):
    """What a verified token says. `grants` are target ids, or prefixes ending in `*`; `expires_at` is epoch seconds."""

    user: str | None
    service: bool = False
    grants: tuple[str, ...] = ()
    expires_at: float = 0.0

    def granted(self, target: str) -> bool:
        """Whether the token opens this target where its type needs a grant. The host app may see everything."""
        if self.service:
            return True
        return any(target.startswith(g[:-1]) if g.endswith("*") else target == g for g in self.grants)
