"""Options that a family does not have are refused before a request, so no cassette holds them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.entry_points import EntryPoint
from tests.support.recorded_models import USUAL

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*left the list:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*longer than:UserWarning"),
    pytest.mark.filterwarnings("ignore:emulated/of-tomorrow is not a model:UserWarning"),
]

ADA = "text-embedding-ada-002"
SIZES = {"google": 769, "openai": 1537, "qwen": 100, "nugen": 0, "generic": 0}
# family, an option it does not have, part of the message
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *((family, {"dimensions": size}, "is not a size") for family, size in SIZES.items()),
    *((family, {"dimensions": 256}, "is not possible") for family in USUAL.keys() - SIZES),
    *(
        (family, {"encoding_format": form}, "has no such field")
        for family in USUAL.keys() - {"openai", "generic"}
        for form in ("base64", "float")
    ),
    *(
        (family, {"task_type": "CLUSTERING"}, "task_type='CLUSTERING' is not possible")
        for family in USUAL.keys() - {"google"}
    ),
]


def by_name(value: Any) -> str:
    return (
        " ".join(f"{name} {asked}" for name, asked in value.items())
        if isinstance(value, dict)
        else str(value)
    )


@pytest.mark.parametrize(("family", "option", "words"), sorted(REFUSED, key=str), ids=by_name)
def test_an_option_that_a_family_does_not_have_is_refused(
    entry_point: EntryPoint, family: str, option: dict[str, Any], words: str
) -> None:
    provider = "nugen" if family == "nugen" else "aimlapi"
    with pytest.raises(ValueError, match=words):
        entry_point.make(USUAL[family].model, provider=provider, **option)
    assert entry_point.fake_server.requests == []


def test_an_option_of_the_family_is_refused_for_a_model_without_it(entry_point: EntryPoint) -> None:
    with pytest.raises(ValueError, match="vectors of 1536 only"):
        entry_point.make(ADA, dimensions=256)
    assert entry_point.fake_server.requests == []
