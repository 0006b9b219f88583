"""What the gateway needs to know, as `infra` makes it from the settings; nothing here reads an environment."""

from __future__ import annotations

import msgspec

from gateway.graphql.budget import Budget


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant, and everyone together, may ask of this replica.

    Attributes
    ----------
    requests_per_minute, tokens_per_minute : int
        Of one tenant; 0 sets no limit. A token is four bytes of a question, of an answer
        or of what is embedded.
    documents_per_minute : int
        Writes of documents and of access, of one tenant; 0 sets no limit.
    concurrent_per_tenant, concurrent : int
        Questions that wait for an answer at the same time; and as many receipts that wait for an outcome.
    max_lag_s : float
        How late the event loop may be before new questions are refused, in seconds.
    question_chars : int
        Longest question; what the workers take at most is `QueryPolicy.max_question_chars`.
    question_timeout_s : float
        Longest time a question may ask for.
    body_bytes : int
        Largest body other than a document.
    document_bytes : int
        Largest document.
    uploads_bytes : int
        Bodies of documents that are held at the same time, of everyone.
    body_timeout_s : float
        How long a caller may take to send its body, in seconds.
    send_timeout_s : float
        How long a caller may take nothing of what it is sent, in seconds.
    """

    requests_per_minute: int = 600
    tokens_per_minute: int = 200_000
    documents_per_minute: int = 6_000
    concurrent_per_tenant: int = 64
    concurrent: int = 512
    max_lag_s: float = 1.0
    question_chars: int = 4_000
    question_timeout_s: float = 120.0
    body_bytes: int = 256 * 1024
    document_bytes: int = 20 * 1024 * 1024
    uploads_bytes: int = 256 * 1024 * 1024
    body_timeout_s: float = 30.0
    send_timeout_s: float = 30.0


class OpenAIPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The OpenAI-compatible interface.

    Attributes
    ----------
    model : str
        Name of the model that answers questions.
    messages : int
        Messages of one conversation that are taken; all but the last user message are not read.
    inputs : int
        Texts of one embedding request.
    batch : int
        Texts that are embedded at once.
    concurrent_embeddings : int
        Embedding requests at the same time; one more is told to come again.
    """

    model: str = "millrace"
    messages: int = 256
    inputs: int = 256
    batch: int = 32
    concurrent_embeddings: int = 16


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway's settings.

    Attributes
    ----------
    limits : Limits
        What may be asked of it.
    hosts : tuple of str
        Names under which it may be called, as in ``Host``; ``*`` for any.
    cors_origins : tuple of str
        Origins whose pages may call it from a browser; none by default.
    heartbeat_s : float
        Time between signs of life on a stream that is silent, in seconds.
    default_timeout_s : float
        Time allowed for a question that names none.
    resume_s : float
        How long a stream can be taken up again after it began, in seconds.
    drain_s : float
        How long open streams may go on once the process is told to end, in seconds.
    trust : tuple of str
        Callers whose documents are trusted: names of API keys as ``key:<name>``, ``persons``, or ``services``.
    link_hosts : tuple of str
        Hosts that links in answers may lead to, for pages.
    secure : bool
        Whether callers come over TLS, here or at a proxy: browsers are then told to keep to it.
    reviewers : tuple of str
        Groups whose members may look at their tenant's review items and at the quality of its answers, and decide.
    public_url : str
        Address under which callers reach it, for links to sources; empty for links without a host.
    openai : OpenAIPolicy
        Names and bounds of the OpenAI-compatible interface.
    graphql : Budget
        What one GraphQL request may ask for.
    """

    limits: Limits = Limits()
    hosts: tuple[str, ...] = ("*",)
    cors_origins: tuple[str, ...] = ()
    heartbeat_s: float = 10.0
    default_timeout_s: float = 30.0
    resume_s: float = 900.0
    drain_s: float = 8.0
    trust: tuple[str, ...] = ("services",)
    link_hosts: tuple[str, ...] = ()
    secure: bool = False
    reviewers: tuple[str, ...] = ("reviewers",)
    public_url: str = ""
    openai: OpenAIPolicy = OpenAIPolicy()
    graphql: Budget = Budget()
