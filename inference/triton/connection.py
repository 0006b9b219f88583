"""gRPC to a Triton server: what is sent, what must come back, and which error says what."""

import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferInput
from tritonclient.grpc.aio import InferenceServerClient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

from inference.model_repository.batching import pack
from millrace.errors import ConfigurationError, MillraceError, Unavailable

_CHANNEL: Final = [
    # A server that was started again is found again within a second, not after two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
]
_QUEUE_SHARE: Final = 0.8  # a request that waits too long should be refused by the server before it is late here
_NORM_TOLERANCE: Final = 1e-3


class Busy(Unavailable):
    """The server lives and has too much to do: its queue is full, or a request waited too long in it."""


class Expired(Busy):
    """A request waited too long in the queue. The server lives; whether the model does, nobody knows."""


class Dead(Unavailable):
    """The process of a model has ended, whatever the server says of itself; it has to be loaded again."""


class Missing(Unavailable):
    """The server does not have the model, or not this version, at the moment."""


class Late(Unavailable):
    """No answer came within the deadline of a call."""


# What Triton says, in the words of its versions 2.51 to 2.60, by the gRPC status that it says it with.
_MEANINGS: Final[tuple[tuple[str, str, type[MillraceError]], ...]] = (
    ("DEADLINE_EXCEEDED", "", Late),
    ("UNAVAILABLE", r"timeout expired", Expired),
    ("UNAVAILABLE", r"maximum queue size", Busy),
    ("UNAVAILABLE", r"protocol is restricted", ConfigurationError),
    ("INTERNAL", r"[Ss]tub process|not healthy|[Ff]ailed to (process|send|receive)", Dead),
    ("NOT_FOUND", "", Missing),
    ("INVALID_ARGUMENT", "", ConfigurationError),
    ("", "", Unavailable),
)


class TritonConnection:
    """A connection to a server; make it inside the event loop that uses it.

    Parameters
    ----------
    address : str
        ``host:port`` of its gRPC service.
    key : str
        Value of the header that a server with restricted protocols asks for; see `KEY_NAME`.
    tls_ca : Path, optional
        Certificates that sign the server's; without them the connection is not encrypted.
    """

    KEY_NAME: Final = "millrace-key"

    def __init__(self, address: str, *, key: str = "", tls_ca: Path | None = None) -> None:
        self.address = address
        self._headers = {f"triton-grpc-protocol-{self.KEY_NAME}": key} if key else None
        self._client = InferenceServerClient(
            address,
            ssl=tls_ca is not None,
            root_certificates=str(tls_ca) if tls_ca else None,
            channel_args=_CHANNEL,
        )

    async def embed(
        self, model: str, version: int, rows: Sequence[Sequence[int]], *, dim: int, priority: int, deadline_s: float
    ) -> npt.NDArray[np.float32]:
        """Embed texts, given as token ids, with one request.

        Returns
        -------
        numpy.ndarray
            Shape (len(rows), dim), float32, each row of L2 norm 1.

        Raises
        ------
        Busy, Expired, Dead, Missing, Late
            As their names say.
        Unavailable
            Anything else that may pass, an answer without its vectors included.
        ConfigurationError
            The model takes something else.
        """
        inputs = []
        for name, values in zip(("tokens", "begins"), pack(rows), strict=True):
            inputs.append(InferInput(name, values.shape, np_to_triton_dtype(values.dtype)))
            inputs[-1].set_data_from_numpy(values)
        try:
            answer = await self._client.infer(
                model,
                inputs,
                str(version),
                priority=priority,
                timeout=round(_QUEUE_SHARE * deadline_s * 1e6),  # in the server's queue, in microseconds
                client_timeout=deadline_s,
                headers=self._headers,
            )
        except InferenceServerException as error:
            self._raise(error, f"model {model!r} version {version}, {deadline_s:g} s")
        try:
            vectors = answer.as_numpy("embedding")
        except ValueError:  # fewer bytes than its shape says
            vectors = None
        if vectors is None or vectors.shape != (len(rows), dim) or not _is_normal(vectors):
            found = "no output" if vectors is None else f"shape {vectors.shape}, {vectors.dtype}"
            raise Unavailable(
                f"model {model!r} version {version} at {self.address} answered without usable vectors: {found} against "
                f"({len(rows)}, {dim}) of norm 1; if its response cache is on, switch it off, for it keeps errors"
            )
        return np.asarray(vectors, dtype=np.float32)

    async def batch_tokens(self, model: str, *, deadline_s: float) -> int:
        """Tokens that a model takes with one request; 0 where the server does not have the model.

        Raises
        ------
        Unavailable
            The server does not answer.
        ConfigurationError
            It wants another key.
        """
        try:
            return int((await self._config(model, deadline_s))["max_batch_size"])
        except Missing:
            return 0

    async def load_again(self, model: str, *, ask_s: float, deadline_s: float) -> None:
        """Make the server start a model's processes anew; what runs in the old ones comes to its end.

        The server loads a model only if something has changed, so the configuration gets a parameter that has.

        Parameters
        ----------
        model : str
            Name of the model.
        ask_s, deadline_s : float
            For its configuration, and then for loading it, in seconds.

        Raises
        ------
        Unavailable
            It did not; models cannot be loaded by its clients, for example.
        """
        config = await self._config(model, ask_s)
        config.setdefault("parameters", {})["loaded_again"] = {"string_value": str(time.time_ns())}
        try:
            await self._client.load_model(
                model, config=json.dumps(config), headers=self._headers, client_timeout=deadline_s
            )
        except InferenceServerException as error:
            self._raise(error, f"loading model {model!r} again")

    async def close(self) -> None:
        """Close the connection; what is under way is cancelled."""
        await self._client.close()

    async def _config(self, model: str, deadline_s: float) -> dict[str, Any]:
        try:
            answer = await self._client.get_model_config(
                model, headers=self._headers, client_timeout=deadline_s, as_json=True
            )
        except InferenceServerException as error:
            self._raise(error, f"the configuration of model {model!r}")
        config: dict[str, Any] = answer["config"]
        return config

    def _raise(self, error: InferenceServerException, what: str) -> NoReturn:
        status, said = (error.status() or "").removeprefix("StatusCode."), error.message() or ""
        kind = next(kind for states, words, kind in _MEANINGS if re.search(states, status) and re.search(words, said))
        remedy = "; give the server's key by the setting `triton.key`" if "restricted" in said else ""
        raise kind(f"Triton at {self.address}: {what}: {status}: {said[:300]}{remedy}") from error


def _is_normal(vectors: npt.NDArray[np.float32]) -> bool:
    norms = np.einsum("ij,ij->i", vectors, vectors)
    return bool(np.all(np.abs(norms - 1.0) < _NORM_TOLERANCE))  # False for a NaN as well
