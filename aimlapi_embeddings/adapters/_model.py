"""The client as a pydantic model: how it is built, assigned to, copied and compared.

An adapter adds the fields that its framework names in its own way, says which option of the client
each of them is, and the framework's methods.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    PrivateAttr,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import ModelWrapValidatorHandler

from aimlapi_embeddings._catalog.providers import PROVIDERS
from aimlapi_embeddings._client import EmbeddingsClient
from aimlapi_embeddings._engine.progress import progress_bar
from aimlapi_embeddings._errors import ConfigurationError
from aimlapi_embeddings._protocol.arguments import (
    check_arguments,
    check_positional,
    hide_arguments,
)
from aimlapi_embeddings._types import Estimate, Progress, Role, TaskType, Usage
from aimlapi_embeddings.adapters._clients import HANDED_OVER, Built, Seen, build_client
from aimlapi_embeddings.adapters._fields import SHARED, SHORT, OptionFields
from aimlapi_embeddings.adapters._pickles import pack, unpack
from aimlapi_embeddings.adapters._streams import DocumentStreams
from aimlapi_embeddings.adapters._validation import as_typed, hidden, refusal, without_inputs

# Of the names that an option has in an adapter, those in the documentation.
_PREFERRED = ("api_key", "base_url")


class EmbeddingsModel(DocumentStreams, OptionFields):
    """Fields that have a client.

    Two objects are equal when their fields are; what only watches or remembers (callbacks, caches)
    is left out. Fields can be assigned, so the hash is that of the class. Copies share connections
    and all that was handed over; a pickle holds the key.
    """

    _provider: ClassVar[Literal["aimlapi", "nugen"]]
    _classes: ClassVar[Mapping[str, str]]
    """The framework's classes by provider."""
    _caption: ClassVar[str] = "Embedding"
    """Of progress bars."""
    _observers: ClassVar[tuple[str, ...]] = ("cache",)
    """Fields that change neither vectors nor limits: a pickle can do without them."""

    _built: Built | None = PrivateAttr(default=None)
    _seen: Seen | None = PrivateAttr(default=None)

    @property
    def client(self) -> EmbeddingsClient:
        """The client of this object: `.usage` is the cost so far, `.close()` closes connections."""
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
        """Return what embedding these texts would send and cost. Nothing is sent.

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
        """Return what embedding these texts would send and cost, like `estimate`."""
        return await self.client.aestimate(texts, role=role, task_type=task_type, titles=titles)

    def _find_client(self, typed: Mapping[str, str]) -> EmbeddingsClient:
        """Return the client of the present fields: the last one, or one that goes on for it.

        Args:
            typed: What the caller typed, by field, for the messages.
        """
        # Read from the dict itself, since `self._seen` takes pydantic 2 us in each call.
        seen: Seen | None = (self.__pydantic_private__ or {}).get("_seen")
        if seen is not None and seen.is_of(self.__dict__.values(), self._changeable()):
            return seen.client
        # Read before the options: what another thread assigns in between is seen in the next call.
        values, changeable = [*self.__dict__.values()], self._changeable()
        fields = self._fields()
        options = {option: getattr(self, field) for option, field in fields.items()}
        # Both can be changed in place; and 1 == True, which are not the same in JSON.
        headers, extra_body = self._changeable()
        settings = {**options, "headers": headers, "extra_body": extra_body}
        built = self._built
        if built is None or not built.has(settings):
            names = {o: typed.get(field, SHORT.get(o, field)) for o, field in fields.items()}
            client = build_client(self._provider, options, names, self._classes)
            if built is not None:
                client._continue(built.client)
            self._built = built = Built(client, settings)
        self._seen = Seen(built.client, values, changeable)
        return built.client

    def _changeable(self) -> list[object]:
        values = self.__dict__
        return [dict(values["default_headers"] or {}), repr(values[self._options["extra_body"]])]

    def _show_bar(self, show: bool) -> AbstractContextManager[Progress | None]:
        return progress_bar(self._caption) if show else nullcontext()

    # Validation

    # An error leaves without the one that pydantic raised, which holds what it was given, and from
    # frames that do not hold it any more.

    if not TYPE_CHECKING:  # each adapter tells checkers and editors its arguments

        def __init__(self, *positional: Any, **data: Any) -> None:
            misplaced = len(positional)
            del positional  # one of them may be a key
            check_positional(type(self).__name__, misplaced, self._options["model"])
            hide_arguments(data, self._names(), self._key_names(), hidden)  # from pydantic's frame
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
            aliased = [known[0] for known in self._names() if name in known[1:]]
            if not aliased:
                super().__setattr__(name, value)
                return
            del value
            said = f"{name!r} is an argument only; the field is called {aliased[0]!r}."
            raise refusal(type(self).__name__, ConfigurationError(said))
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
    def _arguments(cls, given: dict[str, Any]) -> dict[str, str]:
        """Check arguments, hide the key among them, and read what is missing from the environment.

        Returns:
            What the caller typed, by field.
        """
        names = cls._names()
        hide_arguments(given, names, cls._key_names(), hidden)
        if cls.model_config["extra"] == "ignore":  # of a subclass
            for name in given.keys() - {name for known in names for name in known}:
                del given[name]
        short = {name: name for known in names for name in known if name in _PREFERRED}
        options = {**SHARED, **cls._options, **short}
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
            info = cls.model_fields[field]  # a subclass may have a default, which stands
            default = None if info.is_required() else info.default_factory or info.default
            if value and given.get(name, default) in (None, "", SecretStr("")):
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
        hide_arguments(given, self._names(), self._key_names(), hidden)
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
        names = (*self._observers, *(fields[option] for option in HANDED_OVER))
        shared = (*(self._built or ()), self._built, *(getattr(self, name) for name in names))
        memo.update((id(one), one) for one in shared)
        return super().__deepcopy__(memo)

    def __getstate__(self) -> dict[Any, Any]:
        packed = pack(type(self), self.__dict__, self._observers, self._fields().values())
        state = BaseModel.__getstate__(self)
        private = {**state["__pydantic_private__"], "_seen": None}  # it holds the observers too
        return {**state, "__dict__": packed, "__pydantic_private__": private}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        BaseModel.__setstate__(self, {**state, "__dict__": unpack(type(self), state["__dict__"])})

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


def _changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {n: value for n, value in after.items() if n not in before or before[n] is not value}
