"""The sentences that the tests of both ecosystems embed."""

HARBOUR = "The harbour is dredged every spring."
BEES = "Bees dance to tell where the clover is."
BEES_AGAIN = "Bees dance and tell where the clover is."
KEEPER = "The lighthouse keeper writes a log."
BAKER = "A baker kneads the dough before dawn."
QUESTION = "Where do bees dance?"

SUBJECTS = [
    "Ships wait in the harbour. The harbour is deep, so ships come. The harbour is full of ships. "
    "Ships leave the harbour.",
    "Bees dance for clover. Clover is why bees dance. Bees leave the clover.",
]

DOCUMENT, QUERY, SIMILARITY = "RETRIEVAL_DOCUMENT", "RETRIEVAL_QUERY", "SEMANTIC_SIMILARITY"
