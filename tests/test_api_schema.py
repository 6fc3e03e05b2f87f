"""The whole API against its own OpenAPI document, by schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from served import bundle, key_for, on_a_port, service_in

from serving.api.app import create_app

CHECKS = [not_a_server_error, content_type_conformance, response_headers_conformance,
          response_schema_conformance, status_code_conformance]  # fmt: skip
bounded = settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def described(tmp_path_factory) -> Iterator[tuple[Any, str, dict[str, str]]]:
    service = service_in(tmp_path_factory.mktemp("schema"))
    service.is_logging = False
    service.watch.offer(bundle(tmp_path_factory.mktemp("bundles") / "1"))
    schema = schemathesis.openapi.from_dict(create_app(service).openapi())
    key = key_for(service, "admin")
    with on_a_port(service) as port:
        yield schema, f"http://127.0.0.1:{port}", key


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_every_answer_is_as_described(described, mode) -> None:
    schema, address, key = described
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode == "negative" and not (operation.body or [*operation.iter_parameters()]):
            continue  # nothing of it can be wrong

        @bounded
        @given(case=operation.as_strategy(generation_mode=schemathesis.GenerationMode(mode)))
        def answers(case: Any) -> None:
            nonlocal asked
            asked += 1
            case.call_and_validate(base_url=address, headers=key, checks=CHECKS)

        answers()
    assert asked > 30
