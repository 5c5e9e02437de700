"""Tell whether programs were compiled or read from JAX's cache on disk."""

import jax

_HIT = "/jax/compilation_cache/cache_hits"
_hits = 0
_listening = False


def programs_read() -> int:
    """Return how many programs this process has read from the cache since the first call."""
    global _listening
    if not _listening:
        _listening = True
        jax.monitoring.register_event_listener(_count)
    return _hits


def _count(event: str, **_: str | int) -> None:
    global _hits
    _hits += event == _HIT
