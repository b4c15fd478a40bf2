"""The JSON Schema: what editors complete and check."""

import json

from liveact_cli.script.models import Event, Script, json_schema
from liveact_cli.script.parse import keys_of


def test_the_schema_knows_every_key() -> None:
    schema = json_schema()
    assert list(schema["properties"]) == keys_of(Script)
    event = schema["$defs"]["Event"]["properties"]
    assert list(event) == keys_of(Event)
    assert all(part["description"] for part in event.values())
    assert schema["required"] == ["liveact"]
    assert schema["additionalProperties"] is False
    json.dumps(schema)


def test_the_schema_takes_times_as_numbers_and_as_text() -> None:
    at = json_schema()["$defs"]["Event"]["properties"]["at"]["anyOf"][0]["anyOf"]
    assert [part["type"] for part in at] == ["number", "string"]
