"""The addresses and environment variables of each provider. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """One API host. The request goes to `{base_url}/embeddings`."""

    name: str
    base_url: str
    api_key_variable: str
    api_base_variable: str
    keys_page: str
    credits_per_usd: int | None = None


_PROVIDERS = (
    Provider(
        name="aimlapi",
        # docs/integrations/litellm.md of github aimlapi/api-docs (2026-05-20) calls /v1 current.
        base_url="https://api.aimlapi.com/v1",
        api_key_variable="AIMLAPI_API_KEY",
        api_base_variable="AIMLAPI_API_BASE",
        keys_page="https://aimlapi.com/app/keys",
        # docs/faq/how-can-i-track-my-funds.md of github aimlapi/api-docs (f14fa72f, 2026-08-21).
        credits_per_usd=2_000_000,
    ),
    Provider(
        name="nugen",
        # https://api.nugen.in/openapi-public.json (v25.4.20).
        base_url="https://api.nugen.in/api/v3/inference",
        api_key_variable="NUGEN_API_KEY",
        api_base_variable="NUGEN_API_BASE",
        keys_page="https://docs.nugen.in",
    ),
)

PROVIDERS: Mapping[str, Provider] = MappingProxyType({p.name: p for p in _PROVIDERS})
