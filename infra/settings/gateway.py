"""Settings of the gateway: where it listens, whom it believes, how much it lets in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from infra.settings.servers import Group

LOOPBACK = ("127.0.0.1", "::1", "localhost")
Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]  # fmt: skip
ScopeName = Literal["ask", "read", "write", "access"]


class PersonSettings(Group):
    """Somebody to be in a demo."""

    name: str = Field(min_length=1, max_length=200)
    """Who."""
    tenant: str = Field(default="default", min_length=1, max_length=200)
    """Whose documents."""
    groups: tuple[str, ...] = ()
    """Groups beside everyone."""


class TokenSettings(Group):
    """Tokens of persons: who makes them, and which of their claims say what."""

    jwks: str = ""
    """Public keys of the identity provider: a file, or an https address. Without it no token counts."""
    issuer: str = ""
    """What `iss` has to say."""
    audience: str = ""
    """What `aud` has to say, or hold."""
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    """Signatures that count; none of them is made with a secret that the gateway knows."""
    tenant_claim: str = Field(default="tenant", min_length=1)
    """Claim that names the tenant; dots lead into objects, here and below."""
    user_claim: str = Field(default="sub", min_length=1)
    """Claim that names the user."""
    groups_claim: str = Field(default="groups", min_length=1)
    """Claim that lists groups."""
    scopes_claim: str = Field(default="scope", min_length=1)
    """Claim with what the token may do: `ask`, `read`, `write`, `access`."""
    scope_prefix: str = ""
    """What precedes these words in the claim, such as `millrace:`; others in it are passed over."""
    default_scopes: tuple[ScopeName, ...] = ("ask", "read")
    """What a token without that claim may do."""
    leeway_s: int = Field(default=30, ge=0, le=300)
    """How far the clocks of provider and gateway may differ, in seconds."""
    again_s: float = Field(default=30.0, gt=0)
    """Least time between two readings of the keys that tokens with unknown keys lead to, in seconds."""
    max_age_s: float = Field(default=600.0, gt=0)
    """After so long the keys are read again, so that a withdrawn one stops counting, in seconds."""

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.jwks and not (self.issuer and self.audience and self.algorithms):
            raise ValueError(
                "tokens need issuer, audience and algorithms beside jwks: without them anyone's would count"
            )
        if "://" in self.jwks and not self.jwks.startswith("https://"):
            raise ValueError("jwks is an address without TLS; name a file or an https address")
        return self


class LimitSettings(Group):
    """What one tenant, and everyone together, may ask of the gateway; 0 sets no limit where it says so."""

    requests_per_minute: int = Field(default=600, ge=0)
    """Requests of one tenant at all replicas together; 0 for any number."""
    tokens_per_minute: int = Field(default=200_000, ge=0)
    """Tokens of one tenant's questions and answers, four bytes each, counted in hundreds; 0 for any number."""
    documents_per_minute: int = Field(default=6_000, ge=0)
    """Writes of one tenant, of documents and of access; 0 for any number."""
    concurrent_per_tenant: int = Field(default=64, ge=1)
    """Questions of one tenant that wait for an answer at the same time."""
    concurrent: int = Field(default=512, ge=1)
    """Questions of everyone that wait at one replica at the same time."""
    connections: int = Field(default=2048, ge=1)
    """Connections that a replica holds; further ones are told to come again."""
    max_lag_s: float = Field(default=1.0, gt=0)
    """How late a replica may be with its work before it takes no more questions, in seconds."""
    question_chars: int = Field(default=4_000, ge=1)
    """Longest question; workers refuse those over `query.max_question_chars` whatever this says."""
    question_timeout_s: float = Field(default=120.0, gt=0)
    """Longest time that a question may ask for, in seconds."""
    body_bytes: int = Field(default=256 * 1024, ge=1024)
    """Largest body other than a document."""
    document_bytes: int = Field(default=20 * 1024 * 1024, ge=1024)
    """Largest document."""
    uploads_bytes: int = Field(default=256 * 1024 * 1024, ge=1024)
    """Bodies of documents that a replica holds at the same time; one more is told to come again."""
    head_timeout_s: float = Field(default=10.0, gt=0)
    """How long a caller may take for the head of a request, in seconds."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """How long a caller may take for its body, in seconds."""
    send_timeout_s: float = Field(default=30.0, gt=0)
    """How long a caller may take nothing of what it is sent, in seconds."""


class OpenAISettings(Group):
    """The OpenAI-compatible interface."""

    model: str = Field(default="millrace", min_length=1, max_length=200)
    """Name under which clients ask questions; the model for embeddings is named as the embedder is."""
    embeddings: bool = True
    """Whether callers may have texts embedded. Each replica then loads the embedder, or asks the model server."""
    messages: int = Field(default=256, ge=1)
    """Messages of a conversation that are taken; all but the last user message are not read."""
    inputs: int = Field(default=256, ge=1)
    """Texts of one embedding request."""
    concurrent_embeddings: int = Field(default=16, ge=1)
    """Embedding requests at the same time at one replica; one more is told to come again."""


class GraphQLSettings(Group):
    """What one GraphQL request may ask for; it is refused before anything is looked up."""

    characters: int = Field(default=20_000, ge=1)
    """Length of its text."""
    tokens: int = Field(default=2_000, ge=1)
    """Tokens of its text."""
    depth: int = Field(default=8, ge=1, le=50)
    """Fields within fields."""
    aliases: int = Field(default=20, ge=0)
    """Fields under another name."""
    repeats: int = Field(default=10, ge=1)
    """How often one field may be asked for in one place."""
    operations: int = Field(default=5, ge=1)
    """Operations in its text, of which one is done."""
    cost: int = Field(default=5_000, ge=1)
    """Price of what would be looked up: lists count as often as they have results."""
    introspection: bool = False
    """Whether the schema may be asked for."""


class GatewaySettings(Group):
    """The gateway."""

    count: int = Field(default=0, ge=0, le=32)
    """Replicas that `up` starts, beside the workers."""
    host: str = Field(default="127.0.0.1", min_length=1)
    """Where it listens. Anywhere but on loopback it wants tokens or keys."""
    port: int = Field(default=0, ge=0, le=65535)
    """Port of the first replica, the others take the following ones; 0 chooses free ones."""
    tls_cert: Path | None = None
    """Certificate chain, PEM; with it callers come by https."""
    tls_key: Path | None = None
    """Its private key, PEM."""
    proxies: tuple[str, ...] = ()
    """Addresses of reverse proxies whose word on callers' addresses and on https counts."""
    hosts: tuple[str, ...] = ()
    """Names under which it may be called; by default those of loopback there, and any elsewhere."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call it from a browser."""
    link_hosts: tuple[str, ...] = ()
    """Hosts that links in answers may lead to, on its pages."""
    secret: SecretStr = SecretStr("")
    """What replicas share to seal what callers keep for them; by default drawn once into the home folder."""
    keys: Path | None = None
    """File of API keys, as `python -m infra keys` writes it. Default: `gateway-keys.json` in the home folder."""
    people: tuple[PersonSettings, ...] = ()
    """Whom a visitor may say to be, without a token: for demos, on loopback alone; JSON in the environment."""
    trust: tuple[str, ...] = ("services",)
    """Whose documents are trusted: `persons`, `services`, or `key:<name>` for single ones."""
    reviewers: tuple[str, ...] = ("reviewers",)
    """Groups whose members may look at review items and at the quality of answers of their tenant, and decide."""
    tokens: TokenSettings = TokenSettings()
    """Tokens."""
    limits: LimitSettings = LimitSettings()
    """Limits."""
    public_url: str = Field(default="", pattern=r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$")
    """Address under which callers reach it, for links to sources; without it links have no host."""
    openai: OpenAISettings = OpenAISettings()
    """The OpenAI-compatible interface."""
    graphql: GraphQLSettings = GraphQLSettings()
    """GraphQL."""
    default_timeout_s: float = Field(default=30.0, gt=0)
    """Time allowed for a question that names none, in seconds."""
    heartbeat_s: float = Field(default=10.0, gt=0)
    """Time between signs of life on a stream that is silent, in seconds."""
    resume_s: float = Field(default=900.0, gt=0)
    """How long a broken stream can be taken up again, in seconds."""
    drain_timeout_ms: int = Field(default=8000, ge=0)
    """How long open streams go on when a replica ends; then callers are sent to the others."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together; name both or none")
        return self

    @model_validator(mode="after")
    def _people_stay_here(self) -> Self:
        if self.people and not self.local:
            raise ValueError(
                f"people log in by saying who they are, and host {self.host!r} is not loopback; unset people, or "
                "listen on 127.0.0.1"
            )
        if self.people and self.proxies:
            raise ValueError("people log in by saying who they are, and proxies bring others; unset one of them")
        if len({person.name for person in self.people}) != len(self.people):
            raise ValueError("two of people have the same name")
        return self

    @property
    def local(self) -> bool:
        """Whether this machine alone can reach it."""
        return self.host in LOOPBACK
