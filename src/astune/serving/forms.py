"""The forms that clients send: what is in them, and how OpenAPI describes them."""

from __future__ import annotations

from typing import Any

from astune.serving.questions import FormFields

_SEVERAL = frozenset(name for name, field in FormFields.model_fields.items() if field.annotation == tuple[str, ...])
_AUDIO = {"type": "string", "format": "binary"}


def fields_of(fields: dict[str, list[str]]) -> FormFields:
    """The fields of a form, checked.

    Args:
        fields: fields of the form, as they were sent.

    Returns:
        The same fields.

    Raises:
        SettingsError: a field is unknown, is there twice, or has a value that cannot be used.
    """
    return FormFields(
        **{name: values if name in _SEVERAL or len(values) > 1 else values[0] for name, values in fields.items()}
    )


def _form(files: dict[str, Any], fields: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "properties": {**files, **fields}, "required": ["file"], "additionalProperties": False}
    content = {"multipart/form-data": {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def _fields() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, schema in FormFields.model_json_schema()["properties"].items():
        kinds = [kind for kind in schema.pop("anyOf", []) if kind["type"] != "null"]
        default = {} if schema.get("default") in (None, []) else {"default": schema["default"]}
        kept = {key: value for key, value in schema.items() if key not in {"title", "default"}}
        found[name] = {**kept, **(kinds[0] if kinds else {}), **default}
    return found


_EXAMPLE = {"file": "garden.wav", "adapter": ["birds", "weather"], "top_k": 3}
CLASSIFY_FORM = _form({"file": {**_AUDIO, "description": "The recording."}}, _fields(), _EXAMPLE)
BATCH_FORM = _form(
    {"file": {"type": "array", "items": _AUDIO, "minItems": 1, "description": "The recordings."}},
    _fields(),
    {**_EXAMPLE, "file": ["garden.wav", "yard.flac"]},
)
ADAPTER_FORM = _form(
    {
        "file": {
            "type": "array", "items": _AUDIO, "minItems": 1, "maxItems": 3,
            "description": "adapter_config.json and adapter_model.safetensors of an adapter folder, or one .onnx file.",
        }
    },
    {},
    {"file": ["adapter_config.json", "adapter_model.safetensors"]},
)  # fmt: skip
"""For ``openapi_extra`` of routes."""
