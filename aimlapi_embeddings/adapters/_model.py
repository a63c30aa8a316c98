"""The client as a pydantic model: what the adapters of both frameworks share.

An adapter adds the fields that its framework names in its own way, says which option of the client
each of them is, and the framework's methods.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from operator import is_
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue, SkipJsonSchema
from pydantic_core import CoreSchema

from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._engine.progress import progress_bar
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.arguments import (
    check_arguments,
    check_positional,
    hide_arguments,
)
from aimlapi_embeddings._protocol.endpoint import shown_url
from aimlapi_embeddings._protocol.pickling import Packed, check_picklable, unpicklable
from aimlapi_embeddings._protocol.secrets import Secret
from aimlapi_embeddings._types import Estimate, Progress, Role, TaskType, Usage
from aimlapi_embeddings.adapters._descriptions import describe_fields, describe_schema
from aimlapi_embeddings.adapters._field_types import Amount, Cache, Integer, Seconds
from aimlapi_embeddings.adapters._signature import signature_of
from aimlapi_embeddings.adapters._streams import DocumentStreams
from aimlapi_embeddings.adapters._validation import as_typed, refusal, rename, without_inputs

# Options whose values are shared by copies, and compared by what they are.
_HANDED_OVER = ("http_client", "async_http_client", "rate_limiter", "cache")


class _Seen(NamedTuple):
    """A client, and what the fields were when it was found to be theirs."""

    client: EmbeddingsClient
    values: list[Any]
    changeable: list[object]


class EmbeddingsModel(DocumentStreams, BaseModel):
    """Options of the client as fields.

    Two objects are equal when their fields are; what only watches or remembers (callbacks, caches)
    is left out. Fields can be assigned, so the hash is that of the class. Copies share connections
    and all that was handed over; a pickle holds the key.
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True,
        extra="forbid",
        hide_input_in_errors=True,
        populate_by_name=True,
        protected_namespaces=(),
        validate_assignment=True,
    )
    _provider: ClassVar[Literal["aimlapi", "nugen"]]
    _options: ClassVar[Mapping[str, str]]
    """Fields that the framework names, by option of the client."""
    _classes: ClassVar[Mapping[str, str]]
    """The framework's classes by provider."""
    _caption: ClassVar[str] = "Embedding"
    """Of progress bars."""
    _observers: ClassVar[tuple[str, ...]] = ("cache",)
    """Fields that change neither vectors nor limits: a pickle can do without them."""

    dimensions: Integer | None = None
    """Floats per vector; the model's own size when None."""
    task_type: TaskType | str | None = None
    """A `TaskType` or its name; the family's default pair when None."""
    family: str | None = None
    """Gives an id that is not known yet the rules of a known family."""
    query_prefix: str | None = None
    """Put in front of each query, instead of the family's own prefix."""
    document_prefix: str | None = None
    """Put in front of each document, instead of the family's own prefix."""
    too_long: Literal["error", "truncate"] | None = None
    """What becomes of a text that is longer than the model takes: `"error"` refuses it,
    `"truncate"` embeds its beginning; the server decides when None."""
    normalize: bool = False
    """Whether vectors are scaled to length 1. Most models' have it as they come."""
    encoding_format: Literal["auto", "float", "base64"] = "auto"
    """`"auto"` (base64 where the model documents it), `"float"` or `"base64"`."""
    max_concurrency: Integer | None = None
    """Most requests in flight at a time, over all calls of this client. None means 8 for calls of
    several requests and an adaptive bound that begins at 256 for calls of one request of at most 16
    texts, which never wait for the others. With a number, these calls go first, but count too."""
    max_retries: Integer = 5
    """Repeats of a request after its first attempt."""
    max_retry_wait: Seconds = 60.0
    """Longest wait in seconds that a server may ask for; a longer one raises."""
    retry_for: Seconds | None = None
    """Seconds after its first failure for which a request is repeated, however often; then
    `max_retries` does not matter. For jobs that nobody waits for."""
    requests_per_minute: Amount | None = None
    """Most requests a minute, over all calls of this client. They are spaced evenly; a burst holds
    the requests of one second, at least 1."""
    tokens_per_minute: Amount | None = None
    """The same for tokens, estimated, and corrected by what replies tell."""
    max_usd: Amount | None = None
    """Most US dollars that all calls of this client may cost together. A request that could exceed
    it is not sent, and the call raises a `BudgetExceededError`."""
    max_tokens: Integer | None = None
    """The same in tokens, for models without a known price too."""
    rate_limiter: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """Of LangChain or LlamaIndex, or an object with `acquire` and `aacquire`; asked once for each
    request, with its estimated tokens where it takes them."""
    cache: SkipJsonSchema[Cache | None] = Field(default=None, exclude=True, repr=False)
    """A `VectorCache`, or the path of one: a file of vectors that are paid for. Texts whose vectors
    it holds are not sent, and what is received is kept in it."""
    default_headers: SkipJsonSchema[Mapping[str, str] | None] = Field(
        default=None, exclude=True, repr=False
    )
    """Sent with each request, beside our own. They may hold secrets, and are kept out of dumps."""
    http_client: SkipJsonSchema[Any] = Field(default=None, exclude=True, repr=False)
    """An `httpx.Client` to use for sync calls; it is not closed by us."""
    allow_http: bool = False
    """Whether the key may be sent unencrypted to a host that is not this machine."""

    _built: tuple[EmbeddingsClient, dict[str, Any]] | None = PrivateAttr(default=None)
    _seen: _Seen | None = PrivateAttr(default=None)

    @property
    def client(self) -> EmbeddingsClient:
        """The shared client: `.usage` tells the cost so far, `.close()` closes connections."""
        return self._find_client({})

    @property
    def usage(self) -> Usage:
        """What all calls of this object have cost so far, as `client.usage`."""
        return self.client.usage

    def estimate(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> Estimate:
        """Tell what embedding these texts would send and cost; nothing is sent.

        Args:
            texts: n strings, none empty.
            role: `"document"` or `"query"`.
            task_type: Instead of the object's.
            titles: n titles or None, for models that take titles (Google's).
        """
        return self.client.estimate(texts, role=role, task_type=task_type, titles=titles)

    async def aestimate(
        self,
        texts: Sequence[str],
        *,
        role: Role = "document",
        task_type: TaskType | str | None = None,
        titles: Sequence[str | None] | None = None,
    ) -> Estimate:
        """Tell what embedding these texts would send and cost, like `estimate`."""
        return await self.client.aestimate(texts, role=role, task_type=task_type, titles=titles)

    def _find_client(self, typed: Mapping[str, str]) -> EmbeddingsClient:
        """Return the client of the present fields: the last one, or one that goes on for it.

        Args:
            typed: What the caller typed, by field, for the messages.
        """
        # Asked in each call: read from the dict itself, since `self._seen` takes pydantic 2 us.
        seen: _Seen | None = (self.__pydantic_private__ or {}).get("_seen")
        if seen is not None and self._is_as(seen):
            return seen.client
        # Read before the options: what another thread assigns in between is seen in the next call.
        values, changeable = [*self.__dict__.values()], self._changeable()
        fields = self._fields()
        options = {option: getattr(self, field) for option, field in fields.items()}
        # Both can be changed in place; and 1 == True, which are not the same in JSON.
        headers, extra_body = self._changeable()
        settings = {**options, "headers": headers, "extra_body": extra_body}
        client, built = self._built or (None, {})
        if built == settings and all(built[name] is settings[name] for name in _HANDED_OVER):
            assert client is not None
            self._seen = _Seen(client, values, changeable)
            return client
        chosen = {name: value for name, value in options.items() if value is not None}
        try:
            new = EmbeddingsClient(provider=self._provider, **chosen)
        except ConfigurationError as error:
            names = {o: typed.get(field, _SHORT.get(o, field)) for o, field in fields.items()}
            said = str(error)
            for provider, name in self._classes.items():
                said = said.replace(f"provider={provider!r}", name)
            refused = rename(ConfigurationError(said), names)
        else:
            if client is not None:
                new._continue(client)
            self._built = new, settings
            self._seen = _Seen(new, values, changeable)
            return new
        raise refused

    def _is_as(self, seen: _Seen) -> bool:
        """Tell in a microsecond that nothing was assigned or changed; a comparison takes six."""
        same = all(map(is_, seen.values, self.__dict__.values()))
        return same and seen.changeable == self._changeable()

    def _changeable(self) -> list[object]:
        values = self.__dict__
        return [dict(values["default_headers"] or {}), repr(values[self._options["extra_body"]])]

    def _fields(self) -> dict[str, str]:
        """Tell which field each option of the client comes from."""
        return {**_FIELDS, **self._options}

    def _show_bar(self, show: bool) -> AbstractContextManager[Progress | None]:
        return progress_bar(self._caption) if show else nullcontext()

    @classmethod
    def __pydantic_init_subclass__(cls, **options: Any) -> None:
        super().__pydantic_init_subclass__(**options)
        describe_fields(cls)
        cls.__signature__ = signature_of(cls.model_fields)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = super().__get_pydantic_json_schema__(core_schema, handler)
        return describe_schema(cls, handler.resolve_ref_schema(schema))

    # Validation

    # An error leaves without the one that pydantic raised, which holds what it was given, and from
    # frames that do not hold it any more.

    if not TYPE_CHECKING:  # each adapter tells checkers and editors its arguments

        def __init__(self, *positional: Any, **data: Any) -> None:
            misplaced = len(positional)
            del positional  # one of them may be a key
            check_positional(type(self).__name__, misplaced, self._options["model"])
            hide_arguments(data, self._names(), self._key_names(), _hidden)  # from pydantic's frame
            try:
                super().__init__(**data)
            except ValidationError as error:
                refused = as_typed(type(self).__name__, data, error)
            else:
                return
            del data
            raise refused

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Build from a mapping of arguments, like the constructor."""
        try:
            return super().model_validate(obj, **options)
        except ValidationError as error:
            refused = as_typed(cls.__name__, obj, error)
        del obj
        raise refused

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Build from JSON text, like the constructor."""
        try:
            return super().model_validate_json(json_data, **options)
        except ValidationError as error:
            refused = as_typed(cls.__name__, {}, error)
        del json_data
        raise refused

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self).model_fields:
            super().__setattr__(name, value)
            return
        # On a copy first: pydantic assigns before it checks the whole, and leaves a refused value.
        trial = BaseModel.__copy__(self)
        before = {**trial.__dict__}, {**(trial.__pydantic_private__ or {})}
        try:
            BaseModel.__setattr__(trial, name, value)
        except ValidationError as error:
            refused = as_typed(type(self).__name__, {name: value}, error)
        else:
            # What has changed alone: other threads may assign other fields meanwhile, as
            # LlamaIndex does whenever an index is given its model.
            self.__dict__.update(_changed(before[0], trial.__dict__))
            self.__pydantic_fields_set__.update(trial.__pydantic_fields_set__)
            private = trial.__pydantic_private__
            if self.__pydantic_private__ is None or private is None:
                object.__setattr__(self, "__pydantic_private__", private)
            else:
                self.__pydantic_private__.update(_changed(before[1], private))
            return
        del trial, value, before
        raise refused

    @classmethod
    def _names(cls) -> list[tuple[str, ...]]:
        """List all names of each argument."""
        return [
            tuple(dict.fromkeys((name, *_aliases(field.validation_alias))))
            for name, field in cls.model_fields.items()
        ]

    @classmethod
    def _key_names(cls) -> set[str]:
        key = cls._options["api_key"]
        return {"api_key", *(name for names in cls._names() if key in names for name in names)}

    @classmethod
    def _arguments(cls, given: dict[str, Any]) -> dict[str, str]:
        """Check arguments, hide the key among them, and read what is missing from the environment.

        Returns:
            What the caller typed, by field.
        """
        names = cls._names()
        hide_arguments(given, names, cls._key_names(), _hidden)
        options = {**_FIELDS, **cls._options, **_SHORT, "base_url": "base_url"}
        has_model = not cls.model_fields[cls._options["model"]].is_required()
        check_arguments(cls.__name__, given, names, options, has_model=has_model)
        typed = {known[0]: name for known in names for name in known if name in given}
        provider = PROVIDERS[cls._provider]
        read: tuple[tuple[str, str, Callable[[str], object]], ...] = (
            (cls._options["api_key"], provider.api_key_variable, SecretStr),
            (cls._options["base_url"], provider.api_base_variable, str),
        )
        for field, variable, wrap in read:
            name, value = typed.get(field, field), os.environ.get(variable)
            if value and given.get(name) in (None, "", SecretStr("")):
                given[name] = wrap(value)
        return typed

    @model_validator(mode="wrap")
    @classmethod
    def _check(cls, given: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        typed: dict[str, str] = {}
        try:
            if isinstance(given, Mapping):
                given = dict(given)
                typed = cls._arguments(given)
            model = handler(given)
            model._find_client(typed)  # which refuses options that cannot work
        except ConfigurationError as error:
            refused = refusal(cls.__name__, error)
        except ValidationError as error:
            refused = without_inputs(error, typed)
        else:
            return model
        raise refused

    # Copies, pickles, comparison

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Copy, with other values for some arguments; they are checked like the constructor's.

        pydantic's own takes them as they are: it would show a key that is a string, and drop what
        has the name of an alias, such as `api_key`.
        """
        twin = super().model_copy(deep=deep)
        if not update:
            return twin
        given = dict(update)
        del update
        replaced = {known[0] for known in self._names() if not given.keys().isdisjoint(known)}
        kept = type(self).model_fields.keys() - replaced
        hide_arguments(given, self._names(), self._key_names(), _hidden)
        fresh = type(self).__new__(type(self))
        try:
            self.__pydantic_validator__.validate_python(
                {**{name: twin.__dict__[name] for name in kept}, **given}, self_instance=fresh
            )
        except ValidationError as error:
            refused = as_typed(type(self).__name__, given, error)
        else:
            twin.__dict__.update({name: fresh.__dict__[name] for name in replaced})
            twin.__pydantic_fields_set__.update(replaced)
            twin._find_client({})  # goes on for the client of the original
            return twin
        del given
        raise refused

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        fields = self._fields()
        names = (*self._observers, *(fields[option] for option in _HANDED_OVER))
        shared = (*(self._built or ()), self._built, *(getattr(self, name) for name in names))
        memo.update((id(one), one) for one in shared)
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        watching = {name: self.__dict__[name] for name in self._observers}
        check_picklable(
            type(self).__name__, {n: v for n, v in self.__dict__.items() if n not in watching}
        )
        state = BaseModel.__getstate__(self)
        # Those of the observers too, which may be left out below.
        private = {**state["__pydantic_private__"], "_seen": None}
        state = {**state, "__pydantic_private__": private}
        if lost := unpicklable(watching):
            warnings.warn(
                f"{type(self).__name__} is pickled without {' and '.join(lost)}, which cannot be "
                "pickled; vectors and limits stay the same.",
                stacklevel=2,
            )
        options = self._fields().values()
        packed = {n: Packed(v) for n, v in watching.items() if n not in (*lost, *options)}
        state["__dict__"] = {**state["__dict__"], **self._defaults(lost), **packed}
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        values, lost = dict(state["__dict__"]), []
        for name, value in values.items():
            if isinstance(value, Packed):
                try:
                    values[name] = value.load()
                except Exception as error:  # of the user's classes
                    lost.append(f"{name} ({type(error).__name__}: {error})")
                    values |= self._defaults([name])
        if lost:
            with suppress(UserWarning):  # raised, it would keep a worker from loading its task
                warnings.warn(
                    f"{type(self).__name__} is loaded without {' and '.join(lost)}; vectors and "
                    "limits stay the same.",
                    stacklevel=2,
                )
        BaseModel.__setstate__(self, {**state, "__dict__": values})

    @classmethod
    def _defaults(cls, names: Sequence[str]) -> dict[str, Any]:
        fields = cls.model_fields
        return {name: fields[name].get_default(call_default_factory=True) for name in names}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EmbeddingsModel) or type(other) is not type(self):
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(type(self))

    def _compared(self) -> dict[str, Any]:
        values = {n: v for n, v in self.__dict__.items() if n not in self._observers}
        extra = self._options["extra_body"]
        return {**values, extra: repr(values[extra])}

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        url, key = self._options["base_url"], self._options["api_key"]
        for name, value in super().__repr_args__():
            if name == key and isinstance(value, str):  # of `model_construct`, which checks nothing
                value = SecretStr(value)
            yield name, shown_url(value) if name == url and value else value


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {n: value for n, value in after.items() if n not in before or before[n] is not value}


def _hidden(value: Any) -> SecretStr | Secret:
    if isinstance(value, bytes):  # which pydantic takes for a string
        value = value.decode(errors="replace")
    return SecretStr(value) if isinstance(value, str) else Secret(value)  # pydantic refuses that


def _aliases(alias: Any) -> list[str]:
    choices = getattr(alias, "choices", [alias])
    return [choice for choice in choices if isinstance(choice, str)]


describe_fields(EmbeddingsModel)

# Options that both frameworks call by the client's names, but for one.
_FIELDS = {name: name for name in EmbeddingsModel.model_fields if name != "default_headers"}
_FIELDS["headers"] = "default_headers"
# Of the names that the key has in an adapter, the one in the documentation.
_SHORT = {"api_key": "api_key"}
